//! The coordinator over a real log: durability, restarts, timers, the bound on the log.

mod consumer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Committer, GroupCoordinator, GroupSummary, OffsetReader};
use crate::clock::Clock;
use crate::error::ErrorCode;
use crate::groups::classic::{
    GroupState, JoinReply, JoinRequest, Protocol, SyncReply, SyncRequest,
};
use crate::groups::group::GroupType;
use crate::groups::offsets::CommittedOffset;
use crate::groups::{GroupConfig, MigrationPolicy, OFFSETS_TOPIC};
use crate::ids::PartitionIndex;
use crate::topics::NewTopic;
use crate::validation::NoValidation;
use crate::{Broker, BrokerConfig};

const NOBODY: Committer<'static> = Committer {
    member_id: "",
    instance_id: None,
    generation: -1,
};
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

struct Fixture {
    data: TempDir,
    now_ms: Arc<AtomicI64>,
    broker: Arc<Broker>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    fn with(config: GroupConfig) -> Self {
        let data = TempDir::new().unwrap();
        let now_ms = Arc::new(AtomicI64::new(1_700_000_000_000));
        let broker = open(&data, &now_ms, config);
        for name in ["t", "u"] {
            let topic = NewTopic {
                name: name.to_owned(),
                partitions: 4,
                replication_factor: 1,
                configs: BTreeMap::new(),
                internal: false,
            };
            broker.topics.create(&topic, false).unwrap();
        }
        Self {
            data,
            now_ms,
            broker,
        }
    }

    fn groups(&self) -> &GroupCoordinator {
        &self.broker.groups
    }

    fn pass(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
        self.groups().tick();
    }

    fn restart(self) -> Self {
        let Self {
            data,
            now_ms,
            broker,
        } = self;
        broker.close().unwrap();
        let config = broker.config.groups.clone();
        drop(broker);
        let broker = open(&data, &now_ms, config);
        Self {
            data,
            now_ms,
            broker,
        }
    }

    async fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        self.groups()
            .commit(
                group,
                NOBODY,
                vec![((topic.to_owned(), partition), self.offset(offset))],
            )
            .await
            .unwrap();
    }

    fn offset(&self, offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: 2,
            metadata: "a note".to_owned(),
            commit_timestamp_ms: self.now_ms.load(Ordering::Relaxed),
            expire_timestamp_ms: None,
        }
    }

    async fn fetch(&self, group: &str) -> Vec<(String, i32, i64)> {
        let topics = self
            .groups()
            .fetch_offsets(group, OffsetReader::ANYBODY, None, false)
            .await
            .unwrap();
        topics
            .into_iter()
            .flat_map(|(topic, partitions)| {
                partitions.into_iter().map(move |(partition, offset)| {
                    (topic.clone(), partition, offset.unwrap().unwrap().offset)
                })
            })
            .collect()
    }

    async fn join(&self, group: &str, name: &str, member_id: &str) -> JoinReply {
        let request = JoinRequest {
            member_id: member_id.to_owned(),
            instance_id: None,
            client_id: name.to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol {
                name: "range".to_owned(),
                // A subscription to topic t.
                metadata: Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't']),
            }],
            needs_known_member_id: false,
            knows_skip_assignment: false,
            fresh_member_id: name.to_owned(),
        };
        self.groups().join(group, request).await
    }

    async fn sync(&self, group: &str, id: &str, generation: i32, shares: &[&str]) -> SyncReply {
        let request = SyncRequest {
            member_id: id.to_owned(),
            instance_id: None,
            generation,
            protocol_type: None,
            protocol_name: None,
            assignments: shares
                .iter()
                .map(|id| ((*id).to_owned(), Bytes::copy_from_slice(id.as_bytes())))
                .collect(),
        };
        self.groups().sync(group, request).await
    }
}

fn open(data: &TempDir, now_ms: &Arc<AtomicI64>, groups: GroupConfig) -> Arc<Broker> {
    let config = BrokerConfig {
        groups,
        clock: Clock::Manual(Arc::clone(now_ms)),
        ..BrokerConfig::new(data.path().to_owned())
    };
    Broker::open(config, Arc::new(NoValidation)).unwrap()
}

#[tokio::test]
async fn offsets_survive_a_restart() {
    let fixture = Fixture::new();
    fixture.commit("g", "t", 0, 5).await;
    fixture.commit("g", "t", 0, 6).await;
    fixture.commit("g", "u", 3, 7).await;
    fixture.commit("", "t", 0, 8).await;
    let before = fixture
        .groups()
        .fetch_offsets("g", OffsetReader::ANYBODY, None, false)
        .await
        .unwrap();
    let fixture = fixture.restart();
    assert_eq!(
        fixture
            .groups()
            .fetch_offsets("g", OffsetReader::ANYBODY, None, false)
            .await
            .unwrap(),
        before
    );
    assert_eq!(
        fixture.fetch("g").await,
        [("t".to_owned(), 0, 6), ("u".to_owned(), 3, 7)]
    );
    assert_eq!(fixture.fetch("").await, [("t".to_owned(), 0, 8)]);
    assert_eq!(
        fixture
            .groups()
            .fetch_offsets(
                "nobody",
                OffsetReader::ANYBODY,
                Some(&[("t".to_owned(), vec![0])]),
                false
            )
            .await
            .unwrap(),
        [("t".to_owned(), vec![(0, Ok(None))])]
    );
}

#[tokio::test]
async fn a_stable_group_survives_a_restart_and_then_times_out() {
    let fixture = Fixture::new();
    assert_eq!(fixture.join("g", "a", "").await.generation, 1);
    let (second, first) = tokio::join!(fixture.join("g", "b", ""), fixture.join("g", "a", "a"));
    assert_eq!((first.generation, first.members.len()), (2, 2));
    assert_eq!((second.generation, second.leader.as_str()), (2, "a"));
    let (follower, leader) = tokio::join!(
        fixture.sync("g", "b", 2, &[]),
        fixture.sync("g", "a", 2, &["a", "b"])
    );
    assert_eq!(
        (&follower.assignment[..], &leader.assignment[..]),
        (&b"b"[..], &b"a"[..])
    );
    let before = fixture.groups().describe("g").unwrap();
    let fixture = fixture.restart();
    assert_eq!(fixture.groups().describe("g").unwrap(), before);
    assert_eq!(
        fixture.groups().heartbeat("g", "b", None, 2),
        ErrorCode::NONE
    );
    fixture.pass(10_000);
    let summary = GroupSummary {
        id: "g".to_owned(),
        group_type: GroupType::Classic,
        protocol_type: "consumer".to_owned(),
        state: "Empty",
    };
    assert_eq!(fixture.groups().list(), std::slice::from_ref(&summary));
    let fixture = fixture.restart();
    assert_eq!(fixture.groups().list(), [summary]);
}

#[tokio::test]
async fn offsets_and_groups_expire() {
    let fixture = Fixture::new();
    fixture.commit("simple", "t", 0, 5).await;
    fixture.join("g", "a", "").await;
    fixture.sync("g", "a", 1, &["a"]).await;
    let member = Committer {
        member_id: "a",
        instance_id: None,
        generation: 1,
    };
    for topic in ["t", "unsubscribed"] {
        let commit = ((topic.to_owned(), 0), fixture.offset(1));
        fixture
            .groups()
            .commit("g", member, vec![commit])
            .await
            .unwrap();
    }
    // A week in steps the session survives.
    for _ in 0..(7 * DAY_MS / 9_000 + 1) {
        fixture.pass(9_000);
        assert_eq!(
            fixture.groups().heartbeat("g", "a", None, 1),
            ErrorCode::NONE
        );
    }
    fixture.groups().expire();
    assert_eq!(fixture.fetch("simple").await, []);
    assert!(fixture.groups().describe("simple").is_none());
    assert_eq!(fixture.fetch("g").await, [("t".to_owned(), 0, 1)]);

    let left = fixture.groups().leave("g", &[("a", None)]).await;
    assert_eq!(left, [ErrorCode::NONE]);
    fixture.pass(7 * DAY_MS - 1);
    fixture.groups().expire();
    assert_eq!(fixture.fetch("g").await, [("t".to_owned(), 0, 1)]);
    fixture.pass(1);
    fixture.groups().expire();
    assert!(fixture.groups().list().is_empty());
    let fixture = fixture.restart();
    assert!(fixture.groups().list().is_empty());
}

#[tokio::test]
async fn rewriting_the_log_keeps_what_is_live() {
    let fixture = Fixture::new();
    for round in 0..50 {
        for group in ["g", "h", "gone"] {
            fixture
                .commit(group, "t", round % 3, i64::from(round))
                .await;
        }
    }
    assert_eq!(fixture.groups().delete("gone").await, ErrorCode::NONE);
    // A rebalance half done is not what a restart should find.
    fixture.join("g", "a", "").await;
    fixture.sync("g", "a", 1, &["a"]).await;
    fixture.join("g", "a", "a").await;

    let partition = |broker: &Broker| {
        let topic = broker.topics.get(OFFSETS_TOPIC).unwrap();
        topic.partition(PartitionIndex(0)).unwrap()
    };
    let before = partition(&fixture.broker).offsets();
    fixture.groups().rewrite(0).await.unwrap();
    let after = partition(&fixture.broker).offsets();
    assert_eq!(after.log_start, before.log_end);
    assert_eq!(after.log_end.0 - before.log_end.0, 3 + 3 + 1);

    let offsets = fixture.fetch("g").await;
    let fixture = fixture.restart();
    assert_eq!(fixture.fetch("g").await, offsets);
    assert_eq!(fixture.fetch("h").await, offsets);
    assert!(fixture.groups().describe("gone").is_none());
    let group = fixture.groups().describe("g").unwrap();
    assert_eq!(group.state, GroupState::Stable);
    assert_eq!(
        fixture.groups().heartbeat("g", "a", None, 1),
        ErrorCode::NONE
    );
    // And what comes after is kept too.
    fixture.commit("h", "t", 0, 1_000).await;
    let fixture = fixture.restart();
    assert_eq!(fixture.fetch("h").await[0], ("t".to_owned(), 0, 1_000));
}

#[tokio::test]
async fn deletion_is_refused_while_in_use() {
    let fixture = Fixture::new();
    let groups = fixture.groups();
    assert_eq!(groups.delete("g").await, ErrorCode::GROUP_ID_NOT_FOUND);
    fixture.commit("g", "t", 0, 1).await;
    fixture.commit("g", "u", 0, 1).await;
    fixture.join("g", "a", "").await;
    fixture.sync("g", "a", 1, &["a"]).await;
    assert_eq!(groups.delete("g").await, ErrorCode::NON_EMPTY_GROUP);
    let partitions = [("t".to_owned(), 0), ("u".to_owned(), 0)];
    assert_eq!(
        groups.delete_offsets("g", &partitions).await,
        Ok(vec![ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode::NONE])
    );
    assert_eq!(fixture.fetch("g").await, [("t".to_owned(), 0, 1)]);
    groups.topic_deleted("t");
    assert_eq!(fixture.fetch("g").await, []);
    assert_eq!(groups.leave("g", &[("a", None)]).await, [ErrorCode::NONE]);
    assert_eq!(groups.delete("g").await, ErrorCode::NONE);
    assert_eq!(
        groups.delete_offsets("g", &partitions).await,
        Err(ErrorCode::GROUP_ID_NOT_FOUND)
    );
}

#[tokio::test]
async fn a_restart_forgets_the_offsets_of_topics_that_are_gone() {
    let fixture = Fixture::new();
    fixture.commit("g", "t", 0, 6).await;
    fixture.commit("g", "gone", 0, 7).await;
    let fixture = fixture.restart();
    let left = fixture.fetch("g").await;
    assert_eq!(left, [("t".to_owned(), 0, 6)]);
}

#[tokio::test]
async fn a_group_nobody_got_into_leaves_no_trace() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.join("g", "a", "unknown").await.error,
        ErrorCode::UNKNOWN_MEMBER_ID
    );
    let refused = fixture
        .groups()
        .commit(
            "g",
            Committer {
                member_id: "a",
                instance_id: None,
                generation: 3,
            },
            vec![(("t".to_owned(), 0), fixture.offset(1))],
        )
        .await;
    assert_eq!(refused, Err(ErrorCode::ILLEGAL_GENERATION));
    assert!(fixture.groups().list().is_empty());
}

#[tokio::test]
async fn shutdown_answers_who_waits() {
    let fixture = Fixture::new();
    fixture.join("g", "a", "").await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&fixture.broker.groups).run(shutdown.clone()));
    let (reply, ()) = tokio::join!(biased; fixture.join("g", "b", ""), async {
        shutdown.cancel();
    });
    assert_eq!(reply.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
    running.await.unwrap();
    let late = fixture.join("g", "c", "").await;
    assert_eq!(late.error, ErrorCode::COORDINATOR_NOT_AVAILABLE);
}
