//! Transcripts: `request => reply | state epoch`. `p1e0` is producer id 1 with epoch 0; fresh producer
//! ids are 1, 2, 3 ... in the order they are needed. Every record goes through its bytes, as it would
//! at a restart.

use super::*;
use crate::transactions::record::{decode_value, encode_value};

const TIMEOUT_MS: i32 = 60_000;

#[derive(Default)]
struct Script {
    transaction: Transaction,
    now_ms: i64,
    allotted: i64,
}

impl Script {
    fn run(lines: &str) {
        let mut script = Self::default();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (step, expected) = line.split_once("=>").unwrap();
            let found = script.step(step.trim());
            assert_eq!(found, expected.trim(), "{line}\nin:\n{lines}");
        }
    }

    fn step(&mut self, step: &str) -> String {
        let mut words = step.split_whitespace();
        let word = words.next().unwrap();
        let words: Vec<&str> = words.collect();
        let producer = words.first().and_then(|text| producer(text));
        let version = if words.contains(&"v2") {
            ClientVersion::Two
        } else {
            ClientVersion::One
        };
        let partitions: Vec<TopicPartition> = words
            .iter()
            .filter_map(|text| Some(("t".to_owned(), text.strip_prefix("t-")?.parse().ok()?)))
            .collect();
        let reply = match word {
            "init" => {
                let fresh = self.fresh();
                let effects =
                    self.transaction
                        .handle_init(self.now_ms, TIMEOUT_MS, producer, fresh);
                self.settle(effects, shown)
            }
            "add" => {
                let producer = producer.unwrap();
                let effects =
                    self.transaction
                        .handle_add(self.now_ms, producer, &partitions, version);
                self.settle(effects, |()| "ok".to_owned())
            }
            "commit" | "abort" => {
                let result = if word == "commit" {
                    TransactionResult::Commit
                } else {
                    TransactionResult::Abort
                };
                let fresh = self.fresh();
                let effects = self.transaction.handle_end(
                    self.now_ms,
                    producer.unwrap(),
                    result,
                    version,
                    fresh,
                );
                self.settle(effects, shown)
            }
            "check" => match self
                .transaction
                .check_partition(producer.unwrap(), &partitions[0])
            {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.name().to_owned(),
            },
            "markers" => {
                let markers = self.transaction.markers();
                let record = self.transaction.handle_markers_written(self.now_ms);
                if let Some(record) = record {
                    self.apply(record);
                }
                markers.map_or_else(
                    || "none".to_owned(),
                    |markers| {
                        let partitions: Vec<String> = markers
                            .partitions
                            .iter()
                            .map(|(topic, index)| format!("{topic}-{index}"))
                            .collect();
                        format!(
                            "{:?} {} [{}]",
                            markers.result,
                            shown(markers.producer),
                            partitions.join(" ")
                        )
                    },
                )
            }
            "pass" => {
                self.now_ms += words[0].parse::<i64>().unwrap();
                match self.transaction.handle_timeout(self.now_ms) {
                    Some(record) => {
                        self.apply(record);
                        "timed out".to_owned()
                    }
                    None => "nothing".to_owned(),
                }
            }
            // As if all earlier epochs had been used.
            "epoch" => {
                let mut record = self.transaction.metadata().unwrap().clone();
                record.epoch = ProducerEpoch(words[0].parse().unwrap());
                self.transaction = Transaction::default();
                self.apply(record);
                "ok".to_owned()
            }
            other => panic!("unknown step {other}"),
        };
        let state = self.transaction.metadata().map_or_else(
            || "-".to_owned(),
            |now| format!("{} {}", now.state.name(), shown(now.producer())),
        );
        format!("{reply} | {state}")
    }

    fn fresh(&self) -> Option<ProducerId> {
        self.transaction
            .may_need_producer_id()
            .then_some(ProducerId(self.allotted + 1))
    }

    fn settle<R>(&mut self, effects: Effects<R>, show: impl FnOnce(R) -> String) -> String {
        if let Some(record) = effects.record {
            self.apply(record);
        }
        match effects.reply {
            Ok(reply) => show(reply),
            Err(error) => error.name().to_owned(),
        }
    }

    fn apply(&mut self, record: TransactionMetadata) {
        for id in [record.producer_id, record.next_producer_id] {
            self.allotted = self.allotted.max(id.0);
        }
        let restored = decode_value(&encode_value(&record)).unwrap();
        assert_eq!(restored, record);
        self.transaction.apply(restored);
    }
}

fn shown(producer: Producer) -> String {
    format!("p{}e{}", producer.id, producer.epoch)
}

fn producer(text: &str) -> Option<Producer> {
    let (id, epoch) = text.strip_prefix('p')?.split_once('e')?;
    Some(Producer {
        id: ProducerId(id.parse().ok()?),
        epoch: ProducerEpoch(epoch.parse().ok()?),
    })
}

#[test]
fn a_client_of_version_1_keeps_its_epoch() {
    Script::run(
        "init => p1e0 | Empty p1e0
         check p1e0 t-0 => INVALID_TXN_STATE | Empty p1e0
         add p1e0 t-0 t-1 => ok | Ongoing p1e0
         add p1e0 t-2 => ok | Ongoing p1e0
         check p1e0 t-0 => ok | Ongoing p1e0
         check p1e0 t-3 => INVALID_TXN_STATE | Ongoing p1e0
         commit p1e0 => p1e0 | PrepareCommit p1e0
         check p1e0 t-0 => CONCURRENT_TRANSACTIONS | PrepareCommit p1e0
         add p1e0 t-3 => CONCURRENT_TRANSACTIONS | PrepareCommit p1e0
         init => CONCURRENT_TRANSACTIONS | PrepareCommit p1e0
         commit p1e0 => CONCURRENT_TRANSACTIONS | PrepareCommit p1e0
         abort p1e0 => INVALID_TXN_STATE | PrepareCommit p1e0
         pass 99999999 => nothing | PrepareCommit p1e0
         markers => Commit p1e0 [t-0 t-1 t-2] | CompleteCommit p1e0
         markers => none | CompleteCommit p1e0
         commit p1e0 => p1e0 | CompleteCommit p1e0
         abort p1e0 => INVALID_TXN_STATE | CompleteCommit p1e0
         check p1e0 t-0 => INVALID_TXN_STATE | CompleteCommit p1e0
         add p1e0 t-5 => ok | Ongoing p1e0
         check p1e0 t-0 => INVALID_TXN_STATE | Ongoing p1e0
         abort p1e0 => p1e0 | PrepareAbort p1e0
         commit p1e0 => INVALID_TXN_STATE | PrepareAbort p1e0
         markers => Abort p1e0 [t-5] | CompleteAbort p1e0
         abort p1e0 => p1e0 | CompleteAbort p1e0
         commit p1e0 => INVALID_TXN_STATE | CompleteAbort p1e0",
    );
}

#[test]
fn a_client_of_version_2_gets_an_epoch_for_every_transaction() {
    Script::run(
        "init => p1e0 | Empty p1e0
         add p1e0 t-0 v2 => ok | Ongoing p1e0
         commit p1e0 v2 => p1e1 | PrepareCommit p1e1
         commit p1e0 v2 => CONCURRENT_TRANSACTIONS | PrepareCommit p1e1
         commit p1e1 v2 => PRODUCER_FENCED | PrepareCommit p1e1
         abort p1e0 v2 => INVALID_TXN_STATE | PrepareCommit p1e1
         markers => Commit p1e1 [t-0] | CompleteCommit p1e1
         commit p1e0 v2 => p1e1 | CompleteCommit p1e1
         abort p1e0 v2 => INVALID_TXN_STATE | CompleteCommit p1e1
         commit p1e1 v2 => INVALID_TXN_STATE | CompleteCommit p1e1
         add p1e0 t-0 v2 => PRODUCER_FENCED | CompleteCommit p1e1
         add p1e1 t-1 v2 => ok | Ongoing p1e1
         commit p1e0 v2 => PRODUCER_FENCED | Ongoing p1e1
         abort p1e1 v2 => p1e2 | PrepareAbort p1e2
         markers => Abort p1e2 [t-1] | CompleteAbort p1e2
         abort p1e1 v2 => p1e2 | CompleteAbort p1e2
         abort p1e2 v2 => p1e3 | PrepareAbort p1e3
         markers => Abort p1e3 [] | CompleteAbort p1e3",
    );
}

#[test]
fn nothing_produced_can_be_aborted_by_version_2_alone() {
    Script::run(
        "init => p1e0 | Empty p1e0
         commit p1e0 => INVALID_TXN_STATE | Empty p1e0
         abort p1e0 => INVALID_TXN_STATE | Empty p1e0
         commit p1e0 v2 => INVALID_TXN_STATE | Empty p1e0
         abort p1e0 v2 => p1e1 | PrepareAbort p1e1
         markers => Abort p1e1 [] | CompleteAbort p1e1
         add p1e1 t-0 v2 => ok | Ongoing p1e1",
    );
}

#[test]
fn a_new_incarnation_fences_the_one_before() {
    Script::run(
        "init => p1e0 | Empty p1e0
         init => p1e1 | Empty p1e1
         add p1e0 t-0 => PRODUCER_FENCED | Empty p1e1
         add p1e2 t-0 => PRODUCER_FENCED | Empty p1e1
         add p7e1 t-0 => INVALID_PRODUCER_ID_MAPPING | Empty p1e1
         commit p7e1 => INVALID_PRODUCER_ID_MAPPING | Empty p1e1
         add p1e1 t-0 => ok | Ongoing p1e1
         init => CONCURRENT_TRANSACTIONS | PrepareAbort p1e2
         init => CONCURRENT_TRANSACTIONS | PrepareAbort p1e2
         commit p1e1 => PRODUCER_FENCED | PrepareAbort p1e2
         markers => Abort p1e2 [t-0] | CompleteAbort p1e2
         commit p1e1 => PRODUCER_FENCED | CompleteAbort p1e2
         commit p1e1 v2 => INVALID_TXN_STATE | CompleteAbort p1e2
         init => p1e3 | Empty p1e3
         abort p1e1 v2 => PRODUCER_FENCED | Empty p1e3
         check p1e1 t-0 => PRODUCER_FENCED | Empty p1e3",
    );
}

#[test]
fn a_producer_bumps_its_own_epoch_once() {
    Script::run(
        "init => p1e0 | Empty p1e0
         init p1e0 => p1e1 | Empty p1e1
         init p1e0 => p1e1 | Empty p1e1
         init p1e1 => p1e2 | Empty p1e2
         init p1e0 => PRODUCER_FENCED | Empty p1e2
         init => p1e3 | Empty p1e3
         init p1e2 => PRODUCER_FENCED | Empty p1e3
         init p9e3 => PRODUCER_FENCED | Empty p1e3
         add p1e3 t-0 => ok | Ongoing p1e3
         init p1e1 => PRODUCER_FENCED | Ongoing p1e3
         init p1e3 => CONCURRENT_TRANSACTIONS | PrepareAbort p1e4",
    );
}

#[test]
fn what_takes_too_long_is_aborted_and_its_producer_fenced() {
    Script::run(
        "init => p1e0 | Empty p1e0
         pass 99999999 => nothing | Empty p1e0
         add p1e0 t-0 => ok | Ongoing p1e0
         pass 59999 => nothing | Ongoing p1e0
         add p1e0 t-1 => ok | Ongoing p1e0
         pass 1 => timed out | PrepareAbort p1e1
         markers => Abort p1e1 [t-0 t-1] | CompleteAbort p1e1
         add p1e0 t-0 => PRODUCER_FENCED | CompleteAbort p1e1
         commit p1e0 => PRODUCER_FENCED | CompleteAbort p1e1
         abort p1e0 v2 => p1e1 | CompleteAbort p1e1
         pass 99999999 => nothing | CompleteAbort p1e1",
    );
}

#[test]
fn epochs_run_out_into_a_new_producer_id() {
    Script::run(
        "init => p1e0 | Empty p1e0
         epoch 32765 => ok | Empty p1e32765
         init => p1e32766 | Empty p1e32766
         init p1e32766 => p2e0 | Empty p2e0
         init p1e32766 => p2e0 | Empty p2e0
         init p1e32765 => PRODUCER_FENCED | Empty p2e0
         epoch 32766 => ok | Empty p2e32766
         add p2e32766 t-0 v2 => ok | Ongoing p2e32766
         commit p2e32766 v2 => p3e0 | PrepareCommit p2e32767
         commit p2e32766 v2 => CONCURRENT_TRANSACTIONS | PrepareCommit p2e32767
         markers => Commit p2e32767 [t-0] | CompleteCommit p3e0
         commit p2e32766 v2 => p3e0 | CompleteCommit p3e0
         add p3e0 t-0 v2 => ok | Ongoing p3e0
         abort p3e0 v2 => p3e1 | PrepareAbort p3e1",
    );
    Script::run(
        "init => p1e0 | Empty p1e0
         epoch 32766 => ok | Empty p1e32766
         add p1e32766 t-0 => ok | Ongoing p1e32766
         init => CONCURRENT_TRANSACTIONS | PrepareAbort p1e32767
         markers => Abort p1e32767 [t-0] | CompleteAbort p1e32767
         init => p2e0 | Empty p2e0",
    );
}

#[test]
fn unused_ids_expire() {
    let mut script = Script::default();
    assert!(script.transaction.is_expired(0, 1_000));
    script.step("init");
    assert!(!script.transaction.is_expired(999, 1_000));
    assert!(script.transaction.is_expired(1_000, 1_000));
    script.step("add p1e0 t-0");
    assert!(!script.transaction.is_expired(99_999, 1_000), "ongoing");
    script.step("commit p1e0");
    assert!(!script.transaction.is_expired(99_999, 1_000), "prepared");
    script.step("markers");
    assert!(script.transaction.is_expired(1_000, 1_000));
}
