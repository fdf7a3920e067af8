//! What a power loss may do to the files beside the log, and must not.

use super::*;

/// Forty records, with timestamps 0, 100, 200, ...
fn filled(rig: &Rig) -> Arc<Partition> {
    let partition = rig.open(Shutdown::Clean);
    for at in 0..40 {
        append(&partition, &batch_at(1, &[7; 80], at * 100)).unwrap();
    }
    partition
}

/// Names of the index files of sealed segments.
fn sealed_indexes(rig: &Rig) -> Vec<PathBuf> {
    let names = rig.disk.list(Path::new(DIRECTORY)).unwrap();
    let with = |extension: &str| {
        let mut found: Vec<_> = names
            .iter()
            .filter(|name| name.ends_with(extension))
            .collect();
        found.sort_unstable();
        found
    };
    let sealed = with(".log").len() - 1;
    let files = [".index", ".timeindex"].map(|extension| {
        let files = with(extension).into_iter().take(sealed);
        files.map(|name| rig.file(name)).collect::<Vec<_>>()
    });
    files.concat()
}

fn offset_at(partition: &Partition, timestamp: i64) -> Option<i64> {
    let found = partition.offset_for(OffsetQuery::Timestamp(timestamp));
    found.unwrap().map(|found| found.offset.0)
}

#[test]
fn a_short_index_of_a_sealed_segment_is_rebuilt() {
    for shutdown in [Shutdown::Clean, Shutdown::Unclean] {
        for lost in [12, 8, 1, usize::MAX] {
            let rig = Rig::new(small_segments());
            let partition = filled(&rig);
            rig.stop(&partition, false).unwrap();
            drop(partition);
            let files = sealed_indexes(&rig);
            assert!(files.len() > 6, "{files:?}");
            let read = || files.iter().map(|path| rig.disk.contents(path).unwrap());
            let whole: Vec<_> = read().collect();
            for path in &files {
                let file = rig.disk.open(path).unwrap();
                let length = usize::try_from(file.len().unwrap()).unwrap();
                assert!(length > 0, "{}", path.display());
                let left = length.saturating_sub(lost);
                file.truncate(u64::try_from(left).unwrap()).unwrap();
            }
            let partition = rig.open(shutdown);
            for at in 0..40 {
                let found = offset_at(&partition, at * 100 - 50);
                assert_eq!(found, Some(at), "{shutdown:?} {lost}");
            }
            assert_eq!(offset_at(&partition, 3901), None);
            let rebuilt: Vec<_> = read().collect();
            if shutdown == Shutdown::Clean {
                assert_eq!(rebuilt, whole, "{lost}");
            }
            drop(partition);
            let old = rig.topic.config.load_full();
            rig.topic.config.store(Arc::new(TopicConfig {
                retention_ms: 2000,
                ..(*old).clone()
            }));
            let partition = rig.open(shutdown);
            partition.keep_house(3900);
            let start = partition.offsets().log_start.0;
            assert!((10..=19).contains(&start), "{shutdown:?} {lost}: {start}");
        }
    }
}

#[test]
fn a_short_time_index_of_the_active_segment_is_not_believed() {
    for lost in [12, u64::MAX] {
        let rig = Rig::new(TopicConfig {
            index_interval_bytes: 200,
            ..TopicConfig::default()
        });
        rig.stop(&filled(&rig), false).unwrap();
        let path = rig.file("00000000000000000000.timeindex");
        let file = rig.disk.open(&path).unwrap();
        let left = file.len().unwrap().saturating_sub(lost);
        file.truncate(left).unwrap();
        let partition = rig.open(Shutdown::Clean);
        append(&partition, &batch_at(1, b"late", 5)).unwrap();
        for at in 0..40 {
            assert_eq!(offset_at(&partition, at * 100 - 50), Some(at), "{lost}");
        }
        let newest = partition.offset_for(OffsetQuery::MaxTimestamp).unwrap();
        assert_eq!(newest.map(|newest| newest.timestamp), Some(3900));
    }
}

#[test]
fn indexes_are_synced_when_their_segment_is() {
    for seed in 0..50 {
        let rig = Rig::new(small_segments());
        let partition = filled(&rig);
        partition.sync_now();
        let files = sealed_indexes(&rig);
        let read = || files.iter().map(|path| rig.disk.contents(path));
        let before: Vec<_> = read().collect();
        drop(partition);
        rig.disk.crash(seed);
        assert_eq!(read().collect::<Vec<_>>(), before, "seed {seed}");
    }
}

#[test]
fn an_orderly_stop_syncs_what_a_checkpoint_did_not() {
    for seed in 0..50 {
        let rig = Rig::new(small_segments());
        let partition = filled(&rig);
        let together = seed % 2 == 0;
        rig.keep_house(&partition, together);
        rig.stop(&partition, together).unwrap();
        drop(partition);
        let files = rig.disk.list(Path::new(DIRECTORY)).unwrap();
        let files = files.iter().filter(|name| !name.ends_with(".snapshot"));
        let files: Vec<_> = files.map(|name| rig.file(name)).collect();
        let read = || files.iter().map(|path| rig.disk.contents(path));
        let before: Vec<_> = read().collect();
        rig.disk.crash(seed);
        assert_eq!(read().collect::<Vec<_>>(), before, "seed {seed}");
    }
}

#[test]
fn a_leader_epoch_is_durable_with_the_first_records_of_it() {
    for seed in 0..50 {
        let rig = Rig::new(TopicConfig::default());
        let partition = filled(&rig);
        partition.sync_now();
        drop(partition);
        let partition = rig.reopen();
        append(&partition, &batch(1, b"v")).unwrap();
        partition.sync_now();
        drop(partition);
        let path = rig.file("leader-epoch-checkpoint");
        rig.disk.crash(seed);
        let text = rig.disk.contents(&path).unwrap();
        assert_eq!(text, b"0\n2\n0 0\n1 40\n", "seed {seed}");
    }
}

#[test]
fn house_keeping_leaves_the_log_start_durable() {
    for seed in 0..50 {
        let rig = Rig::new(TopicConfig::default());
        let partition = filled(&rig);
        partition.sync_now();
        partition.delete_records(Offset(17)).unwrap();
        append(&partition, &batch(1, b"v")).unwrap();
        partition.keep_house(0);
        drop(partition);
        rig.disk.crash(seed);
        assert_eq!(rig.reopen().offsets().log_start, Offset(17), "seed {seed}");
    }
}

#[test]
fn an_epoch_without_records_outlives_stops_and_kills() {
    for seed in 0..50 {
        let rig = Rig::new(TopicConfig::default());
        let partition = filled(&rig);
        partition.sync_now();
        drop(partition);
        drop(rig.reopen());
        let partition = rig.reopen();
        assert_eq!(partition.offsets().leader_epoch, LeaderEpoch(2));
        rig.stop(&partition, seed % 2 == 0).unwrap();
        drop(partition);
        rig.disk.crash(seed);
        let partition = rig.open(Shutdown::Clean);
        assert_eq!(partition.offsets().leader_epoch, LeaderEpoch(2));
        append(&partition, &batch(1, b"v")).unwrap();
        partition.sync_now();
        drop(partition);
        rig.disk.crash(seed + 1);
        let text = rig.disk.contents(&rig.file("leader-epoch-checkpoint"));
        assert_eq!(text.unwrap(), b"0\n2\n0 0\n2 40\n", "seed {seed}");
    }
}

#[test]
fn a_short_log_needs_no_indexes_and_no_snapshot() {
    for together in [true, false] {
        let rig = Rig::new(TopicConfig::default());
        let partition = rig.open(Shutdown::Clean);
        append(&partition, &batch_at(2, b"v", 7)).unwrap();
        rig.keep_house(&partition, together);
        rig.stop(&partition, together).unwrap();
        let mut names = rig.disk.list(Path::new(DIRECTORY)).unwrap();
        names.sort_unstable();
        let expected = [
            "00000000000000000000.log",
            "recovery-point-offset-checkpoint",
        ];
        assert_eq!(names, expected);
        let partition = rig.open(Shutdown::Clean);
        assert_eq!(offset_at(&partition, 8), Some(1));
        // What an idempotent producer did is remembered, whatever becomes of its records.
        append(&partition, &sequenced(0, 1)).unwrap();
        rig.stop(&partition, together).unwrap();
        let names = rig.disk.list(Path::new(DIRECTORY)).unwrap();
        assert!(
            names.iter().any(|name| name.ends_with(".snapshot")),
            "{names:?}"
        );
    }
}
