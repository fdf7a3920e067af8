//! Judges the records of one batch against one registry snapshot.
//!
//! The hot loop of the product: for a valid record it looks at no lock, waits for nothing and
//! allocates nothing. A run of records with equal claims costs one look-up and one binding check;
//! the few schemas of a batch are kept in a small table on the stack. Everything else here is
//! about refused records. Next: [`part`], [`super::framing`], then [`super::explain`].

mod part;

use broker_core::records::{BatchError, BatchView, DecompressionScratch, Record, RecordHeaders};
use broker_core::validation::RecordError;
use registry::Snapshot;
use serde_formats::{SchemaFormat, Scratch};

use super::codes::Code;
use super::explain::{Cause, ForeignHeaders, probable_cause};
use super::fault::Fault;
use super::lookup::{SnapshotKnown, target};
use super::policy::{Part, Policy, Rule};
use super::receipt::Pairs;
use part::PartJudge;

/// Memory reused from batch to batch, one per thread.
#[derive(Debug, Default)]
pub(super) struct Work {
    records: DecompressionScratch,
    payload: Scratch,
    /// Where record-name subjects are written.
    subject: String,
}

/// What happens to each part of the records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) key: Rule,
    pub(super) value: Rule,
}

impl Rules {
    pub(super) fn of(policy: &Policy, snapshot: &Snapshot) -> Self {
        let exists = |part| move || snapshot.has_subject(target(policy, part, snapshot).subject);
        Self {
            key: policy.key.rule(exists(Part::Key)),
            value: policy.value.rule(exists(Part::Value)),
        }
    }

    pub(super) fn enforce(self) -> bool {
        self.key == Rule::Enforce || self.value == Rule::Enforce
    }

    pub(super) fn all_open(self) -> bool {
        self.key == Rule::Open && self.value == Rule::Open
    }
}

/// Everything found out about a batch.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Records walked.
    pub(super) records: u64,
    /// Parts that obeyed their schema, by part and format (see [`format_slot`]).
    pub(super) valid: [[u64; 3]; 2],
    /// Of those, parts under a soft-deleted version.
    pub(super) soft_deleted: [u64; 2],
    /// What was refused, or would have been.
    pub(super) faults: Faults,
    /// The (subject, id) pairs of enforced parts.
    pub(super) pairs: Pairs,
    /// The walk ended here: the batch itself does not decode.
    pub(super) batch_error: Option<BatchError>,
}

/// Refused parts of a batch: all of them counted, the first ones in detail.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// By part, code and whether it was only observed.
    pub(super) counts: Vec<FaultCount>,
    /// Records refused, not only observed.
    pub(super) refused: u64,
    /// The refused records for the producer, ascending; at most [`ERRORS_MAX`].
    pub(super) errors: Vec<RecordError>,
    /// At most [`TEXTS_MAX`] refused and as many observed.
    pub(super) detailed: Vec<DetailedFault>,
    /// Bytes spent on probable causes so far; see [`EXPLAINED_BYTES_MAX`].
    explained_bytes: usize,
}

/// How often one code met one part.
#[derive(Debug)]
pub(super) struct FaultCount {
    pub(super) part: Part,
    pub(super) code: Code,
    pub(super) observed: bool,
    pub(super) count: u64,
}

/// A refused part with all that is known of it.
#[derive(Debug)]
pub(super) struct DetailedFault {
    pub(super) batch_index: i32,
    pub(super) observed: bool,
    pub(super) fault: Fault,
    pub(super) cause: Option<Cause>,
    pub(super) text: String,
}

/// Records with a text in one answer, as many as most clients ever show.
pub(super) const TEXTS_MAX: usize = 32;
/// Records listed in one answer. A batch that decompresses to millions of bad records must not
/// make an answer of hundreds of megabytes; the partition's line tells their number.
pub(super) const ERRORS_MAX: usize = 10_000;

/// Causes are looked for in this many bytes of refused parts of a batch: a bad producer must not cost
/// many times what a good one does.
const EXPLAINED_BYTES_MAX: usize = 256 * 1024;

/// Index of a format in [`Judgement::valid`].
pub(super) const fn format_slot(format: SchemaFormat) -> usize {
    match format {
        SchemaFormat::Avro => 0,
        SchemaFormat::Json => 1,
        SchemaFormat::Protobuf => 2,
    }
}

/// Judges every record; never stops at the first bad one.
pub(super) fn judge_batch(
    policy: &Policy,
    rules: Rules,
    snapshot: &Snapshot,
    batch: &BatchView<'_>,
    work: &mut Work,
) -> Judgement {
    let mut judgement = Judgement::default();
    let mut parts = [
        PartJudge::new(policy, Part::Key, rules.key, snapshot),
        PartJudge::new(policy, Part::Value, rules.value, snapshot),
    ];
    let records = match batch.records(&mut work.records) {
        Ok(records) => records,
        Err(error) => {
            judgement.batch_error = Some(error);
            return judgement;
        }
    };
    let mut batch_index: i32 = 0;
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                judgement.batch_error = Some(error);
                break;
            }
        };
        for part in &mut parts {
            if part.rule == Rule::Open {
                continue;
            }
            let bytes = match part.policy.part {
                Part::Key => record.key,
                Part::Value => record.value,
            };
            let verdict = part.judge(
                bytes,
                &record.headers,
                &mut judgement.pairs,
                &mut work.payload,
                &mut work.subject,
            );
            if let Err(fault) = verdict {
                let observed = part.rule == Rule::Observe;
                let scratch = &mut work.payload;
                judgement
                    .faults
                    .note(batch_index, observed, *fault, |fault, spent| {
                        explain(policy, snapshot, fault, &record, scratch, spent)
                    });
            }
        }
        judgement.records += 1;
        batch_index = batch_index.saturating_add(1);
    }
    for (slot, part) in parts.iter().enumerate() {
        judgement.valid[slot] = part.valid;
        judgement.soft_deleted[slot] = part.soft_deleted;
    }
    judgement
}

impl Faults {
    fn note(
        &mut self,
        batch_index: i32,
        observed: bool,
        fault: Fault,
        explain: impl FnOnce(&Fault, &mut usize) -> (Option<Cause>, String),
    ) {
        match self.counts.iter_mut().find(|count| {
            count.part == fault.part && count.code == fault.code && count.observed == observed
        }) {
            Some(count) => count.count += 1,
            None => self.counts.push(FaultCount {
                part: fault.part,
                code: fault.code,
                observed,
                count: 1,
            }),
        }
        let detailed = self
            .detailed
            .iter()
            .filter(|earlier| earlier.observed == observed)
            .count();
        let text = (detailed < TEXTS_MAX).then(|| {
            let (cause, text) = explain(&fault, &mut self.explained_bytes);
            self.detailed.push(DetailedFault {
                batch_index,
                observed,
                fault,
                cause,
                text: text.clone(),
            });
            text
        });
        if observed {
            return;
        }
        // Key and value of one record are one error: indexes must be unique.
        if let Some(last) = self.errors.last_mut()
            && last.batch_index == batch_index
        {
            if let (Some(message), Some(text)) = (&mut last.message, text) {
                message.push_str("; ");
                message.push_str(&text);
            }
            return;
        }
        self.refused += 1;
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(RecordError {
                batch_index,
                message: text,
            });
        }
    }
}

fn explain(
    policy: &Policy,
    snapshot: &Snapshot,
    fault: &Fault,
    record: &Record<'_>,
    scratch: &mut Scratch,
    spent: &mut usize,
) -> (Option<Cause>, String) {
    let bytes = match fault.part {
        Part::Key => record.key,
        Part::Value => record.value,
    }
    .unwrap_or_default();
    let mut known = SnapshotKnown {
        snapshot,
        policy,
        part: fault.part,
        scratch,
    };
    *spent = spent.saturating_add(bytes.len());
    let cause = if *spent <= EXPLAINED_BYTES_MAX {
        let foreign = foreign_headers(&record.headers, fault.part);
        probable_cause(fault, bytes, foreign, &mut known)
    } else {
        None
    };
    let shown = policy.include_values.then_some(bytes);
    let text = fault.text(cause.as_ref(), shown);
    (cause, text)
}

fn foreign_headers(headers: &RecordHeaders<'_>, part: Part) -> ForeignHeaders {
    let apicurio: [&[u8]; 2] = match part {
        Part::Key => [b"apicurio.key.globalId", b"apicurio.key.contentId"],
        Part::Value => [b"apicurio.value.globalId", b"apicurio.value.contentId"],
    };
    ForeignHeaders {
        azure: headers
            .last(b"content-type")
            .is_some_and(|value| value.starts_with(b"avro/binary+")),
        apicurio: apicurio.iter().any(|name| headers.last(name).is_some()),
        confluent: headers.last(part.header_name().as_bytes()).is_some(),
    }
}
