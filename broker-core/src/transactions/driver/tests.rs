//! The coordinator on a simulated disk: what times out, what is rewritten, what nobody owns any more.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::BytesMut;

use super::*;
use crate::broker::Durability;
use crate::ids::{PartitionIndex, ProducerEpoch, Sequence};
use crate::records::{BatchBuilder, BatchHeader, Compression};
use crate::storage::Storage;
use crate::storage::simulated::SimulatedStorage;
use crate::topics::NewTopic;
use crate::transactions::coordinator::TransactionState;
use crate::transactions::life::{Life, read_committed};

const TIMEOUT_MS: i32 = 60_000;
const ID: &str = "tx";

struct World {
    disk: SimulatedStorage,
    now: Arc<AtomicI64>,
    life: Option<Life>,
}

impl World {
    fn new() -> Self {
        let disk = SimulatedStorage::default();
        disk.create_dir(Path::new("/data")).unwrap();
        let now = Arc::new(AtomicI64::new(1_000_000));
        let life = Life::open(&disk, Durability::GroupFsync, &now);
        Self {
            disk,
            now,
            life: Some(life),
        }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    /// Another process after the power failed.
    fn lose_power(&mut self, seed: u64) {
        self.life = None;
        self.disk.crash(seed);
        self.life = Some(Life::open(&self.disk, Durability::GroupFsync, &self.now));
    }

    async fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
        self.life().transactions.tick().await;
    }

    async fn begin(&self, id: &str) -> Producer {
        let begun = self.life().transactions.init(id, TIMEOUT_MS, None).await;
        begun.unwrap()
    }

    async fn send(&self, id: &str, who: Producer, partition: i32, value: &str) {
        let sent = self
            .life()
            .produce(id, (who, ClientVersion::Two), (partition, 0), value)
            .await;
        assert_eq!(sent, Ok(()), "{id} {value}");
    }

    async fn end(
        &self,
        id: &str,
        who: Producer,
        result: TransactionResult,
    ) -> Result<Producer, ErrorCode> {
        let transactions = &self.life().transactions;
        transactions.end(id, who, result, ClientVersion::Two).await
    }

    fn state(&self, id: &str) -> TransactionState {
        self.life().transactions.describe(id).unwrap().state
    }

    fn values(&self, partition: i32) -> Vec<String> {
        read_committed(&self.life().partition(partition))
    }

    /// Whether a read-committed consumer waits for something.
    fn hangs(&self, partition: i32) -> bool {
        let offsets = self.life().partition(partition).offsets();
        offsets.last_stable < offsets.log_end
    }
}

#[tokio::test]
async fn what_takes_too_long_is_aborted_and_its_producer_fenced() {
    let world = World::new();
    let who = world.begin(ID).await;
    world.send(ID, who, 0, "late").await;
    let life = world.life();
    let offsets = life.commit_offset(ID, (who, ClientVersion::Two), 7).await;
    assert_eq!(offsets, Ok(()));
    world.pass(i64::from(TIMEOUT_MS) - 1).await;
    assert_eq!(world.state(ID), TransactionState::Ongoing, "not yet");
    assert!(world.hangs(0));
    world.pass(1).await;
    assert_eq!(world.state(ID), TransactionState::CompleteAbort);
    assert!(!world.hangs(0));
    assert_eq!(world.values(0), Vec::<String>::new());
    assert_eq!(world.life().committed_offset(ID).await, None);
    let committed = world.end(ID, who, TransactionResult::Commit).await;
    // As Kafka: to a client of version 2 its own epoch plus one is a retry, of another decision.
    assert_eq!(committed, Err(ErrorCode::INVALID_TXN_STATE));
    let sent = life
        .produce(ID, (who, ClientVersion::Two), (0, 1), "zombie")
        .await;
    assert!(sent.is_err());
    // Whoever comes next begins from the start.
    let next = world.begin(ID).await;
    world.send(ID, next, 0, "fresh").await;
    world
        .end(ID, next, TransactionResult::Commit)
        .await
        .unwrap();
    assert_eq!(world.values(0), ["fresh"]);
}

#[tokio::test]
async fn a_timeout_is_kept_over_a_restart() {
    let mut world = World::new();
    let who = world.begin(ID).await;
    world.send(ID, who, 1, "late").await;
    world.pass(i64::from(TIMEOUT_MS) / 2).await;
    world.lose_power(3);
    assert_eq!(world.state(ID), TransactionState::Ongoing);
    world.pass(i64::from(TIMEOUT_MS) / 2).await;
    assert_eq!(world.state(ID), TransactionState::CompleteAbort);
    assert!(!world.hangs(1));
}

#[tokio::test]
async fn rewriting_the_log_keeps_every_state_through_a_power_loss() {
    for seed in 0..20 {
        let mut world = World::new();
        let mut open = Vec::new();
        for number in 0..12 {
            let id = format!("tx-{number}");
            let who = world.begin(&id).await;
            if number % 4 == 0 {
                continue;
            }
            let value = format!("value-{number}");
            world.send(&id, who, number % 3, &value).await;
            let result = match number % 4 {
                1 => TransactionResult::Commit,
                2 => TransactionResult::Abort,
                _ => {
                    open.push((id, who));
                    continue;
                }
            };
            world.end(&id, who, result).await.unwrap();
        }
        let transactions = Arc::clone(&world.life().transactions);
        let before = transactions.list();
        let log = world.life().topics.get(TRANSACTIONS_TOPIC).unwrap();
        let log = log.partition(PartitionIndex(0)).unwrap();
        let end = log.offsets().log_end;
        transactions.rewrite(0).await.unwrap();
        assert_eq!(log.offsets().log_start, end, "what was before is gone");
        assert_eq!(transactions.list(), before);
        drop((transactions, log));
        world.lose_power(seed);
        assert_eq!(world.life().transactions.list(), before, "seed {seed}");
        for (id, who) in open {
            world
                .end(&id, who, TransactionResult::Commit)
                .await
                .unwrap();
        }
        let seen: BTreeSet<String> = (0..3).flat_map(|at| world.values(at)).collect();
        let expected = [1, 3, 5, 7, 9, 11].map(|number| format!("value-{number}"));
        assert_eq!(seen, BTreeSet::from(expected), "seed {seed}");
    }
}

#[tokio::test]
async fn a_deleted_topic_holds_no_transaction_up() {
    let world = World::new();
    let gone = NewTopic {
        name: "gone".to_owned(),
        partitions: 1,
        replication_factor: 1,
        configs: std::collections::BTreeMap::new(),
        internal: false,
    };
    world.life().topics.create(&gone, false).unwrap();
    let who = world.begin(ID).await;
    world.send(ID, who, 0, "kept").await;
    let places = [("gone".to_owned(), 0), ("t".to_owned(), 1)];
    let added = world
        .life()
        .transactions
        .add_partitions(ID, who, &places, ClientVersion::Two)
        .await;
    assert_eq!(added, Ok(()));
    world.life().topics.delete("gone").unwrap();
    let ended = world.end(ID, who, TransactionResult::Commit).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(world.state(ID), TransactionState::CompleteCommit);
    assert_eq!(world.values(0), ["kept"]);
    assert!(!world.hangs(0) && !world.hangs(1));
}

#[tokio::test]
async fn a_transaction_that_no_id_has_open_is_aborted_at_the_start() {
    let mut world = World::new();
    let who = world.begin(ID).await;
    world.send(ID, who, 0, "owned").await;
    // What a lost `__transaction_state` would leave behind.
    let orphan = Producer {
        id: ProducerId(900),
        epoch: ProducerEpoch(4),
    };
    let batch = |sequence| {
        let mut batch = BatchBuilder::new(Compression::None, 0)
            .producer(orphan.id, orphan.epoch, Sequence(sequence))
            .transactional();
        batch.append(0, None, Some(b"orphaned"), &[]);
        BytesMut::from(&batch.build()[..])
    };
    let append = |world: &World, sequence| {
        let bytes = batch(sequence);
        let header = BatchHeader::parse(&bytes).unwrap();
        let partition = world.life().partition(1);
        partition.append(bytes, &header, 0, &|| true)
    };
    append(&world, 0).unwrap();
    world.life().partition(1).sync_now();
    assert!(world.hangs(1));
    world.lose_power(5);
    assert!(!world.hangs(1), "aborted");
    assert_eq!(world.values(1), Vec::<String>::new());
    let refused = append(&world, 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::INVALID_PRODUCER_EPOCH);
    assert!(world.hangs(0), "what is owned stays open");
    world.end(ID, who, TransactionResult::Commit).await.unwrap();
    assert_eq!(world.values(0), ["owned"]);
}

#[tokio::test]
async fn an_id_that_nobody_uses_is_forgotten_for_good() {
    let mut world = World::new();
    let idle = world.begin("idle").await;
    let busy = world.begin("busy").await;
    world.send("busy", busy, 0, "open").await;
    world.now.fetch_add(604_800_000, Ordering::Relaxed);
    world.life().transactions.expire();
    let ids = |world: &World| -> Vec<String> {
        let listed = world.life().transactions.list();
        listed.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(ids(&world), ["busy"], "an open transaction keeps its id");
    let log = world.life().topics.get(TRANSACTIONS_TOPIC).unwrap();
    log.partition(PartitionIndex(0)).unwrap().sync_now();
    drop(log);
    world.lose_power(1);
    assert_eq!(ids(&world), ["busy"]);
    let ended = world.end("idle", idle, TransactionResult::Abort).await;
    assert_eq!(ended, Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
}

#[tokio::test]
async fn a_full_disk_refuses_a_decision_and_takes_it_later() {
    let world = World::new();
    let who = world.begin(ID).await;
    world.send(ID, who, 0, "value").await;
    world.disk.fill_up_after(0);
    let refused = world.end(ID, who, TransactionResult::Commit).await;
    assert_eq!(refused, Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    assert_eq!(world.state(ID), TransactionState::Ongoing);
    assert_eq!(world.values(0), Vec::<String>::new());
    world.disk.make_space();
    world.end(ID, who, TransactionResult::Commit).await.unwrap();
    assert_eq!(world.values(0), ["value"]);
}

#[tokio::test]
async fn a_timeout_that_cannot_be_written_is_tried_again() {
    let world = World::new();
    let who = world.begin(ID).await;
    world.send(ID, who, 0, "late").await;
    world.disk.fill_up_after(0);
    world.pass(i64::from(TIMEOUT_MS)).await;
    assert_eq!(world.state(ID), TransactionState::Ongoing);
    world.disk.make_space();
    world.pass(RETRY_MS - 1).await;
    assert_eq!(world.state(ID), TransactionState::Ongoing, "not at once");
    world.pass(1).await;
    assert_eq!(world.state(ID), TransactionState::CompleteAbort);
    assert!(!world.hangs(0));
}
