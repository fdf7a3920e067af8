//! A partition's life: appended to, stopped, killed, opened again, with and without power losses.

use super::*;

/// One step of a partition's life.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append(i32, usize),
    Sync,
    /// Whether as one of many partitions.
    KeepHouse(bool),
    /// A process dies; the page cache stays.
    Kill,
    /// The power fails.
    PowerLoss(u64),
    /// Whether as one of many partitions.
    Stop(bool),
    DeleteBefore(i64),
    DiskFull,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1..5, 0_usize..200).prop_map(|(count, size)| Step::Append(count, size)),
        3 => Just(Step::Sync),
        1 => any::<bool>().prop_map(Step::KeepHouse),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::PowerLoss),
        1 => any::<bool>().prop_map(Step::Stop),
        1 => (0_i64..60).prop_map(Step::DeleteBefore),
        1 => Just(Step::DiskFull),
    ]
}

/// Lives a partition through `steps` and checks after each: what was durable is there, offsets
/// are contiguous, nothing is partial, deleted records stay deleted, epochs never fall.
fn live(steps: &[Step]) {
    let rig = Rig::new(small_segments());
    let mut partition = rig.open(Shutdown::Clean);
    // The directory itself is made durable by whoever creates the topic.
    rig.disk.sync_dir(Path::new(DIRECTORY)).unwrap();
    let (mut durable, mut log_start, mut epoch) = (0, 0, 0);
    for step in steps {
        match *step {
            Step::Append(count, size) => {
                let before = partition.offsets().log_end;
                let appended = append(&partition, &batch(count, &vec![1; size])).unwrap();
                assert_eq!(appended.base_offset, before);
            }
            Step::Sync => {
                partition.sync_now();
                durable = *partition.durable.borrow();
                assert_eq!(durable, partition.offsets().log_end.0);
            }
            Step::KeepHouse(together) => {
                rig.keep_house(&partition, together);
                durable = *partition.durable.borrow();
            }
            Step::Kill => {
                let end = partition.offsets().log_end;
                drop(partition);
                partition = rig.reopen();
                assert_eq!(partition.offsets().log_end, end);
            }
            Step::PowerLoss(seed) => {
                drop(partition);
                rig.disk.crash(seed);
                partition = rig.reopen();
            }
            Step::Stop(together) => {
                rig.stop(&partition, together).unwrap();
                durable = partition.offsets().log_end.0;
                drop(partition);
                partition = rig.open(Shutdown::Clean);
                assert_eq!(partition.offsets().log_end.0, durable);
            }
            Step::DeleteBefore(offset) => {
                if let Ok(start) = partition.delete_records(Offset(offset)) {
                    log_start = start.0;
                }
            }
            Step::DiskFull => {
                rig.disk.inject(Fault::DiskFull);
                let end = partition.offsets().log_end;
                // An index that could not be saved at a roll refuses nobody.
                let appended = append(&partition, &batch(1, b"v")).is_ok();
                assert_eq!(partition.offsets().log_end.0, end.0 + i64::from(appended));
            }
        }
        let offsets = partition.offsets();
        assert_eq!(partition.offline_reason(), None);
        assert!(
            offsets.log_end.0 >= durable,
            "durable {durable} lost: {offsets:?}"
        );
        assert!(
            offsets.log_start.0 >= log_start,
            "{offsets:?} below {log_start}"
        );
        assert!(
            offsets.leader_epoch.0 >= epoch,
            "epoch {epoch} fell: {offsets:?}"
        );
        epoch = offsets.leader_epoch.0;
        check_whole(&partition);
        partition.state.lock().tail.shrink(0);
        check_whole(&partition);
    }
}

#[test]
fn lives_that_once_ended_badly() {
    use Step::{Append, DeleteBefore, DiskFull, KeepHouse, Kill, PowerLoss, Stop, Sync};
    for seed in 0..200 {
        let lost = PowerLoss(seed);
        let together = seed % 2 == 0;
        let (keep_house, stop) = (KeepHouse(together), Stop(together));
        for steps in [
            // The bump of the epoch was not durable.
            &[Append(1, 0), Sync, Kill, Kill, lost][..],
            // A checkpoint that was not synced replaced the durable log start.
            &[
                Append(3, 40),
                Append(4, 0),
                stop,
                Append(4, 154),
                Append(4, 111),
                Kill,
                DeleteBefore(12),
                keep_house,
                lost,
            ],
            // The cut that undid a refused write was not synced with the segment.
            &[
                Append(1, 182),
                Sync,
                DiskFull,
                Append(4, 163),
                keep_house,
                lost,
            ],
            &[
                Append(2, 141),
                Append(1, 189),
                Append(4, 71),
                Append(2, 98),
                stop,
                DiskFull,
                Append(2, 133),
                lost,
                keep_house,
                Append(4, 161),
                PowerLoss(seed + 1),
            ],
            // Removed segments came back, and not all of them.
            &[
                Append(3, 115),
                Append(2, 90),
                Append(1, 156),
                Append(2, 144),
                Append(3, 157),
                Sync,
                DeleteBefore(10),
                lost,
            ],
            // The whole log was lost, and the epoch with it.
            &[Append(2, 0), DeleteBefore(1), lost, PowerLoss(seed + 1)],
        ] {
            live(steps);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_durable_is_ever_lost(steps in proptest::collection::vec(step(), 1..60)) {
        live(&steps);
    }
}
