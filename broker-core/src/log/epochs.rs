//! Where each leader epoch began (KIP-101), in Kafka's `leader-epoch-checkpoint` format.

use super::Shutdown;
use crate::ids::{LeaderEpoch, Offset};

/// Epochs of a partition with their first offsets, ascending in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs(Vec<(LeaderEpoch, Offset)>);

impl LeaderEpochs {
    /// The newest epoch; 0 when none began.
    #[must_use]
    pub fn latest(&self) -> LeaderEpoch {
        self.0.last().map_or(LeaderEpoch(0), |(epoch, _)| *epoch)
    }

    /// Whether no epoch is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins `epoch` at `start`; epochs that would have begun at or after it never did.
    /// Ignored when a newer epoch is known.
    pub fn begin(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.0.last().is_some_and(|(latest, _)| *latest >= epoch) {
            return;
        }
        self.0.retain(|(_, began)| *began < start);
        self.0.push((epoch, start));
    }

    /// Forgets epochs that began at or after `end`, where the log was cut.
    pub fn truncate(&mut self, end: Offset) {
        self.0.retain(|(_, began)| *began < end);
    }

    /// Those of a log that is opened again and reaches from `log_start` to `log_end`: what was cut is
    /// forgotten, and after an unclean end a new epoch begins. `newest` is the newest epoch known, of
    /// these and of batches; `count` is how many starts were after an unclean end.
    #[must_use]
    pub(crate) fn reopened(
        mut self,
        (log_start, log_end): (Offset, Offset),
        ended: Shutdown,
        newest: LeaderEpoch,
        count: LeaderEpoch,
    ) -> Self {
        let is_empty = log_start == log_end;
        self.truncate(Offset(log_end.0.saturating_add(1)));
        if self.is_empty() && (ended == Shutdown::Clean || !is_empty) {
            // Without records nothing but the count tells what clients have seen.
            let first = if is_empty { newest.max(count) } else { newest };
            self.begin(first, log_start);
        }
        let next = match ended {
            // One that nothing was written in was not saved.
            Shutdown::Clean => count,
            Shutdown::Unclean => LeaderEpoch(newest.0.saturating_add(1)).max(count),
        };
        self.begin(next, log_end);
        self
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn at(&self, offset: Offset) -> LeaderEpoch {
        let after = self.0.partition_point(|(_, began)| *began <= offset);
        after
            .checked_sub(1)
            .and_then(|index| self.0.get(index))
            .or_else(|| self.0.first())
            .map_or(LeaderEpoch(0), |(epoch, _)| *epoch)
    }

    /// The largest epoch not above `epoch`, and where it ended; `None` when `epoch` is newer
    /// than any. Source: `LeaderEpochFileCache.endOffsetFor`.
    #[must_use]
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let after = self.0.partition_point(|(known, _)| *known <= epoch);
        let floor = after.checked_sub(1).and_then(|index| self.0.get(index));
        match (floor, self.0.get(after)) {
            (Some((known, _)), None) => (*known == epoch).then_some((*known, log_end)),
            (Some((known, _)), Some((_, next))) => Some((*known, *next)),
            (None, Some((_, next))) => Some((epoch, *next)),
            (None, None) => None,
        }
    }

    /// Kafka's text: `0`, the count, then `epoch start-offset` lines.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.0.len());
        for (epoch, start) in &self.0 {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        text
    }

    /// Reads [`LeaderEpochs::encode`]'s text; `None` when it is anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.parse().ok()?;
        let mut epochs = Self::default();
        for line in lines {
            let (epoch, start) = line.split_once(' ')?;
            epochs.begin(
                LeaderEpoch(epoch.parse().ok()?),
                Offset(start.parse().ok()?),
            );
        }
        (epochs.0.len() == count).then_some(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_epochs() {
        let mut epochs = LeaderEpochs::default();
        epochs.begin(LeaderEpoch(2), Offset(0));
        epochs.begin(LeaderEpoch(4), Offset(10));
        epochs.begin(LeaderEpoch(5), Offset(20));
        for (asked, expected) in [
            (1, Some((1, 0))),
            (2, Some((2, 10))),
            (3, Some((2, 10))),
            (4, Some((4, 20))),
            (5, Some((5, 33))),
            (6, None),
        ] {
            assert_eq!(
                epochs.end_offset(LeaderEpoch(asked), Offset(33)),
                expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end))),
                "epoch {asked}"
            );
        }
        assert_eq!(LeaderEpochs::decode(&epochs.encode()), Some(epochs.clone()));
        assert_eq!(epochs.at(Offset(9)), LeaderEpoch(2));
        assert_eq!(epochs.at(Offset(10)), LeaderEpoch(4));
        epochs.truncate(Offset(15));
        assert_eq!(epochs.latest(), LeaderEpoch(4));
        // Nothing was written in epoch 4 before 5 began at the same offset.
        epochs.begin(LeaderEpoch(5), Offset(10));
        assert_eq!(epochs.encode(), "0\n2\n2 0\n5 10\n");
    }

    #[test]
    fn epochs_of_a_log_that_is_opened_again() {
        use Shutdown::{Clean, Unclean};
        for (what, saved, range, ended, newest, count, expected) in [
            ("new", "", (0, 0), Clean, 0, 0, "0 0"),
            ("new after kills", "", (0, 0), Clean, 0, 3, "3 0"),
            ("never written to", "", (0, 0), Unclean, 0, 1, "1 0"),
            ("killed", "", (0, 5), Unclean, 0, 1, "0 0\n1 5"),
            ("killed, nothing new", "", (0, 5), Unclean, 0, 2, "0 0\n2 5"),
            ("then stopped", "", (0, 5), Clean, 0, 2, "0 0\n2 5"),
            ("written", "0 0\n1 5", (0, 9), Clean, 1, 1, "0 0\n1 5"),
            ("cut", "0 0\n1 5", (0, 3), Unclean, 1, 2, "0 0\n2 3"),
            (
                "count lost",
                "0 0\n7 5",
                (0, 9),
                Unclean,
                7,
                1,
                "0 0\n7 5\n8 9",
            ),
            ("batches newer", "", (2, 9), Unclean, 4, 5, "4 2\n5 9"),
        ] {
            let text = format!("0\n{}\n{saved}", saved.lines().count());
            let range = (Offset(range.0), Offset(range.1));
            let (newest, count) = (LeaderEpoch(newest), LeaderEpoch(count));
            let saved = LeaderEpochs::decode(&text).unwrap();
            let epochs = saved.reopened(range, ended, newest, count).encode();
            let found: Vec<&str> = epochs.lines().skip(2).collect();
            assert_eq!(found.join("\n"), expected, "{what}");
        }
    }
}
