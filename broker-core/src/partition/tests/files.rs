//! Many partitions on a real disk: how many files are open.

use super::*;
use crate::storage::disk::Disk;

const PARTITIONS: usize = 200;
const OPEN_MAX: usize = 16;
/// Readers do not wait: as many again while those before are synced; and what the sync threads hold.
const OPEN_MAX_EVER: usize = 2 * OPEN_MAX + 10;

/// Open files of this process below `directory`.
fn open_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets
        .filter(|target| target.starts_with(directory))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_share_a_few_open_files() {
    let data = tempfile::tempdir().unwrap();
    let rig = Rig::new(TopicConfig::default());
    let syncer = Syncer::start().unwrap();
    let context =
        PartitionContext::new(Arc::new(Disk), Arc::clone(&syncer), Durability::GroupFsync);
    let context = Arc::new(PartitionContext {
        files: OpenFiles::new(OPEN_MAX),
        ..context
    });
    let start = Start {
        shutdown: Shutdown::Clean,
        epoch_floor: LeaderEpoch(0),
        now_ms: 0,
    };
    let partitions: Vec<_> = (0_i32..)
        .take(PARTITIONS)
        .map(|index| {
            let directory = data.path().join(format!("orders-{index}"));
            std::fs::create_dir(&directory).unwrap();
            Partition::open(
                &context,
                &rig.topic,
                PartitionIndex(index),
                directory,
                start,
            )
        })
        .collect();
    assert_eq!(open_below(data.path()), 0, "opening them leaves none open");
    // Written to and not synced, which is when a file may not simply be closed.
    for round in 0..3 {
        for partition in &partitions {
            partition.make_room().await;
            append(partition, &batch(1, &[round; 10])).unwrap();
            let open = open_below(data.path());
            assert!(open <= OPEN_MAX_EVER, "{open} files are open");
        }
    }
    for partition in &partitions {
        partition.sync_now();
        partition.state.lock().tail.shrink(0);
        assert_eq!(check_whole(partition), 3);
        let open = open_below(data.path());
        assert!(open <= OPEN_MAX_EVER, "{open} files are open");
    }
    context.close(&partitions, data.path()).unwrap();
    syncer.stop();
}
