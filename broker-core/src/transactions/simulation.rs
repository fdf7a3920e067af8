//! Seeded schedules against coordinator, groups and partitions on a simulated disk: producers of both
//! versions that lose answers, ask twice, die and are succeeded; a broker that is killed, or loses
//! power, in the middle of anything.
//!
//! Checked: read-committed consumers see exactly the committed, with the offsets that belong to it; what
//! they saw stays where it is; they never see into a transaction that is open; a transaction whose end
//! nobody heard of counts as a whole or not at all; a fenced producer writes nothing; no transaction
//! hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::coordinator::{ClientVersion, Producer};
use super::life::{Life, PARTITIONS, read_committed_from};
use crate::broker::Durability;
use crate::error::ErrorCode;
use crate::records::TransactionResult;
use crate::storage::Storage;
use crate::storage::simulated::SimulatedStorage;

const SEEDS: u64 = 500;
const STEPS: u32 = 120;
const TIMEOUT_MS: i32 = 60_000;

/// Splitmix64: the same numbers for the same seed everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How far the end of a transaction is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Committed,
    Aborted,
    /// A commit was asked for and not heard of.
    Unknown,
}

/// What a producer did under one number.
#[derive(Debug)]
struct Attempt {
    /// Acknowledged values.
    values: Vec<String>,
    /// Values whose answer was an error or lost.
    perhaps: Vec<String>,
    offset: bool,
    end: End,
}

struct Client {
    id: String,
    version: ClientVersion,
    who: Option<Producer>,
    sequences: [i32; 3],
    open: Option<i64>,
    next: i64,
    attempts: BTreeMap<i64, Attempt>,
    /// Fenced for sure: incarnations that were succeeded.
    zombies: Vec<Producer>,
}

struct World {
    random: Random,
    disk: SimulatedStorage,
    durability: Durability,
    now: Arc<AtomicI64>,
    life: Option<Life>,
    clients: Vec<Client>,
    /// A read-committed consumer of each partition: what it saw, and where it is.
    consumers: Vec<(Vec<(i64, String)>, i64)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let disk = SimulatedStorage::default();
        disk.create_dir(Path::new("/data")).unwrap();
        let durability = if random.percent(50) {
            Durability::GroupFsync
        } else {
            Durability::Os
        };
        let now = Arc::new(AtomicI64::new(1_000_000));
        let life = Some(Life::open(&disk, durability, &now));
        let clients = (0..3)
            .map(|number| Client {
                id: format!("tx-{number}"),
                version: if random.percent(60) {
                    ClientVersion::Two
                } else {
                    ClientVersion::One
                },
                who: None,
                sequences: [0; 3],
                open: None,
                next: 0,
                attempts: BTreeMap::new(),
                zombies: Vec::new(),
            })
            .collect();
        Self {
            random,
            disk,
            durability,
            now,
            life,
            clients,
            consumers: (0..PARTITIONS).map(|_| (Vec::new(), 0)).collect(),
        }
    }

    fn life(&self) -> &Life {
        self.life.as_ref().unwrap()
    }

    async fn step(&mut self) {
        if self.random.percent(4) {
            // Dies within the next few steps, in the middle of one of them.
            let changes = usize::try_from(self.random.below(12)).unwrap();
            self.disk.stop_after(changes);
        }
        let index = usize::try_from(self.random.below(3)).unwrap();
        match self.random.below(20) {
            0 => {
                self.now
                    .fetch_add(i64::from(TIMEOUT_MS) / 2 + 1, Ordering::Relaxed);
                self.life().transactions.tick().await;
            }
            1 | 2 => self.zombie(index).await,
            3 => self.succeed(index).await,
            4..=12 => self.send(index).await,
            13 | 14 => self.commit_offset(index).await,
            _ => self.end(index).await,
        }
        if self.disk.is_stopped() {
            self.restart();
        }
        if self.random.percent(20) {
            self.consume();
        }
    }

    /// Every consumer goes on from where it is, and sees nothing of what was not to be committed.
    fn consume(&mut self) {
        for index in 0..PARTITIONS {
            let partition = self.life().partition(index);
            let (seen, at) = &mut self.consumers[usize::try_from(index).unwrap()];
            let (new, next) = read_committed_from(&partition, *at);
            for (offset, value) in &new {
                let (id, rest) = value.split_once('/').unwrap();
                let number: i64 = rest.split_once('/').unwrap().0.parse().unwrap();
                let client = self.clients.iter().find(|client| client.id == id).unwrap();
                let end = client.attempts[&number].end;
                assert_ne!(end, End::Aborted, "{value} at {offset}");
            }
            seen.extend(new);
            *at = next;
        }
    }

    fn restart(&mut self) {
        self.life = None;
        if self.durability == Durability::GroupFsync && self.random.percent(50) {
            let seed = self.random.below(u64::MAX);
            self.disk.crash(seed);
        } else {
            self.disk.revive();
        }
        self.life = Some(Life::open(&self.disk, self.durability, &self.now));
    }

    /// Another process begins under the same id.
    async fn succeed(&mut self, index: usize) {
        let id = self.clients[index].id.clone();
        for _ in 0..5 {
            let begun = self.life().transactions.init(&id, TIMEOUT_MS, None).await;
            if self.disk.is_stopped() {
                // The answer is lost with the broker.
                self.restart();
                continue;
            }
            match begun {
                Ok(who) => {
                    let client = &mut self.clients[index];
                    client.zombies.extend(client.who.replace(who));
                    client.sequences = [0; 3];
                    client.abandon();
                    return;
                }
                Err(error) => assert_eq!(error, ErrorCode::CONCURRENT_TRANSACTIONS),
            }
        }
    }

    /// A producer that was succeeded tries to write, and to end the transaction of its successor.
    async fn zombie(&mut self, index: usize) {
        let count = u64::try_from(self.clients[index].zombies.len()).unwrap();
        if count == 0 {
            return;
        }
        let at = usize::try_from(self.random.below(count)).unwrap();
        let client = &self.clients[index];
        let (id, version, who) = (client.id.clone(), client.version, client.zombies[at]);
        let sent = self
            .life()
            .produce(&id, (who, version), (0, 1_000), "zombie")
            .await;
        assert!(sent.is_err(), "a fenced producer wrote");
        let commit = TransactionResult::Commit;
        let ended = self
            .life()
            .transactions
            .end(&id, who, commit, version)
            .await;
        assert!(ended.is_err(), "a fenced producer committed: {ended:?}");
    }

    async fn send(&mut self, index: usize) {
        if self.clients[index].who.is_none() {
            return self.succeed(index).await;
        }
        let partition = usize::try_from(self.random.below(3)).unwrap();
        let client = &mut self.clients[index];
        let (id, version) = (client.id.clone(), client.version);
        let who = client.who.unwrap();
        let number = client.begin();
        let sequence = client.sequences[partition];
        let value = format!("{id}/{number}/{partition}/{sequence}");
        let place = i32::try_from(partition).unwrap();
        if version == ClientVersion::One {
            let places = [("t".to_owned(), place)];
            let transactions = Arc::clone(&self.life().transactions);
            if transactions
                .add_partitions(&id, who, &places, version)
                .await
                .is_err()
                || self.disk.is_stopped()
            {
                return self.fail(index);
            }
        }
        // The answer may be lost, and the request sent again: at most one of them counts.
        let again = self.random.percent(15);
        let producer = (who, version);
        let mut sent = self
            .life()
            .produce(&id, producer, (place, sequence), &value)
            .await;
        if again && !self.disk.is_stopped() {
            let retried = self
                .life()
                .produce(&id, producer, (place, sequence), &value)
                .await;
            assert!(self.disk.is_stopped() || sent.is_err() || retried.is_ok());
            sent = retried;
        }
        let heard = sent.is_ok() && !self.disk.is_stopped();
        let client = &mut self.clients[index];
        let attempt = client.attempts.get_mut(&number).unwrap();
        if heard {
            attempt.values.push(value);
            client.sequences[partition] += 1;
        } else {
            attempt.perhaps.push(value);
            self.fail(index);
        }
    }

    async fn commit_offset(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let (Some(who), Some(number)) = (client.who, client.open) else {
            return;
        };
        let (id, version) = (client.id.clone(), client.version);
        let committed = self.life().commit_offset(&id, (who, version), number).await;
        if committed.is_ok() && !self.disk.is_stopped() {
            let client = &mut self.clients[index];
            client.attempts.get_mut(&number).unwrap().offset = true;
        } else {
            self.fail(index);
        }
    }

    /// Ends the open transaction; asks again as long as nothing is heard.
    async fn end(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let (Some(who), Some(number)) = (client.who, client.open) else {
            return;
        };
        let (id, version) = (client.id.clone(), client.version);
        let result = if self.random.percent(70) {
            TransactionResult::Commit
        } else {
            TransactionResult::Abort
        };
        for _ in 0..4 {
            let transactions = Arc::clone(&self.life().transactions);
            let mut ended = transactions.end(&id, who, result, version).await;
            if self.random.percent(15) && !self.disk.is_stopped() {
                let first = ended;
                ended = transactions.end(&id, who, result, version).await;
                assert!(self.disk.is_stopped() || first.is_err() || first == ended);
            }
            drop(transactions);
            if self.disk.is_stopped() {
                self.clients[index].attempts.get_mut(&number).unwrap().end = match result {
                    TransactionResult::Commit => End::Unknown,
                    TransactionResult::Abort => End::Aborted,
                };
                self.restart();
                continue;
            }
            match ended {
                Ok(next) => {
                    let client = &mut self.clients[index];
                    let attempt = client.attempts.get_mut(&number).unwrap();
                    attempt.end = match result {
                        TransactionResult::Commit => End::Committed,
                        TransactionResult::Abort => End::Aborted,
                    };
                    if next != who {
                        client.sequences = [0; 3];
                    }
                    client.who = Some(next);
                    client.open = None;
                    return;
                }
                Err(ErrorCode::CONCURRENT_TRANSACTIONS | ErrorCode::COORDINATOR_NOT_AVAILABLE) => {}
                // Timed out meanwhile, for instance.
                Err(_) => break,
            }
        }
        self.fail(index);
    }

    /// Something went wrong for this producer: it dies. Whether a commit that it asked for counts is
    /// left open.
    fn fail(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.abandon();
        client.who = None;
    }

    /// No transaction hangs, and everybody sees what was committed.
    async fn check(&mut self, seed: u64) {
        self.disk.revive();
        if self.random.percent(50) {
            self.restart();
        }
        self.now
            .fetch_add(i64::from(TIMEOUT_MS) + 2_000, Ordering::Relaxed);
        self.life().transactions.tick().await;
        for (id, metadata) in self.life().transactions.list() {
            let state = metadata.state;
            assert!(
                !state.is_prepared() && metadata.partitions.is_empty(),
                "seed {seed}: {id} is {}",
                state.name()
            );
        }
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for index in 0..PARTITIONS {
            let partition = self.life().partition(index);
            let offsets = partition.offsets();
            assert_eq!(offsets.last_stable, offsets.log_end, "seed {seed}: hangs");
            let (values, _) = read_committed_from(&partition, 0);
            let (consumed, _) = &self.consumers[usize::try_from(index).unwrap()];
            assert!(values.starts_with(consumed), "seed {seed}: seen, and gone");
            for (_, value) in values {
                assert!(seen.insert(value.clone()), "seed {seed}: {value} twice");
            }
        }
        for client in &self.clients {
            let offset = self.life().committed_offset(&client.id).await;
            let mut last = None;
            for (number, attempt) in &client.attempts {
                let is_seen = |value: &String| seen.contains(value);
                let context = format!("seed {seed}: {} {number} {attempt:?}", client.id);
                let any = attempt.values.iter().chain(&attempt.perhaps).any(is_seen);
                let all = attempt.values.iter().all(is_seen);
                match attempt.end {
                    End::Committed => assert!(all, "{context} is not there"),
                    End::Aborted => assert!(!any, "{context} is there"),
                    End::Unknown => assert!(all || !any, "{context} is there in part"),
                }
                let counts = match attempt.end {
                    End::Committed => true,
                    End::Aborted => false,
                    End::Unknown if attempt.values.is_empty() => offset == Some(*number),
                    End::Unknown => any,
                };
                if counts && attempt.offset {
                    last = Some(*number);
                }
            }
            assert_eq!(offset, last, "seed {seed}: offset of {}", client.id);
        }
        assert!(!seen.contains("zombie"), "seed {seed}");
    }
}

impl Client {
    /// The number of the open transaction.
    fn begin(&mut self) -> i64 {
        if let Some(open) = self.open {
            return open;
        }
        let number = self.next;
        self.next += 1;
        self.open = Some(number);
        let attempt = Attempt {
            values: Vec::new(),
            perhaps: Vec::new(),
            offset: false,
            end: End::Aborted,
        };
        self.attempts.insert(number, attempt);
        number
    }

    /// What is open is never committed, unless that was asked for before.
    fn abandon(&mut self) {
        self.open = None;
    }
}

#[tokio::test]
async fn exactly_once_whatever_dies() {
    let mut committed = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step().await;
        }
        world.check(seed).await;
        committed += world
            .clients
            .iter()
            .flat_map(|client| client.attempts.values())
            .filter(|attempt| attempt.end == End::Committed)
            .count();
    }
    assert!(committed > 2_000, "{committed} transactions were committed");
}
