//! Consumer groups over a real log, and members of both protocols in one group.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::groups::consumer::{
    Assignment, Heartbeat, HeartbeatReply, JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH,
};
use crate::groups::overrides::{HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS};
use crate::topics::{ConfigChange, ConfigOp};

impl Fixture {
    async fn send(&self, group: &str, request: Heartbeat) -> Result<HeartbeatReply, ErrorCode> {
        let answered = self.groups().consumer_heartbeat(group, request).await;
        answered.map_err(|refusal| refusal.code)
    }

    /// Topic t, partitions by index, `None` where nothing is said.
    fn indexes(&self, reply: &HeartbeatReply) -> Option<Vec<i32>> {
        let id = self.broker.topics.get("t").unwrap().id;
        let assignment = reply.assignment.as_ref()?;
        let indexes = assignment.get(&id).into_iter().flatten();
        Some(indexes.copied().collect())
    }

    async fn enter(&self, group: &str, id: &str) -> Result<HeartbeatReply, ErrorCode> {
        self.enter_for(group, id, "t").await
    }

    async fn enter_for(
        &self,
        group: &str,
        id: &str,
        topic: &str,
    ) -> Result<HeartbeatReply, ErrorCode> {
        let request = Heartbeat {
            member_id: id.to_owned(),
            member_epoch: JOIN_EPOCH,
            rebalance_timeout_ms: Some(10_000),
            topics: Some(BTreeSet::from([topic.to_owned()])),
            owned: Some(Assignment::new()),
            ..Heartbeat::default()
        };
        self.send(group, request).await
    }

    async fn beat(&self, group: &str, id: &str, epoch: i32) -> Result<HeartbeatReply, ErrorCode> {
        let request = Heartbeat {
            member_id: id.to_owned(),
            member_epoch: epoch,
            ..Heartbeat::default()
        };
        self.send(group, request).await
    }

    /// A member of the classic protocol that subscribes to t and owns these partitions of it.
    async fn join_owning(&self, group: &str, id: &str, owned: &[u8]) -> JoinReply {
        let mut metadata = vec![0, 1, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];
        metadata.extend([0, 0, 0, 1, 0, 1, b't', 0, 0, 0]);
        metadata.push(u8::try_from(owned.len()).unwrap());
        for index in owned {
            metadata.extend([0, 0, 0, *index]);
        }
        let request = JoinRequest {
            member_id: id.to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol {
                name: "cooperative-sticky".to_owned(),
                metadata: Bytes::from(metadata),
            }],
            needs_known_member_id: false,
            knows_skip_assignment: true,
            fresh_member_id: "classic".to_owned(),
        };
        self.groups().join(group, request).await
    }
}

/// An assignment of partitions of t as the classic protocol has it.
fn share(indexes: &[u8]) -> Bytes {
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0];
    bytes.push(u8::try_from(indexes.len()).unwrap());
    for index in indexes {
        bytes.extend([0, 0, 0, *index]);
    }
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

#[tokio::test]
async fn a_group_and_its_epochs_survive_a_restart() {
    let fixture = Fixture::new();
    let reply = fixture.enter("g", "a").await.unwrap();
    assert_eq!(fixture.indexes(&reply), Some(vec![0, 1, 2, 3]));
    assert_eq!(fixture.enter("g", "b").await.unwrap().member_epoch, 2);
    let member = |member_id, generation| Committer {
        member_id,
        instance_id: None,
        generation,
    };
    let commit = |who, offset| {
        let commits = vec![(("t".to_owned(), 0), fixture.offset(offset))];
        fixture.groups().commit("g", who, commits)
    };
    assert_eq!(commit(member("a", 1), 5).await, Ok(()));
    let stale = Err(ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(commit(member("a", 2), 6).await, stale);
    let unknown = Err(ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(commit(member("x", 1), 6).await, unknown);
    assert_eq!(commit(NOBODY, 6).await, unknown, "in use");
    let read = |member_id, member_epoch| {
        let reader = OffsetReader {
            member_id: Some(member_id),
            member_epoch,
        };
        fixture.groups().fetch_offsets("g", reader, None, false)
    };
    assert!(read("a", 1).await.is_ok());
    assert_eq!(read("a", 7).await, Err(ErrorCode::STALE_MEMBER_EPOCH));

    let before = fixture.groups().describe_consumer("g").unwrap();
    let fixture = fixture.restart();
    assert_eq!(fixture.groups().describe_consumer("g").unwrap(), before);
    assert_eq!(fixture.fetch("g").await, [("t".to_owned(), 0, 5)]);
    fixture.groups().rewrite(0).await.unwrap();
    let fixture = fixture.restart();
    assert_eq!(fixture.groups().describe_consumer("g").unwrap(), before);

    let reply = fixture.beat("g", "a", 1).await.unwrap();
    assert_eq!(
        fixture.indexes(&reply),
        Some(vec![0, 1]),
        "to give up 2 and 3"
    );
    assert_eq!(
        fixture.groups().delete("g").await,
        ErrorCode::NON_EMPTY_GROUP
    );
    fixture.pass(60_000);
    let listed = fixture.groups().list();
    assert_eq!(listed[0].state, "Empty", "nobody was heard of");
    assert_eq!(listed[0].group_type, GroupType::Consumer);
    let gone = fixture.beat("g", "a", 1).await;
    assert_eq!(gone, Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(fixture.groups().delete("g").await, ErrorCode::NONE);
    let fixture = fixture.restart();
    assert_eq!(fixture.groups().list(), []);
    let absent = fixture.beat("g", "a", 1).await;
    assert_eq!(absent, Err(ErrorCode::GROUP_ID_NOT_FOUND));
}

#[tokio::test]
async fn offsets_of_topics_in_use_stay() {
    let fixture = Fixture::new();
    fixture.commit("g", "t", 0, 1).await;
    fixture.commit("g", "u", 0, 2).await;
    fixture.enter("g", "a").await.unwrap();
    let partitions = [("t".to_owned(), 0), ("u".to_owned(), 1)];
    let deleted = fixture.groups().delete_offsets("g", &partitions).await;
    let expected = [ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode::NONE];
    assert_eq!(deleted, Ok(expected.to_vec()));
    for _ in 0..8 * 24 * 60 * 2 {
        fixture.now_ms.fetch_add(30_000, Ordering::Relaxed);
        fixture.beat("g", "a", 1).await.unwrap();
    }
    fixture.groups().expire();
    assert_eq!(fixture.fetch("g").await, [("t".to_owned(), 0, 1)]);
    let left = fixture.beat("g", "a", LEAVE_EPOCH).await;
    assert_eq!(left.unwrap().member_epoch, LEAVE_EPOCH);
    fixture.groups().expire();
    assert_eq!(fixture.groups().list(), [], "old, and nobody's");
}

#[tokio::test]
async fn a_group_nobody_is_in_takes_either_protocol() {
    let fixture = Fixture::new();
    fixture.commit("g", "t", 0, 5).await;
    let stay = fixture.beat("g", "a", 3).await;
    assert_eq!(stay, Err(ErrorCode::GROUP_ID_NOT_FOUND));
    let types = |fixture: &Fixture| fixture.groups().list()[0].group_type;
    assert_eq!(types(&fixture), GroupType::Classic);
    // Used by the classic protocol, then by the other, then by the classic one again.
    let joined = fixture.join("g", "m", "").await;
    fixture.sync("g", "m", joined.generation, &["m"]).await;
    fixture.groups().leave("g", &[("m", None)]).await;
    fixture.enter("g", "a").await.unwrap();
    assert_eq!(types(&fixture), GroupType::Consumer);
    let fixture = fixture.restart();
    assert_eq!(types(&fixture), GroupType::Consumer);
    fixture.beat("g", "a", LEAVE_EPOCH).await.unwrap();
    let joined = fixture.join("g", "m", "").await;
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 1));
    assert_eq!(types(&fixture), GroupType::Classic);
    fixture.sync("g", "m", 1, &["m"]).await;
    let fixture = fixture.restart();
    assert_eq!(types(&fixture), GroupType::Classic);
    assert_eq!(fixture.fetch("g").await, [("t".to_owned(), 0, 5)]);
}

#[tokio::test]
async fn members_of_both_protocols_share_a_group() {
    let fixture = Fixture::new();
    let joined = fixture.join_owning("g", "", &[]).await;
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 1));
    let sync = |fixture: &Fixture, generation, assignments: Vec<(String, Bytes)>| {
        let request = SyncRequest {
            member_id: "classic".to_owned(),
            instance_id: None,
            generation,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("cooperative-sticky".to_owned()),
            assignments,
        };
        let groups = Arc::clone(&fixture.broker.groups);
        async move { groups.sync("g", request).await }
    };
    let all = vec![("classic".to_owned(), share(&[0, 1, 2, 3]))];
    assert_eq!(sync(&fixture, 1, all).await.error, ErrorCode::NONE);

    // The group becomes one that the broker assigns; the member keeps what it has.
    let reply = fixture.enter("g", "new").await.unwrap();
    assert_eq!(
        (reply.member_epoch, fixture.indexes(&reply)),
        (2, Some(vec![]))
    );
    let described = fixture.groups().describe_consumer("g").unwrap();
    let protocols: BTreeMap<&str, bool> = described
        .members
        .iter()
        .map(|member| (member.id.as_str(), member.subscription.classic.is_some()))
        .collect();
    assert_eq!(
        protocols,
        BTreeMap::from([("classic", true), ("new", false)])
    );
    assert!(fixture.groups().describe("g").is_none());
    let heartbeat = |fixture: &Fixture, generation| {
        fixture.groups().heartbeat("g", "classic", None, generation)
    };
    assert_eq!(heartbeat(&fixture, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let behind = sync(&fixture, 1, Vec::new()).await;
    assert_eq!(behind.error, ErrorCode::REBALANCE_IN_PROGRESS);

    // It joins again, is told to give up half, does, and says so by joining once more.
    let joined = fixture.join_owning("g", "classic", &[0, 1, 2, 3]).await;
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 1));
    let synced = sync(&fixture, 1, Vec::new()).await;
    assert_eq!(synced.assignment, share(&[0, 1]));
    let fixture = fixture.restart();
    assert_eq!(heartbeat(&fixture, 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let joined = fixture.join_owning("g", "classic", &[0, 1]).await;
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 2));
    let synced = sync(&fixture, 2, Vec::new()).await;
    assert_eq!(synced.assignment, share(&[0, 1]));
    assert_eq!(heartbeat(&fixture, 2), ErrorCode::NONE);
    let reply = fixture.beat("g", "new", 2).await.unwrap();
    assert_eq!(fixture.indexes(&reply), Some(vec![2, 3]));
    let who = |generation| Committer {
        member_id: "classic",
        instance_id: None,
        generation,
    };
    let commits = || vec![(("t".to_owned(), 0), fixture.offset(9))];
    let groups = fixture.groups();
    assert_eq!(groups.commit("g", who(2), commits()).await, Ok(()));
    let refused = groups.commit("g", who(1), commits()).await;
    assert_eq!(refused, Err(ErrorCode::ILLEGAL_GENERATION));
    assert_eq!(heartbeat(&fixture, 9), ErrorCode::ILLEGAL_GENERATION);
    let other = groups.leave("g", &[("new", None), ("nobody", None)]).await;
    assert_eq!(other, [ErrorCode::UNKNOWN_MEMBER_ID; 2], "not its protocol");

    // The last member of the consumer protocol goes: the group is the others' again.
    fixture.beat("g", "new", LEAVE_EPOCH).await.unwrap();
    let described = fixture.groups().describe("g").unwrap();
    assert_eq!(described.state, GroupState::PreparingRebalance);
    let fixture = fixture.restart();
    let described = fixture.groups().describe("g").unwrap();
    assert_eq!(described.members[0].assignment, share(&[0, 1]));
    let joined = fixture.join_owning("g", "classic", &[0, 1]).await;
    assert_eq!(
        (joined.leader.as_str(), joined.members.len()),
        ("classic", 1)
    );
    let all = vec![("classic".to_owned(), share(&[0, 1, 2, 3]))];
    let synced = sync(&fixture, joined.generation, all).await;
    assert_eq!(synced.assignment, share(&[0, 1, 2, 3]));
    assert_eq!(fixture.fetch("g").await, [("t".to_owned(), 0, 9)]);
}

#[tokio::test]
async fn members_of_the_classic_protocol_have_their_own_timeouts() {
    let fixture = Fixture::new();
    let mut epoch = fixture
        .enter_for("g", "new", "u")
        .await
        .unwrap()
        .member_epoch;
    let count = || {
        let described = fixture.groups().describe_consumer("g").unwrap();
        described.members.len()
    };
    let joined = fixture.join_owning("g", "", &[]).await;
    assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, 2));
    fixture.pass(9_999);
    epoch = fixture.beat("g", "new", epoch).await.unwrap().member_epoch;
    assert_eq!(count(), 2);
    fixture.pass(1);
    assert_eq!(count(), 1, "its session of ten seconds is over");
    // One that reports but never syncs has the time of a rebalance, twenty seconds.
    let generation = fixture.join_owning("g", "", &[]).await.generation;
    let report = || fixture.groups().heartbeat("g", "classic", None, generation);
    for _ in 0..4 {
        fixture.pass(4_999);
        assert_eq!(report(), ErrorCode::NONE);
        epoch = fixture.beat("g", "new", epoch).await.unwrap().member_epoch;
    }
    fixture.pass(4);
    assert_eq!(report(), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn other_classic_groups_are_left_alone() {
    let fixture = Fixture::new();
    let joined = fixture.join("g", "m", "").await;
    let shares = vec!["m"];
    fixture.sync("g", "m", joined.generation, &shares).await;
    let refused = fixture.enter("g", "a").await;
    assert_eq!(
        refused,
        Err(ErrorCode::GROUP_ID_NOT_FOUND),
        "its assignment is no consumer's"
    );
    assert_eq!(fixture.groups().list()[0].group_type, GroupType::Classic);
    let away = Heartbeat {
        member_id: "a".to_owned(),
        member_epoch: STATIC_LEAVE_EPOCH,
        instance_id: Some("i".to_owned()),
        ..Heartbeat::default()
    };
    let refused = fixture.send("g", away).await;
    assert_eq!(refused, Err(ErrorCode::GROUP_ID_NOT_FOUND));
}

/// What is set for a group is in force at the next heartbeat, for it alone, and after a restart.
#[tokio::test]
async fn a_group_has_its_own_session_and_interval() {
    let fixture = Fixture::new();
    let set = |fixture: &Fixture, configs: &[(&str, Option<&str>)]| {
        let op = |value: &Option<&str>| {
            value.map_or(ConfigOp::Delete, |value| ConfigOp::Set(value.to_owned()))
        };
        let ops = configs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), op(value)));
        let change = ConfigChange::Alter(ops.collect());
        let changed = fixture.groups().change_configs("g", &change, false);
        changed.map_err(|error| error.code)
    };
    let interval_ms = |fixture: &Fixture| fixture.groups().heartbeat_interval_ms("g");
    assert_eq!(interval_ms(&fixture), 5_000);
    for (name, value) in [
        (HEARTBEAT_INTERVAL_MS, "1000"),
        (SESSION_TIMEOUT_MS, "8000"),
    ] {
        assert_eq!(set(&fixture, &[(name, Some(value))]), Ok(()));
    }
    let refused = set(&fixture, &[(SESSION_TIMEOUT_MS, Some("1000"))]);
    assert_eq!(
        refused,
        Err(ErrorCode::INVALID_CONFIG),
        "not above the interval"
    );
    assert_eq!(interval_ms(&fixture), 1_000);
    assert_eq!(fixture.groups().heartbeat_interval_ms("other"), 5_000);

    for group in ["g", "other"] {
        fixture.enter(group, "a").await.unwrap();
    }
    let members = |fixture: &Fixture, group: &str| {
        let described = fixture.groups().describe_consumer(group).unwrap();
        described.members.len()
    };
    fixture.pass(7_999);
    assert_eq!(members(&fixture, "g"), 1);
    fixture.pass(1);
    assert_eq!((members(&fixture, "g"), members(&fixture, "other")), (0, 1));

    fixture.enter("g", "a").await.unwrap();
    let fixture = fixture.restart();
    assert_eq!(interval_ms(&fixture), 1_000);
    fixture.pass(7_999);
    assert_eq!(members(&fixture, "g"), 1);
    // Back to the broker's: from its next heartbeat on a member has more time.
    let back = [(SESSION_TIMEOUT_MS, None), (HEARTBEAT_INTERVAL_MS, None)];
    assert_eq!(set(&fixture, &back), Ok(()));
    let epoch = fixture.groups().describe_consumer("g").unwrap().epoch;
    fixture.beat("g", "a", epoch).await.unwrap();
    fixture.pass(44_999);
    assert_eq!((interval_ms(&fixture), members(&fixture, "g")), (5_000, 1));
    assert_eq!(
        fixture.broker.topics.list_group_configs(),
        Vec::<String>::new()
    );
    fixture.pass(1);
    assert_eq!(members(&fixture, "g"), 0);
}

/// Groups change the protocol only as far as the broker's policy goes.
#[tokio::test]
async fn groups_migrate_as_the_policy_says() {
    for (policy, upgrades, downgrades) in [
        (MigrationPolicy::Disabled, false, false),
        (MigrationPolicy::Upgrade, true, false),
        (MigrationPolicy::Downgrade, false, true),
        (MigrationPolicy::Bidirectional, true, true),
    ] {
        let fixture = Fixture::with(GroupConfig {
            migration: policy,
            ..GroupConfig::default()
        });
        fixture.join_owning("classic", "", &[]).await;
        let entered = fixture.enter("classic", "new").await;
        let expected = if upgrades {
            Ok(())
        } else {
            Err(ErrorCode::GROUP_ID_NOT_FOUND)
        };
        assert_eq!(entered.map(drop), expected, "{policy:?}");
        // A group without members takes either protocol in any case.
        fixture.commit("empty", "t", 0, 5).await;
        assert!(fixture.enter("empty", "new").await.is_ok(), "{policy:?}");

        fixture.enter("left", "new").await.unwrap();
        fixture.join_owning("left", "", &[]).await;
        fixture.beat("left", "new", LEAVE_EPOCH).await.unwrap();
        let listed = fixture.groups().list();
        let left = listed.iter().find(|group| group.id == "left").unwrap();
        let expected = if downgrades {
            GroupType::Classic
        } else {
            GroupType::Consumer
        };
        assert_eq!(left.group_type, expected, "{policy:?}");
        // Its member is served either way.
        let joined = fixture.join_owning("left", "classic", &[]).await;
        assert_eq!(joined.error, ErrorCode::NONE, "{policy:?}");
    }
}

/// As Kafka does; franz-go's own tests count on it.
#[tokio::test]
async fn a_regular_expression_may_match_internal_topics() {
    let fixture = Fixture::new();
    let request = Heartbeat {
        member_id: "a".to_owned(),
        member_epoch: JOIN_EPOCH,
        rebalance_timeout_ms: Some(10_000),
        regex: Some("t|__consumer_.*".to_owned()),
        owned: Some(Assignment::new()),
        ..Heartbeat::default()
    };
    let assigned = fixture.send("g", request).await.unwrap().assignment;
    let ids = ["t", OFFSETS_TOPIC].map(|name| fixture.broker.topics.get(name).unwrap().id);
    let found: BTreeSet<_> = assigned.unwrap().into_keys().collect();
    assert_eq!(found, BTreeSet::from(ids));
}
