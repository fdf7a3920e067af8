//! `allOf`, `anyOf`, `oneOf`, several types, and schemas that are several classes at once.

use super::difference::{self, Difference};
use super::{Comparison, Side};
use crate::json::model::{Class, Criterion, NodeId};

impl Comparison<'_> {
    /// A combined schema against one that is not: an only member, or the first that fits, stands
    /// for the whole. True when that settled it.
    pub(super) fn compare_with_member(&mut self, old: Side, new: Side) -> bool {
        match (self.class(old), self.class(new)) {
            (Class::Combined(..), Class::Combined(..)) => false,
            (_, Class::Combined(criterion, members)) => {
                if let [only] = members.as_slice() {
                    return self.accept_first(&[(old, new.at(*only))], None);
                }
                if *criterion == Criterion::AllOf {
                    return false;
                }
                let pairs: Vec<_> = members.iter().map(|id| (old, new.at(*id))).collect();
                let is_accepted = self.accept_first(&pairs, Some(&difference::SUM_TYPE_EXTENDED));
                if is_accepted && *criterion == Criterion::OneOf {
                    self.note_overlap(new, members);
                }
                is_accepted
            }
            (Class::Combined(criterion, members), _) => {
                if let [only] = members.as_slice() {
                    return self.accept_first(&[(old.at(*only), new)], None);
                }
                if *criterion != Criterion::AllOf {
                    return false;
                }
                let pairs: Vec<_> = members.iter().map(|id| (old.at(*id), new)).collect();
                self.accept_first(&pairs, Some(&difference::PRODUCT_TYPE_NARROWED))
            }
            _ => false,
        }
    }

    fn accept_first(
        &mut self,
        pairs: &[(Side, Side)],
        marker: Option<&'static difference::Kind>,
    ) -> bool {
        for (old, new) in pairs {
            if self.is_exhausted {
                return true;
            }
            let differences = self.trial(*old, *new);
            if self.is_compatible(&differences) {
                self.found.extend(differences);
                if let Some(marker) = marker {
                    self.add(marker);
                }
                return true;
            }
        }
        false
    }

    pub(super) fn compare_combined(
        &mut self,
        old: Side,
        (old_criterion, old_members): (Criterion, &[NodeId]),
        new: Side,
        (new_criterion, new_members): (Criterion, &[NodeId]),
    ) {
        let found_before = self.found.len();
        let (old_written, new_written) = (old_members, new_members);
        let old_members = self.distinct(old, old_members);
        let new_members = self.distinct(new, new_members);
        if old_criterion != new_criterion {
            let (one_old, one_new) = (old_members.len() == 1, new_members.len() == 1);
            let extends = new_criterion == Criterion::AnyOf
                || (one_old && one_new)
                || (one_old && new_criterion == Criterion::OneOf)
                || (one_new && old_criterion == Criterion::AllOf);
            if !extends {
                return self.add(&difference::COMBINED_TYPE_CHANGED);
            }
            self.add(&difference::COMBINED_TYPE_EXTENDED);
        }
        if new_members.len() > old_members.len() {
            self.add(if new_criterion == Criterion::AllOf {
                &difference::PRODUCT_TYPE_EXTENDED
            } else {
                &difference::SUM_TYPE_EXTENDED
            });
        } else if new_members.len() < old_members.len() {
            self.add(if old_criterion == Criterion::AllOf {
                &difference::PRODUCT_TYPE_NARROWED
            } else {
                &difference::SUM_TYPE_NARROWED
            });
        }
        self.match_members(old_criterion, &old_members, &new_members);
        // By what is written: a member may take more values without a difference.
        let written = |side: Side, members: &[NodeId]| {
            let nodes = members.iter().map(|id| self.node(side.at(*id)));
            let mut hashes: Vec<_> = nodes
                .map(|node| node.map(|node| node.fingerprint.hash))
                .collect();
            hashes.sort_unstable();
            hashes
        };
        let is_same = self.found.len() == found_before
            && written(old, old_written) == written(new, new_written);
        if new_criterion == Criterion::OneOf && !is_same {
            self.note_overlap(new, new_written);
        }
    }

    /// Members without those that are written the same.
    fn distinct(&self, side: Side, members: &[NodeId]) -> Vec<Side> {
        let mut seen = std::collections::HashSet::new();
        members
            .iter()
            .map(|id| side.at(*id))
            .filter(|member| {
                self.node(*member)
                    .is_none_or(|node| seen.insert(node.fingerprint.hash))
            })
            .collect()
    }

    /// Pairs as many members as possible with a compatible one; the smaller side must be used up.
    fn match_members(&mut self, criterion: Criterion, old: &[Side], new: &[Side]) {
        let mut edges: Vec<Vec<Option<Vec<Difference>>>> = Vec::new();
        self.path.push(criterion.keyword().to_owned());
        for (index, old_member) in old.iter().enumerate() {
            if self.is_exhausted {
                break;
            }
            self.path.push(index.to_string());
            let mut row = Vec::new();
            for new_member in new {
                if self.is_exhausted {
                    break;
                }
                let differences = self.trial(*old_member, *new_member);
                row.push(self.is_compatible(&differences).then_some(differences));
            }
            edges.push(row);
            self.path.pop();
        }
        self.path.pop();
        let matched = maximum_matching(&edges, new.len());
        let size = matched.iter().flatten().count();
        for (new_index, old_index) in matched.into_iter().enumerate() {
            let edge = old_index
                .and_then(|old_index| edges.get_mut(old_index))
                .and_then(|row| row.get_mut(new_index))
                .and_then(Option::take);
            self.found.extend(edge.into_iter().flatten());
        }
        if size < old.len().min(new.len()) {
            self.add(&difference::COMBINED_TYPE_SUBSCHEMAS_CHANGED);
        }
    }
}

/// For each column the row it is matched with, in a matching of the most rows.
fn maximum_matching<T>(edges: &[Vec<Option<T>>], columns: usize) -> Vec<Option<usize>> {
    let mut matched = vec![None; columns];
    for row in 0..edges.len() {
        // Search breadth first for a free column, going back along rows that could move.
        let mut reached_from: Vec<Option<usize>> = vec![None; columns];
        let mut queue = std::collections::VecDeque::from([row]);
        let mut free = None;
        while let Some(current) = queue.pop_front() {
            let row_edges = edges.get(current).map(Vec::as_slice).unwrap_or_default();
            for (column, edge) in row_edges.iter().enumerate() {
                let Some(place) = reached_from.get_mut(column) else {
                    continue;
                };
                if edge.is_none() || place.is_some() {
                    continue;
                }
                *place = Some(current);
                match matched.get(column).copied().flatten() {
                    Some(other) => queue.push_back(other),
                    None => free = free.or(Some(column)),
                }
            }
            if free.is_some() {
                break;
            }
        }
        // Give every row on the way the column it was reached through.
        while let Some(column) = free {
            let Some(from) = reached_from.get(column).copied().flatten() else {
                break;
            };
            free = matched.iter().position(|taken| *taken == Some(from));
            if let Some(place) = matched.get_mut(column) {
                *place = Some(from);
            }
            if from == row {
                break;
            }
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching_moves_earlier_rows_aside() {
        let edges = |rows: &[&str]| -> Vec<Vec<Option<()>>> {
            rows.iter()
                .map(|row| row.chars().map(|c| (c == '1').then_some(())).collect())
                .collect()
        };
        for (rows, columns, size) in [
            (vec!["11", "10"], 2, 2),
            (vec!["110", "100", "011"], 3, 3),
            (vec!["100", "100", "111"], 3, 2),
            (vec![], 2, 0),
            (vec!["00"], 2, 0),
        ] {
            let matched = maximum_matching(&edges(&rows), columns);
            assert_eq!(matched.iter().flatten().count(), size, "{rows:?}");
        }
    }
}
