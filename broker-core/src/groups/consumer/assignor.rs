//! What each member is to have: the server-side assignors of KIP-848.
//!
//! Both give a topic's partitions to its subscribers alone, all of them if there is one, and are
//! the same for the same input. Members and topics are indexes here.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, TopicFacts};

/// How often the whole of a group is looked at for a partition to move. Each move makes the loads
/// more equal, so there is an end anyhow; few groups need a third round.
const ROUNDS_MAX: usize = 16;

/// A strategy of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Assignor {
    /// As many partitions for everybody as can be, with as few moves as can be.
    #[default]
    Uniform,
    /// Neighbouring partitions of each topic, the same ones in topics of the same size.
    Range,
}

impl Assignor {
    /// All, the default first.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];

    /// Kafka's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }
}

/// A topic that somebody subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    facts: TopicFacts,
}

impl TopicSpec {
    /// That topic.
    #[must_use]
    pub const fn new(facts: TopicFacts) -> Self {
        Self { facts }
    }
}

/// A member.
#[derive(Debug, Clone)]
pub struct MemberSpec<'a> {
    /// What members are ordered by: the instance id, or the member id.
    pub name: &'a str,
    /// Indexes of its topics.
    pub topics: BTreeSet<usize>,
    /// Its last target.
    pub previous: &'a Assignment,
}

/// One target for each member, in their order.
#[must_use]
pub fn assign(
    assignor: Assignor,
    members: &[MemberSpec<'_>],
    topics: &[TopicSpec],
) -> Vec<Assignment> {
    let mut holdings = match assignor {
        Assignor::Uniform => uniform(members, topics),
        Assignor::Range => range(members, topics),
    };
    holdings
        .iter_mut()
        .map(|held| {
            let held = std::mem::take(held).into_iter();
            held.filter(|(_, indexes)| !indexes.is_empty())
                .filter_map(|(topic, indexes)| Some((topics.get(topic)?.facts.id, indexes)))
                .collect()
        })
        .collect()
}

/// What a member holds: partitions by the topic's index.
type Holding = BTreeMap<usize, BTreeSet<i32>>;

/// Topics by the members that subscribe to them.
fn by_subscribers(members: &[MemberSpec<'_>]) -> BTreeMap<usize, Vec<usize>> {
    let mut subscribers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (member, spec) in members.iter().enumerate() {
        for topic in &spec.topics {
            subscribers.entry(*topic).or_default().push(member);
        }
    }
    subscribers
}

fn range(members: &[MemberSpec<'_>], topics: &[TopicSpec]) -> Vec<Holding> {
    // One order for all topics, so that partitions of the same number meet. Who had the lower
    // ranges keeps the lower ranges.
    let place = |member: usize| {
        let spec = members.get(member)?;
        let lowest = spec.previous.values().filter_map(BTreeSet::first).min();
        Some((lowest.copied().unwrap_or(i32::MAX), spec.name))
    };
    let mut holdings = vec![Holding::new(); members.len()];
    for (topic, mut subscribers) in by_subscribers(members) {
        let Some(partitions) = topics.get(topic).map(|spec| spec.facts.partitions) else {
            continue;
        };
        subscribers.sort_by_key(|member| place(*member));
        let count = i32::try_from(subscribers.len()).unwrap_or(i32::MAX).max(1);
        let (share, larger) = (partitions / count, partitions % count);
        let mut from = 0;
        for (at, member) in (0..).zip(subscribers) {
            let until = from + share + i32::from(at < larger);
            if let Some(held) = holdings.get_mut(member)
                && from < until
            {
                held.insert(topic, (from..until).collect());
            }
            from = until;
        }
    }
    holdings
}

fn uniform(members: &[MemberSpec<'_>], topics: &[TopicSpec]) -> Vec<Holding> {
    let mut table = Table::keep(members, topics);
    // Topics with the same subscribers are shared out as one; those with the fewest first, since
    // theirs can go to nobody else.
    let mut classes: BTreeMap<(usize, Vec<usize>), Vec<usize>> = BTreeMap::new();
    for (topic, subscribers) in by_subscribers(members) {
        let class = classes.entry((subscribers.len(), subscribers)).or_default();
        class.push(topic);
    }
    for ((_, subscribers), class) in &classes {
        table.fill(subscribers, class, topics);
    }
    for _ in 0..ROUNDS_MAX {
        let mut moved = false;
        for ((_, subscribers), class) in &classes {
            moved |= table.level(subscribers, class);
        }
        if !moved {
            break;
        }
    }
    table.holdings
}

/// Who holds what, while it is shared out.
struct Table {
    holdings: Vec<Holding>,
    loads: Vec<usize>,
    taken: BTreeMap<usize, BTreeSet<i32>>,
}

impl Table {
    /// Everybody keeps what it had, as far as it still exists and is subscribed to.
    fn keep(members: &[MemberSpec<'_>], topics: &[TopicSpec]) -> Self {
        let mut table = Self {
            holdings: vec![Holding::new(); members.len()],
            loads: vec![0; members.len()],
            taken: BTreeMap::new(),
        };
        for (member, spec) in members.iter().enumerate() {
            for topic in &spec.topics {
                let Some(facts) = topics.get(*topic).map(|spec| spec.facts) else {
                    continue;
                };
                for index in spec.previous.get(&facts.id).into_iter().flatten() {
                    if (0..facts.partitions).contains(index) {
                        table.give(member, *topic, *index);
                    }
                }
            }
        }
        table
    }

    fn give(&mut self, member: usize, topic: usize, index: i32) {
        if self.taken.entry(topic).or_default().insert(index)
            && let Some(held) = self.holdings.get_mut(member)
            && let Some(load) = self.loads.get_mut(member)
        {
            held.entry(topic).or_default().insert(index);
            *load += 1;
        }
    }

    fn load(&self, member: usize) -> usize {
        self.loads.get(member).copied().unwrap_or_default()
    }

    fn by_load(&self, members: &[usize]) -> BTreeSet<(usize, usize)> {
        let members = members.iter();
        members
            .map(|member| (self.load(*member), *member))
            .collect()
    }

    /// Gives what nobody holds to whoever has least.
    fn fill(&mut self, subscribers: &[usize], class: &[usize], topics: &[TopicSpec]) {
        let mut by_load = self.by_load(subscribers);
        for topic in class {
            let partitions = topics.get(*topic).map_or(0, |spec| spec.facts.partitions);
            for index in 0..partitions {
                let taken = self.taken.get(topic).is_some_and(|t| t.contains(&index));
                if !taken && let Some((load, member)) = by_load.pop_first() {
                    self.give(member, *topic, index);
                    by_load.insert((load + 1, member));
                }
            }
        }
    }

    /// Moves partitions from who has most to who has least while that makes them more equal.
    fn level(&mut self, subscribers: &[usize], class: &[usize]) -> bool {
        let mut by_load = self.by_load(subscribers);
        let mut moved = false;
        while let Some((low, receiver)) = by_load.first().copied() {
            let heavier = by_load.iter().rev();
            let mut givers = heavier.take_while(|(load, _)| *load > low + 1);
            let Some((high, giver, topic, index)) = givers.find_map(|(load, member)| {
                let (topic, index) = self.last_of(*member, class)?;
                Some((*load, *member, topic, index))
            }) else {
                break;
            };
            if let Some(held) = self.holdings.get_mut(giver)
                && let Some(indexes) = held.get_mut(&topic)
            {
                indexes.remove(&index);
            }
            if let Some(load) = self.loads.get_mut(giver) {
                *load -= 1;
            }
            self.taken.entry(topic).or_default().remove(&index);
            self.give(receiver, topic, index);
            by_load.remove(&(high, giver));
            by_load.remove(&(low, receiver));
            by_load.insert((high - 1, giver));
            by_load.insert((low + 1, receiver));
            moved = true;
        }
        moved
    }

    /// The last partition that a member holds of these topics.
    fn last_of(&self, member: usize, class: &[usize]) -> Option<(usize, i32)> {
        let held = self.holdings.get(member)?;
        let mut topics = class.iter().rev();
        topics.find_map(|topic| Some((*topic, *held.get(topic)?.last()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;
    use uuid::Uuid;

    fn id(topic: usize) -> TopicId {
        TopicId(Uuid::from_u128(u128::try_from(topic).unwrap() + 1))
    }

    /// Partition counts of topics; topics of each member; what members had, `topic:indexes`.
    fn run(
        assignor: Assignor,
        partitions: &[i32],
        members: &[&[usize]],
        previous: &[Assignment],
    ) -> Vec<Assignment> {
        let topics: Vec<TopicSpec> = partitions
            .iter()
            .enumerate()
            .map(|(topic, partitions)| {
                TopicSpec::new(TopicFacts {
                    id: id(topic),
                    partitions: *partitions,
                })
            })
            .collect();
        let nothing = Assignment::new();
        let names: Vec<String> = (0..members.len()).map(|at| format!("m{at}")).collect();
        let specs: Vec<MemberSpec<'_>> = members
            .iter()
            .enumerate()
            .map(|(at, topics)| MemberSpec {
                name: &names[at],
                topics: topics.iter().copied().collect(),
                previous: previous.get(at).unwrap_or(&nothing),
            })
            .collect();
        assign(assignor, &specs, &topics)
    }

    fn text(assignments: &[Assignment]) -> String {
        let member = |assignment: &Assignment| {
            assignment
                .iter()
                .map(|(topic, indexes)| {
                    let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
                    format!("{}:{}", topic.0.as_u128() - 1, indexes.join(","))
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        assignments
            .iter()
            .map(member)
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn a_group_is_shared_out() {
        type Case<'a> = (Assignor, &'a [i32], &'a [&'a [usize]], &'a str);
        let cases: &[Case<'_>] = &[
            (Assignor::Uniform, &[4], &[&[0], &[0]], "0:0,2 | 0:1,3"),
            (
                Assignor::Uniform,
                &[3, 2],
                &[&[0, 1], &[0, 1]],
                "0:0,2 1:1 | 0:1 1:0",
            ),
            (Assignor::Uniform, &[1], &[&[0], &[0]], "0:0 | "),
            // The topic that only one can have counts against it.
            (
                Assignor::Uniform,
                &[3, 3],
                &[&[0, 1], &[0]],
                "1:0,1,2 | 0:0,1,2",
            ),
            (Assignor::Uniform, &[2], &[&[], &[0]], " | 0:0,1"),
            (Assignor::Uniform, &[], &[&[]], ""),
            (
                Assignor::Range,
                &[5, 5],
                &[&[0, 1], &[0, 1]],
                "0:0,1,2 1:0,1,2 | 0:3,4 1:3,4",
            ),
            (Assignor::Range, &[2], &[&[0], &[0], &[0]], "0:0 | 0:1 | "),
            (
                Assignor::Range,
                &[2, 4],
                &[&[1], &[0, 1]],
                "1:0,1 | 0:0,1 1:2,3",
            ),
        ];
        for (assignor, partitions, members, expected) in cases {
            let found = text(&run(*assignor, partitions, members, &[]));
            assert_eq!(found, *expected, "{assignor:?} {partitions:?} {members:?}");
        }
    }

    #[test]
    fn a_change_moves_as_little_as_can_be() {
        let both: &[&[usize]] = &[&[0], &[0]];
        let three: &[&[usize]] = &[&[0], &[0], &[0]];
        for assignor in Assignor::ALL {
            let before = run(assignor, &[6], both, &[]);
            let after = run(assignor, &[6], three, &before);
            let sizes: Vec<usize> = after.iter().map(|a| a[&id(0)].len()).collect();
            assert_eq!(sizes, [2, 2, 2], "{assignor:?}");
            if assignor == Assignor::Uniform {
                for (before, after) in before.iter().zip(&after) {
                    assert!(after[&id(0)].is_subset(&before[&id(0)]), "{after:?}");
                }
            }
            assert_eq!(run(assignor, &[6], three, &after), after, "nothing changed");
            let grown = run(assignor, &[9], three, &after);
            assert!(grown.iter().all(|a| a[&id(0)].len() == 3), "{grown:?}");
        }
    }

    #[test]
    fn every_partition_has_one_owner_whatever_is_subscribed_to() {
        let mut seed = 7_u64;
        let mut below = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from((seed >> 33) % limit).unwrap()
        };
        for _ in 0..500 {
            let topics = 1 + below(4);
            let members = 1 + below(6);
            let partitions: Vec<i32> = (0..topics)
                .map(|_| i32::try_from(below(9)).unwrap())
                .collect();
            let mut previous: Vec<Assignment> = Vec::new();
            for _ in 0..3 {
                let subscribed: Vec<Vec<usize>> = (0..members)
                    .map(|_| (0..topics).filter(|_| below(3) > 0).collect())
                    .collect();
                let subscribed: Vec<&[usize]> = subscribed.iter().map(Vec::as_slice).collect();
                let assignor = Assignor::ALL[below(2)];
                let found = run(assignor, &partitions, &subscribed, &previous);
                for (topic, count) in partitions.iter().enumerate() {
                    let mut held: Vec<i32> = Vec::new();
                    for (member, assignment) in found.iter().enumerate() {
                        let indexes = assignment.get(&id(topic)).into_iter().flatten();
                        held.extend(indexes);
                        let may = subscribed[member].contains(&topic);
                        assert!(may || !assignment.contains_key(&id(topic)));
                    }
                    held.sort_unstable();
                    let anybody = subscribed.iter().any(|topics| topics.contains(&topic));
                    let expected: Vec<i32> = (0..*count).filter(|_| anybody).collect();
                    assert_eq!(held, expected, "{assignor:?} topic {topic}");
                }
                previous = found;
            }
        }
    }
}
