//! Transcripts of a group: what members say, and where that leaves the group.

use uuid::Uuid;

use super::simulation::Catalogue;
use super::*;
use crate::ids::TopicId;

fn config() -> ConsumerConfig {
    ConsumerConfig {
        session_timeout_ms: 10_000,
        heartbeat_interval_ms: 3_000,
        size_max: 3,
        assignors: Assignor::ALL.to_vec(),
    }
}

struct Fixture {
    group: ConsumerGroup,
    topics: Catalogue,
    now_ms: i64,
    log: Vec<record::KeyValue>,
}

impl Fixture {
    fn new(topics: &[(&str, i32)]) -> Self {
        let fixture = Self {
            group: ConsumerGroup::default(),
            topics: Catalogue::default(),
            now_ms: 0,
            log: Vec::new(),
        };
        for (name, partitions) in topics {
            fixture.topics.set(name, *partitions);
        }
        fixture
    }

    fn write(&mut self, changes: &Changes) {
        let records = changes.applied.iter();
        self.log
            .extend(records.map(|change| change.encode("g").unwrap()));
    }

    fn send(&mut self, request: &Heartbeat) -> Result<HeartbeatReply, ErrorCode> {
        let (reply, changes) = self
            .group
            .heartbeat(self.now_ms, request, &self.topics, &config())
            .map_err(|refusal| refusal.code)?;
        self.write(&changes);
        Ok(reply)
    }

    /// A join of a dynamic member, or of a static one whose id is `instance/member`.
    fn join(&mut self, id: &str, topics: &[&str]) -> String {
        let request = joining(id, topics);
        shown(self.send(&request))
    }

    /// A heartbeat at an epoch with what the member has, `topic:indexes`, `-` for as before.
    fn beat(&mut self, id: &str, epoch: i32, owned: &str) -> String {
        let request = beating(id, epoch, owned);
        shown(self.send(&request))
    }

    fn leave(&mut self, id: &str, epoch: i32) -> String {
        let (instance, member) = names(id);
        let left = self
            .group
            .leave(&member, instance.as_deref(), epoch, &self.topics);
        let left = left.map(|(reply, changes)| {
            self.write(&changes);
            reply
        });
        shown(left.map_err(|refusal| refusal.code))
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        let changes = self
            .group
            .handle_timeout(self.now_ms, &self.topics, &config());
        self.write(&changes);
    }

    fn state(&self) -> String {
        let (epoch, assigned) = (self.group.epoch(), self.group.assignment_epoch());
        format!("{} {epoch}/{assigned}", self.group.state().name())
    }

    /// The group as the log alone has it.
    fn restarted(&self) -> ConsumerGroup {
        let mut group = ConsumerGroup::default();
        for (key, value) in &self.log {
            let (id, change) = Change::decode(key, value.as_deref()).unwrap().unwrap();
            assert_eq!(id, "g");
            let _before = group.apply(change);
        }
        group.restore(self.now_ms, &self.topics, &config());
        group
    }
}

fn names(id: &str) -> (Option<String>, String) {
    match id.split_once('/') {
        Some((instance, member)) => (Some(instance.to_owned()), member.to_owned()),
        None => (None, id.to_owned()),
    }
}

fn joining(id: &str, topics: &[&str]) -> Heartbeat {
    let (instance_id, member_id) = names(id);
    Heartbeat {
        member_id,
        instance_id,
        rebalance_timeout_ms: Some(4_000),
        topics: Some(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        owned: Some(Assignment::new()),
        ..Heartbeat::default()
    }
}

fn beating(id: &str, epoch: i32, owned: &str) -> Heartbeat {
    let (instance_id, member_id) = names(id);
    Heartbeat {
        member_id,
        instance_id,
        member_epoch: epoch,
        owned: (owned != "-").then(|| parse(owned)),
        ..Heartbeat::default()
    }
}

fn parse(text: &str) -> Assignment {
    let topics = text.split(' ').filter(|topic| !topic.is_empty());
    topics
        .map(|topic| {
            let (id, indexes) = topic.split_once(':').unwrap();
            let id = TopicId(Uuid::from_u128(id.parse().unwrap()));
            let indexes = indexes.split(',').map(|index| index.parse().unwrap());
            (id, indexes.collect())
        })
        .collect()
}

/// `epoch partitions`, or the error's name.
fn shown(reply: Result<HeartbeatReply, ErrorCode>) -> String {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return error.name().to_owned(),
    };
    let assignment = reply.assignment.map(|assignment| {
        let topics = assignment.iter().map(|(id, indexes)| {
            let indexes: Vec<String> = indexes.iter().map(ToString::to_string).collect();
            format!("{}:{}", id.0.as_u128(), indexes.join(","))
        });
        topics.collect::<Vec<_>>().join(" ")
    });
    let assignment = assignment.unwrap_or_else(|| "-".to_owned());
    format!("{} {assignment}", reply.member_epoch)
}

#[test]
fn a_partition_is_given_up_before_it_is_given() {
    let mut group = Fixture::new(&[("t", 4)]);
    assert_eq!(group.state(), "Empty 0/0");
    assert_eq!(group.join("a", &["t"]), "1 1:0,1,2,3");
    assert_eq!(group.state(), "Stable 1/1");
    assert_eq!(group.beat("a", 1, "-"), "1 -", "nothing new");

    assert_eq!(group.join("b", &["t"]), "2 ", "nothing is free yet");
    assert_eq!(group.state(), "Reconciling 2/2");
    assert_eq!(
        group.beat("a", 1, "-"),
        "1 1:0,1",
        "told to give up, epoch stays"
    );
    assert_eq!(group.beat("b", 2, "-"), "2 -");
    assert_eq!(group.beat("a", 1, "1:0,1,2,3"), "1 -", "still has all");
    assert_eq!(group.beat("a", 1, "1:0,1"), "2 -", "gave up");
    assert_eq!(group.beat("b", 2, ""), "2 1:2,3");
    assert_eq!(group.state(), "Stable 2/2");

    assert_eq!(group.leave("b", LEAVE_EPOCH), "-1 -");
    assert_eq!(group.state(), "Assigning 3/2");
    assert_eq!(group.beat("a", 2, "1:0,1"), "3 1:0,1,2,3");
    assert_eq!(group.leave("a", LEAVE_EPOCH), "-1 -");
    assert_eq!(group.state(), "Empty 4/3");
}

#[test]
fn members_are_fenced() {
    let mut group = Fixture::new(&[("t", 2)]);
    assert_eq!(group.beat("a", 1, "-"), "UNKNOWN_MEMBER_ID");
    assert_eq!(group.leave("a", LEAVE_EPOCH), "UNKNOWN_MEMBER_ID");
    assert_eq!(group.join("a", &["t"]), "1 1:0,1");
    assert_eq!(
        group.beat("a", 2, "-"),
        "FENCED_MEMBER_EPOCH",
        "from the future"
    );
    assert_eq!(group.join("b", &["t"]), "2 ");
    assert_eq!(group.beat("a", 1, "1:0"), "2 1:0");
    // The answer was lost: the member still is at 1, with part of what it may have.
    assert_eq!(group.beat("a", 1, "1:0"), "2 -");
    assert_eq!(
        group.beat("a", 1, "1:0,1"),
        "FENCED_MEMBER_EPOCH",
        "has more than it may"
    );
    assert_eq!(
        group.beat("a", 1, "-"),
        "FENCED_MEMBER_EPOCH",
        "does not say what it has"
    );
    assert_eq!(group.join("a", &["t"]), "2 1:0", "joins again");
    assert_eq!(group.join("c", &["t"]), "3 ");
    assert_eq!(group.join("d", &["t"]), "GROUP_MAX_SIZE_REACHED");
    assert_eq!(group.join("c", &["t"]), "3 ", "is in already");
}

#[test]
fn silent_members_go() {
    let mut group = Fixture::new(&[("t", 2)]);
    group.join("a", &["t"]);
    assert_eq!(group.group.next_deadline_ms(), Some(10_000));
    group.pass(9_999);
    assert_eq!(group.beat("a", 1, "-"), "1 -");
    group.pass(9_999);
    assert_eq!(group.join("b", &["t"]), "2 ");
    group.pass(1);
    assert_eq!(group.state(), "Assigning 3/2", "a went");
    assert_eq!(group.beat("b", 2, ""), "3 1:0,1");
    assert_eq!(group.beat("a", 1, "-"), "UNKNOWN_MEMBER_ID");
}

#[test]
fn members_that_do_not_give_up_go() {
    let mut group = Fixture::new(&[("t", 2)]);
    group.join("a", &["t"]);
    group.join("b", &["t"]);
    assert_eq!(group.beat("a", 1, "1:0,1"), "1 1:0");
    group.pass(3_999);
    assert_eq!(
        group.beat("a", 1, "1:0,1"),
        "1 -",
        "no more time for saying so"
    );
    group.pass(1);
    assert_eq!(group.beat("a", 1, "1:0"), "UNKNOWN_MEMBER_ID");
    assert_eq!(group.beat("b", 2, ""), "3 1:0,1");
}

#[test]
fn static_members_come_back_to_what_they_had() {
    let mut group = Fixture::new(&[("t", 4)]);
    assert_eq!(group.join("i/a", &["t"]), "1 1:0,1,2,3");
    assert_eq!(group.join("b", &["t"]), "2 ");
    assert_eq!(group.beat("i/a", 1, "1:0,1"), "2 1:0,1");
    assert_eq!(group.beat("b", 2, ""), "2 1:2,3");
    assert_eq!(group.join("i/c", &["t"]), "UNRELEASED_INSTANCE_ID");
    assert_eq!(
        group.join("i/a", &["t"]),
        "2 1:0,1",
        "the same member joins again"
    );
    assert_eq!(group.leave("i/c", STATIC_LEAVE_EPOCH), "FENCED_INSTANCE_ID");
    assert_eq!(group.leave("i/a", STATIC_LEAVE_EPOCH), "-2 -");
    assert_eq!(group.beat("b", 2, "-"), "2 -", "its partitions stay");
    assert_eq!(group.join("i/c", &["t"]), "2 1:0,1", "no rebalance");
    assert_eq!(group.beat("i/a", 2, "-"), "FENCED_INSTANCE_ID");
    assert_eq!(group.state(), "Stable 2/2");

    assert_eq!(group.leave("i/c", STATIC_LEAVE_EPOCH), "-2 -");
    group.pass(9_000);
    assert_eq!(group.beat("b", 2, "-"), "2 -");
    group.pass(1_000);
    assert_eq!(
        group.beat("b", 2, "-"),
        "3 1:0,1,2,3",
        "it did not come back"
    );
    assert_eq!(group.beat("i/c", 2, "-"), "UNKNOWN_MEMBER_ID");
}

#[test]
fn topics_that_come_go_and_grow_begin_an_epoch() {
    let mut group = Fixture::new(&[("t", 1)]);
    assert_eq!(group.join("a", &["t", "u"]), "1 1:0");
    group.topics.set("other", 1);
    assert_eq!(group.beat("a", 1, "-"), "1 -", "nobody's topic");
    group.topics.set("t", 2);
    assert_eq!(group.beat("a", 1, "-"), "2 1:0,1");
    group.topics.set("u", 1);
    assert_eq!(group.beat("a", 2, "-"), "3 1:0,1 3:0");
    group.topics.delete("t");
    assert_eq!(group.beat("a", 3, "-"), "3 3:0", "to be given up");
    assert_eq!(group.beat("a", 3, "3:0"), "4 -");
    group.topics.set("t", 1);
    assert_eq!(
        group.beat("a", 4, "-"),
        "5 3:0 4:0",
        "another topic of that name"
    );
    assert!(group.group.subscribes_to("t") && !group.group.subscribes_to("other"));
}

#[test]
fn regular_expressions_follow_the_topics() {
    let mut group = Fixture::new(&[("orders-eu", 1), ("my-orders-eu", 1)]);
    let by_regex = |regex: &str| Heartbeat {
        topics: None,
        regex: Some(regex.to_owned()),
        ..joining("a", &[])
    };
    for invalid in ["(", "a)(?:b", "(?!a)", "a{1000}{1000}{1000}"] {
        let refused = group.send(&by_regex(invalid));
        assert_eq!(
            refused,
            Err(ErrorCode::INVALID_REGULAR_EXPRESSION),
            "{invalid}"
        );
    }
    assert_eq!(group.state(), "Empty 0/0");
    assert_eq!(
        shown(group.send(&by_regex("orders-.*|x"))),
        "1 1:0",
        "the whole name"
    );
    group.topics.set("orders-us", 2);
    assert_eq!(group.beat("a", 1, "-"), "2 1:0 3:0,1");
    assert!(group.group.subscribes_to("orders-us"));
    // By name and by expression at once, then by name alone.
    let both = Heartbeat {
        topics: Some(BTreeSet::from(["my-orders-eu".to_owned()])),
        ..beating("a", 2, "-")
    };
    assert_eq!(shown(group.send(&both)), "3 1:0 2:0 3:0,1");
    let name = Heartbeat {
        regex: Some(String::new()),
        ..beating("a", 3, "-")
    };
    assert_eq!(shown(group.send(&name)), "3 2:0");
    assert_eq!(group.beat("a", 3, "2:0"), "4 -");
    assert!(!group.group.subscribes_to("orders-us"));
}

#[test]
fn most_members_choose_the_assignor() {
    let mut group = Fixture::new(&[("t", 4)]);
    let with = |id: &str, assignor: &str| Heartbeat {
        assignor: Some(assignor.to_owned()),
        ..joining(id, &["t"])
    };
    let refused = group.send(&with("a", "mine"));
    assert_eq!(refused, Err(ErrorCode::UNSUPPORTED_ASSIGNOR));
    group.join("a", &["t"]);
    assert_eq!(group.group.assignor(&config()), Assignor::Uniform);
    group.send(&with("b", "range")).unwrap();
    assert_eq!(group.group.assignor(&config()), Assignor::Range);
    group.send(&with("c", "uniform")).unwrap();
    assert_eq!(group.group.assignor(&config()), Assignor::Uniform, "a tie");
}

#[test]
fn commits_and_reads_are_fenced_by_the_epoch() {
    let mut group = Fixture::new(&[("t", 1)]);
    assert_eq!(group.group.check_commit("", -1), Ok(()), "nobody is there");
    group.join("a", &["t"]);
    let group = &group.group;
    for (id, epoch, expected) in [
        ("a", 1, Ok(())),
        ("a", 0, Err(ErrorCode::STALE_MEMBER_EPOCH)),
        ("a", 2, Err(ErrorCode::STALE_MEMBER_EPOCH)),
        ("b", 1, Err(ErrorCode::UNKNOWN_MEMBER_ID)),
        ("", -1, Err(ErrorCode::UNKNOWN_MEMBER_ID)),
    ] {
        assert_eq!(group.check_commit(id, epoch), expected, "{id} {epoch}");
        assert_eq!(group.check_fetch(Some(id), epoch), expected, "{id} {epoch}");
    }
    assert_eq!(group.check_fetch(None, -1), Ok(()));
    assert_eq!(group.check_transactional_commit("", -1), Ok(()));
    let stale = group.check_transactional_commit("a", 5);
    assert_eq!(stale, Err(ErrorCode::ILLEGAL_GENERATION));
}

#[test]
fn what_is_not_written_did_not_happen_and_what_is_survives() {
    let mut group = Fixture::new(&[("t", 4)]);
    group.join("i/a", &["t"]);
    group.join("b", &["t"]);
    group.beat("i/a", 1, "-");
    type Step<'a> = &'a dyn Fn(&mut Fixture) -> Result<Changes, Refusal>;
    let steps: [Step<'_>; 4] = [
        &|group| {
            let request = joining("c", &["t", "u"]);
            let done = group
                .group
                .heartbeat(group.now_ms, &request, &group.topics, &config())?;
            Ok(done.1)
        },
        &|group| Ok(group.group.leave("b", None, LEAVE_EPOCH, &group.topics)?.1),
        &|group| {
            let left = group
                .group
                .leave("a", Some("i"), STATIC_LEAVE_EPOCH, &group.topics)?;
            let request = joining("i/z", &["t"]);
            let back = group
                .group
                .heartbeat(group.now_ms, &request, &group.topics, &config())?;
            group.group.undo(back.1);
            Ok(left.1)
        },
        &|group| {
            Ok(group
                .group
                .handle_timeout(group.now_ms + 60_000, &group.topics, &config()))
        },
    ];
    for (at, step) in steps.iter().enumerate() {
        let before = (group.group.snapshot(), group.group.owners.clone());
        let changes = step(&mut group).unwrap();
        assert_ne!(group.group.snapshot(), before.0, "step {at}");
        group.group.undo(changes);
        let after = (group.group.snapshot(), group.group.owners.clone());
        assert_eq!(after, before, "step {at}");
        assert!(group.group.static_members.contains_key("i"), "step {at}");
    }
    let restarted = group.restarted();
    assert_eq!(restarted.snapshot(), group.group.snapshot());
    assert_eq!(restarted.owners, group.group.owners);
    assert_eq!(
        restarted.next_deadline_ms(),
        Some(4_000),
        "a has to give up"
    );

    // All members gone and the group deleted: nothing is left.
    for change in group.group.tombstones() {
        let _before = group.group.apply(change);
    }
    assert!(!group.group.exists());
    assert_eq!(group.group.owners, BTreeMap::new());
}
