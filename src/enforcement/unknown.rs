//! What this process does not know and another replica may: a refusal that rests on the registry
//! lacking something is made only after the truth was looked at.
//!
//! With a registry of its own a process knows everything, and none of this happens.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::judge::{Faults, Judgement};

/// How long "it is not there" is believed, for the same records of the same topic: a producer with a
/// wrong id must not become load on the database.
const CONFIRMED_MAX: Duration = Duration::from_secs(1);

/// Questions remembered at once.
const QUESTIONS_MAX: usize = 1_024;

/// What a refusal says is not there: topic, codes and claims, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Question(u64);

impl Question {
    /// The question that a judgement leaves open; none when no refusal rests on what is registered.
    pub(super) fn of(topic: &str, judgement: &Judgement) -> Option<Self> {
        let Faults {
            counts, detailed, ..
        } = &judgement.faults;
        if !counts.iter().any(|count| count.code.is_about_registry()) {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        topic.hash(&mut hasher);
        for detailed in detailed {
            detailed.fault.code.hash(&mut hasher);
            if let Some(claim) = &detailed.fault.claim {
                format!("{claim:?}").hash(&mut hasher);
            }
        }
        Some(Self(hasher.finish()))
    }
}

/// Questions that were answered with no a moment ago.
#[derive(Debug, Default)]
pub(super) struct Confirmed(Mutex<HashMap<Question, (u64, Instant)>>);

impl Confirmed {
    /// Whether the truth was looked at for this question, and an image at least as new is at hand.
    pub(super) fn holds(&self, question: Question, epoch: u64, now: Instant) -> bool {
        self.0.lock().get(&question).is_some_and(|(seen, at)| {
            *seen <= epoch && now.saturating_duration_since(*at) < CONFIRMED_MAX
        })
    }

    /// The truth of `epoch` was looked at, beginning at `at`.
    pub(super) fn add(&self, question: Question, epoch: u64, at: Instant) {
        let mut questions = self.0.lock();
        if questions.len() >= QUESTIONS_MAX {
            questions.retain(|_, (_, at)| at.elapsed() < CONFIRMED_MAX);
            if questions.len() >= QUESTIONS_MAX {
                questions.clear();
            }
        }
        questions.insert(question, (epoch, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_believed_for_a_moment_by_images_that_are_new_enough() {
        let confirmed = Confirmed::default();
        let now = Instant::now();
        let later = now + CONFIRMED_MAX;
        confirmed.add(Question(1), 7, now);
        for (question, epoch, at, expected) in [
            (1, 7, now, true),
            (1, 8, now, true),
            (1, 6, now, false),
            (2, 7, now, false),
            (1, 7, later, false),
        ] {
            let found = confirmed.holds(Question(question), epoch, at);
            assert_eq!(found, expected, "{question} {epoch}");
        }
    }

    #[test]
    fn questions_are_bounded() {
        let confirmed = Confirmed::default();
        let now = Instant::now();
        for number in 0..5_000 {
            confirmed.add(Question(number), 1, now);
        }
        assert!(confirmed.0.lock().len() <= QUESTIONS_MAX);
        assert!(confirmed.holds(Question(4_999), 1, now));
    }
}
