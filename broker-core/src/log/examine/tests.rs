//! A partition's directory with one thing wrong with it: what is found, and what is left after the
//! repair.

use std::sync::Arc;

use super::*;
use crate::ids::LeaderEpoch;
use crate::log::{Log, Shutdown, Start, TopicConfig};
use crate::records::{BatchBuilder, Compression, assign_offsets};
use crate::storage::simulated::SimulatedStorage;

const DIRECTORY: &str = "/data/topics/t-0";
const KEEP: &str = "/data/doctor";

fn start(shutdown: Shutdown) -> Start {
    Start {
        shutdown,
        epoch_floor: LeaderEpoch(1),
        now_ms: 0,
    }
}

/// Twenty batches of two records in segments of about five, all synced and saved.
fn healthy() -> SimulatedStorage {
    let disk = SimulatedStorage::default();
    disk.create_dir(Path::new(DIRECTORY)).unwrap();
    let config = TopicConfig {
        segment_bytes: 1000,
        index_interval_bytes: 200,
        ..TopicConfig::default()
    };
    let storage = Arc::new(disk.clone());
    let mut log = Log::open(
        storage,
        PathBuf::from(DIRECTORY),
        &config,
        start(Shutdown::Clean),
    )
    .unwrap();
    for at in 0..20 {
        let mut batch = BatchBuilder::new(Compression::None, 1_000 + at);
        batch.append(1_000 + at, None, Some(&[7; 60]), &[]);
        batch.append(1_000 + at, None, Some(&[8; 60]), &[]);
        let mut bytes = batch.build();
        assign_offsets(&mut bytes, log.log_end(), log.leader_epoch());
        let header = BatchHeader::parse(&bytes).unwrap();
        log.append(&bytes, &header, &config, 0).unwrap();
    }
    for file in log.take_unsynced().files {
        file.sync(&disk).unwrap();
    }
    log.synced(log.log_end());
    log.save_durably();
    disk
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn log_files(disk: &SimulatedStorage) -> Vec<PathBuf> {
    let mut names = disk.list(Path::new(DIRECTORY)).unwrap();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    names.iter().map(|name| path(name)).collect()
}

fn look(disk: &SimulatedStorage) -> Examined {
    examine(disk, Path::new(DIRECTORY)).unwrap()
}

fn write(disk: &SimulatedStorage, path: &Path, bytes: &[u8], position: u64) {
    let file = disk.open(path).or_else(|_| disk.create(path)).unwrap();
    file.write_at(bytes, position).unwrap();
}

fn length(disk: &SimulatedStorage, path: &Path) -> u64 {
    disk.open(path).unwrap().len().unwrap()
}

#[test]
fn a_healthy_directory_has_no_findings() {
    let disk = healthy();
    let examined = look(&disk);
    assert_eq!(examined.findings, []);
    assert_eq!(examined.batches, 20);
    assert_eq!(examined.offsets, Some((Offset(0), Offset(40))));
    assert!(log_files(&disk).len() > 2, "more than one segment");
}

#[test]
fn every_kind_of_damage_is_found_and_repaired_where_it_can_be() {
    type Damage = fn(&SimulatedStorage);
    // Damage, words of the finding, whether it can be repaired.
    let cases: [(&str, Damage, &str, bool); 10] = [
        (
            "bytes after the end",
            |disk| {
                let last = log_files(disk).pop().unwrap();
                write(disk, &last, &[9; 30], length(disk, &last));
            },
            "bytes follow",
            true,
        ),
        (
            "a flipped byte in what was synced",
            |disk| write(disk, &log_files(disk)[1], &[0xff], 100),
            "crc of the batch",
            false,
        ),
        (
            "a missing segment",
            |disk| {
                let gone = log_files(disk).remove(1);
                for extension in ["log", "index", "timeindex"] {
                    disk.remove(&gone.with_extension(extension)).unwrap();
                }
            },
            "the next segment begins",
            false,
        ),
        (
            "a sealed segment without index",
            |disk| disk.remove(&path("00000000000000000000.index")).unwrap(),
            "is missing",
            true,
        ),
        (
            "an index that points between batches",
            |disk| {
                let index = path("00000000000000000000.index");
                write(disk, &index, &[0, 0, 0, 1, 0, 0, 0, 7], 0);
            },
            "where no such batch is",
            true,
        ),
        (
            "a time index that ends early",
            |disk| {
                let times = path("00000000000000000000.timeindex");
                disk.open(&times).unwrap().truncate(0).unwrap();
            },
            "ends at timestamp -1",
            true,
        ),
        (
            "a torn snapshot",
            |disk| {
                let snapshot = path("00000000000000000040.snapshot");
                disk.open(&snapshot).unwrap().truncate(9).unwrap();
            },
            "not a whole producer snapshot",
            true,
        ),
        (
            "a checkpoint of another form",
            |disk| write(disk, &path(checkpoint::EPOCHS), b"what", 0),
            "is not of its form",
            true,
        ),
        (
            "records that were synced and are gone",
            |disk| {
                let last = log_files(disk).pop().unwrap();
                disk.open(&last).unwrap().truncate(0).unwrap();
                disk.remove(&last.with_extension("index")).unwrap();
                disk.remove(&last.with_extension("timeindex")).unwrap();
                disk.remove(&path("00000000000000000040.snapshot")).unwrap();
            },
            "were synced, and the log ends at",
            false,
        ),
        (
            "a file of nobody",
            |disk| write(disk, &path("notes.txt"), b"hello", 0),
            "belongs to nothing here",
            true,
        ),
    ];
    for (case, damage, words, repairable) in cases {
        let disk = healthy();
        damage(&disk);
        let findings = look(&disk).findings;
        assert_eq!(findings.len(), 1, "{case}: {findings:?}");
        let finding = &findings[0];
        assert!(finding.what.contains(words), "{case}: {finding:?}");
        assert_eq!(finding.repair.is_some(), repairable, "{case}: {finding:?}");
        repair(&disk, finding, Path::new(KEEP)).unwrap();
        let left = look(&disk).findings.len();
        assert_eq!(left, usize::from(!repairable), "{case}");
    }
}

#[test]
fn what_is_cut_is_kept() {
    let disk = healthy();
    let last = log_files(&disk).pop().unwrap();
    let end = length(&disk, &last);
    write(&disk, &last, &[9; 30], end);
    let finding = look(&disk).findings.remove(0);
    assert_eq!(finding.repair, Some(Repair::Cut { position: end }));
    repair(&disk, &finding, Path::new(KEEP)).unwrap();
    assert_eq!(length(&disk, &last), end);
    let name = last.file_name().unwrap().to_string_lossy().into_owned();
    let kept = Path::new(KEEP)
        .join("t-0")
        .join(format!("{name}.from-{end}"));
    assert_eq!(disk.contents(&kept), Some(vec![9; 30]));
}

#[test]
fn damage_that_was_never_synced_is_a_torn_end() {
    let disk = healthy();
    // As after a kill: what the last checkpoint says was synced is less than there is.
    let last = log_files(&disk).pop().unwrap();
    disk.remove(&path(checkpoint::RECOVERY_POINT)).unwrap();
    write(&disk, &last, &[0xff], 100);
    let findings = look(&disk).findings;
    let repair = findings.iter().find_map(|finding| finding.repair.clone());
    assert_eq!(repair, Some(Repair::Cut { position: 0 }), "{findings:?}");
}
