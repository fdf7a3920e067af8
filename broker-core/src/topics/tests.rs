//! The catalogue on a simulated disk: changes, restarts, crashes at any moment.

use std::path::Path;
use std::sync::atomic::AtomicI64;

use bytes::BytesMut;

use super::*;
use crate::broker::Durability;
use crate::log::Shutdown;
use crate::records::{BatchBuilder, BatchHeader, Compression};
use crate::storage::Storage;
use crate::storage::simulated::{Fault, SimulatedStorage};
use crate::validation::NoValidation;

fn open(disk: &SimulatedStorage, shutdown: Shutdown) -> Result<Arc<Topics>, String> {
    let options = TopicsOptions {
        storage: Arc::new(disk.clone()),
        data_dir: PathBuf::from("/data"),
        shutdown,
        durability: Durability::Os,
        default_partitions: 2,
        topic_defaults: BTreeMap::new(),
        clock: Clock::Manual(Arc::new(AtomicI64::new(1))),
        validator: Arc::new(NoValidation),
    };
    Topics::open_with(options, Arc::default())
}

fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: -1,
        configs: BTreeMap::new(),
        internal: false,
    }
}

fn append(topic: &Topic, partition: i32) {
    let mut batch = BatchBuilder::new(Compression::None, 0);
    batch.append(0, None, Some(b"v"), &[]);
    let batch = batch.build();
    let header = BatchHeader::parse(&batch).unwrap();
    let partition = topic.partition(PartitionIndex(partition)).unwrap();
    partition
        .append(BytesMut::from(&batch[..]), &header, 0, &|| true)
        .unwrap();
}

/// `name partitions` of every topic.
fn listing(topics: &Topics) -> Vec<String> {
    let topics = topics.list();
    let lines = topics
        .iter()
        .map(|topic| format!("{} {}", topic.name, topic.partitions().len()));
    lines.collect()
}

#[test]
fn changes_survive_a_power_loss() {
    for seed in 0..50 {
        let disk = SimulatedStorage::default();
        disk.create_dir(Path::new("/data")).unwrap();
        let topics = open(&disk, Shutdown::Unclean).unwrap();
        let orders = topics.create(&new_topic("orders", 3), false).unwrap();
        topics.create(&new_topic("gone", 1), false).unwrap();
        topics.create(&new_topic("default", -1), false).unwrap();
        topics.add_partitions("orders", 5, false).unwrap();
        let set = ("retention.ms".to_owned(), ConfigOp::Set("77".to_owned()));
        topics
            .change_configs("orders", &ConfigChange::Alter(vec![set]), false)
            .unwrap();
        topics.delete("gone").unwrap();
        assert_eq!(topics.reserve_producer_ids(1000), Ok(0));
        drop(topics);
        disk.crash(seed);
        let topics = open(&disk, Shutdown::Unclean).unwrap();
        assert_eq!(listing(&topics), ["default 2", "orders 5"], "seed {seed}");
        assert_eq!(topics.reserve_producer_ids(1000), Ok(1000));
        let found = topics.get("orders").unwrap();
        assert_eq!(found.id, orders.id);
        assert_eq!(found.config().retention_ms, 77);
        assert_eq!(
            topics.get_by_id(orders.id).map(|topic| topic.name.clone()),
            Some(found.name.clone())
        );
        for partition in found.partitions().iter() {
            assert_eq!(partition.offline_reason(), None);
        }
        append(&found, 4);
        let mut names = disk.list(Path::new("/data/topics")).unwrap();
        names.retain(|name| !name.starts_with("orders-") && !name.starts_with("default-"));
        assert_eq!(names, [] as [&str; 0], "half-deleted topics are cleared");
    }
}

#[tokio::test]
async fn a_real_disk_keeps_what_was_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let open = |shutdown| {
        Topics::open(TopicsOptions {
            storage: Arc::new(crate::storage::disk::Disk),
            data_dir: data.path().to_owned(),
            shutdown,
            durability: Durability::GroupFsync,
            default_partitions: 1,
            topic_defaults: BTreeMap::new(),
            clock: Clock::System,
            validator: Arc::new(NoValidation),
        })
        .unwrap()
    };
    let topics = open(Shutdown::Unclean);
    let topic = topics.create(&new_topic("orders", 20), false).unwrap();
    for partition in 0..20 {
        append(&topic, partition);
    }
    for partition in topic.partitions().iter() {
        partition.durable(crate::ids::Offset(0)).await.unwrap();
    }
    topics.keep_house(&|| false);
    append(&topic, 3);
    for (shutdown, epoch) in [
        (Shutdown::Unclean, 1),
        (Shutdown::Clean, 1),
        (Shutdown::Unclean, 2),
    ] {
        let topics = open(shutdown);
        let topic = topics.get("orders").unwrap();
        assert_eq!(topic.partitions().len(), 20);
        for partition in topic.partitions().iter() {
            let offsets = partition.offsets();
            let expected = if partition.index().0 == 3 { 2 } else { 1 };
            assert_eq!(
                (offsets.log_end.0, offsets.leader_epoch.0),
                (expected, epoch)
            );
        }
        topics.close().unwrap();
    }
}

#[test]
fn illegal_changes_are_refused_with_their_codes() {
    let disk = SimulatedStorage::default();
    let topics = open(&disk, Shutdown::Unclean).unwrap();
    topics.create(&new_topic("orders", 2), false).unwrap();
    topics.create(&new_topic("a.b", 1), false).unwrap();
    let with = |name: &str, value: &str| NewTopic {
        configs: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..new_topic("t", 1)
    };
    let replicated = NewTopic {
        replication_factor: 3,
        ..new_topic("t", 1)
    };
    for (case, topic, code) in [
        (
            "taken",
            new_topic("orders", 1),
            ErrorCode::TOPIC_ALREADY_EXISTS,
        ),
        (
            "illegal name",
            new_topic("a b", 1),
            ErrorCode::INVALID_TOPIC_EXCEPTION,
        ),
        (
            "colliding name",
            new_topic("a_b", 1),
            ErrorCode::INVALID_TOPIC_EXCEPTION,
        ),
        (
            "no partition",
            new_topic("t", 0),
            ErrorCode::INVALID_PARTITIONS,
        ),
        (
            "too many partitions",
            new_topic("t", 10_000),
            ErrorCode::INVALID_PARTITIONS,
        ),
        (
            "replicas",
            replicated,
            ErrorCode::INVALID_REPLICATION_FACTOR,
        ),
        (
            "unknown config",
            with("nonsense", "1"),
            ErrorCode::INVALID_CONFIG,
        ),
        (
            "illegal config",
            with("retention.ms", "x"),
            ErrorCode::INVALID_CONFIG,
        ),
    ] {
        for validate_only in [true, false] {
            let refused = topics.create(&topic, validate_only).unwrap_err();
            assert_eq!(refused.code, code, "{case}: {refused}");
        }
    }
    let fewer = topics.add_partitions("orders", 2, false).unwrap_err();
    assert_eq!(fewer.code, ErrorCode::INVALID_PARTITIONS);
    for unknown in [
        topics.delete("none"),
        topics.add_partitions("none", 5, false),
        topics.change_configs("none", &ConfigChange::Replace(BTreeMap::new()), false),
        topics.describe_configs("none").map(drop),
    ] {
        assert_eq!(
            unknown.unwrap_err().code,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        );
    }
    assert_eq!(listing(&topics), ["a.b 1", "orders 2"]);
}

#[test]
fn validate_only_changes_nothing() {
    let disk = SimulatedStorage::default();
    let topics = open(&disk, Shutdown::Unclean).unwrap();
    let planned = topics.create(&new_topic("orders", 3), true).unwrap();
    assert_eq!(planned.partitions().len(), 3);
    assert_eq!(listing(&topics), [] as [&str; 0]);
    assert_eq!(
        disk.list(Path::new("/data/topics")).unwrap(),
        [] as [&str; 0]
    );
    topics.create(&new_topic("orders", 3), false).unwrap();
    topics.add_partitions("orders", 9, true).unwrap();
    let set = ("retention.ms".to_owned(), ConfigOp::Set("77".to_owned()));
    topics
        .change_configs("orders", &ConfigChange::Alter(vec![set]), true)
        .unwrap();
    assert_eq!(listing(&topics), ["orders 3"]);
    assert_eq!(
        topics.get("orders").unwrap().config().retention_ms,
        604_800_000
    );
}

#[test]
fn a_topic_created_again_is_another_one_and_empty() {
    let disk = SimulatedStorage::default();
    let topics = open(&disk, Shutdown::Unclean).unwrap();
    let first = topics.create(&new_topic("orders", 1), false).unwrap();
    append(&first, 0);
    let old = first.partition(PartitionIndex(0)).unwrap();
    topics.delete("orders").unwrap();
    assert_eq!(old.offline_reason(), Some("the topic is deleted"));
    let second = topics.create(&new_topic("orders", 1), false).unwrap();
    assert_ne!(first.id, second.id);
    let partition = second.partition(PartitionIndex(0)).unwrap();
    assert_eq!(partition.offsets().log_end.0, 0);
    append(&second, 0);
    topics.close().unwrap();
    let topics = open(&disk, Shutdown::Clean).unwrap();
    let partition = topics
        .get("orders")
        .unwrap()
        .partition(PartitionIndex(0))
        .unwrap();
    assert_eq!(partition.offsets().log_end.0, 1);
}

#[test]
fn a_change_that_is_not_durable_does_not_count() {
    let disk = SimulatedStorage::default();
    let topics = open(&disk, Shutdown::Unclean).unwrap();
    topics.create(&new_topic("orders", 1), false).unwrap();
    disk.inject(Fault::SyncError);
    let refused = topics.create(&new_topic("other", 1), false).unwrap_err();
    assert_eq!(refused.code, ErrorCode::KAFKA_STORAGE_ERROR);
    assert_eq!(listing(&topics), ["orders 1"]);
    // The metadata log is offline for good; what there is goes on working.
    assert!(topics.create(&new_topic("third", 1), false).is_err());
    append(&topics.get("orders").unwrap(), 0);
}

#[test]
fn a_lost_metadata_log_is_not_taken_for_a_new_start() {
    let disk = SimulatedStorage::default();
    let topics = open(&disk, Shutdown::Unclean).unwrap();
    topics.create(&new_topic("orders", 1), false).unwrap();
    drop(topics);
    disk.remove(Path::new("/data/meta")).unwrap();
    let refused = open(&disk, Shutdown::Unclean).unwrap_err();
    assert!(refused.contains("metadata log"), "{refused}");
    assert_eq!(disk.list(Path::new("/data/topics")).unwrap(), ["orders-0"]);
}

#[test]
fn a_damaged_metadata_log_is_refused_and_a_torn_one_cut() {
    let disk = SimulatedStorage::default();
    let topics = open(&disk, Shutdown::Unclean).unwrap();
    topics.create(&new_topic("orders", 1), false).unwrap();
    topics.create(&new_topic("other", 1), false).unwrap();
    drop(topics);
    let path = Path::new("/data/meta/00000000000000000000.log");
    let file = disk.open(path).unwrap();
    file.truncate(file.len().unwrap() - 1).unwrap();
    let topics = open(&disk, Shutdown::Clean).unwrap();
    assert_eq!(listing(&topics), ["orders 1"]);
    topics.create(&new_topic("third", 1), false).unwrap();
    drop(topics);
    file.write_at(b"?", 100).unwrap();
    let refused = open(&disk, Shutdown::Clean).unwrap_err();
    assert!(refused.contains("damaged"), "{refused}");
}

#[test]
fn a_long_metadata_log_is_compacted_at_the_start() {
    let disk = SimulatedStorage::default();
    let topics = open(&disk, Shutdown::Unclean).unwrap();
    topics.create(&new_topic("orders", 1), false).unwrap();
    for _ in 0..1100 {
        topics.reserve_producer_ids(1000).unwrap();
    }
    drop(topics);
    let meta = Path::new("/data/meta");
    let size = || -> u64 {
        let names = disk.list(meta).unwrap();
        let sizes = names
            .iter()
            .map(|name| disk.open(&meta.join(name)).unwrap().len().unwrap());
        sizes.sum()
    };
    let before = size();
    for seed in 0..3 {
        let topics = open(&disk, Shutdown::Clean).unwrap();
        assert!(size() < before / 100);
        assert_eq!(listing(&topics), ["orders 1"]);
        drop(topics);
        disk.crash(seed);
    }
    let topics = open(&disk, Shutdown::Clean).unwrap();
    assert_eq!(topics.reserve_producer_ids(1), Ok(1_100_000));
}
