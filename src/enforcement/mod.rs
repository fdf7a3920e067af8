//! Enforcement: no record that breaks its schema is stored.
//!
//! The only code that knows both sides: [`broker_core`] calls it through
//! [`RecordValidator`], [`registry`] answers it from an immutable snapshot. Knows no socket, no
//! SQL, no partition.
//!
//! | module | what |
//! |---|---|
//! | [`policy`] | topic properties to what is validated, how deep, under which subject (pure) |
//! | `keys` | the table of topic configs |
//! | `framing` | which schema a record claims, where its payload begins (pure) |
//! | `judge` | the loop over the records of a batch |
//! | `lookup`, `receipt` | what is asked of a snapshot, and asked again under the partition lock |
//! | [`codes`], `fault` | the closed table of `ASY-` codes, and the texts made of them |
//! | `explain` | the probable cause, on the reject path only (pure) |
//! | [`rejections`], `report` | the ring of refused records with its HTTP view; metrics and log |
//!
//! Read `judge` next.

pub mod codes;
#[cfg(test)]
mod end_to_end;
mod explain;
mod fault;
mod framing;
mod judge;
mod keys;
mod lookup;
pub mod policy;
mod receipt;
pub mod rejections;
mod report;
#[cfg(test)]
mod scenarios;
mod unknown;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use broker_core::clock::Clock;
use broker_core::records::BatchView;
use broker_core::validation::{
    BoxFuture, Receipt, RecordValidator, Rejection, RequestOrigin, TopicConfigKey, TopicSettings,
    Unavailable, Verdict, Wanted,
};
use registry::{Registry, Snapshot};

pub use codes::Code;
pub use rejections::{RejectedRecord, Rejections, routes};
pub use report::{
    RECORDS_REJECTED, RECORDS_SOFT_DELETED, RECORDS_VALIDATED, RECORDS_WOULD_REJECT,
    VALIDATION_DURATION, describe_metrics,
};

use fault::one_line;
use judge::{Judgement, Rules, Work, judge_batch};
use lookup::target;
use policy::{Part, Policy};
use receipt::Facts;
use report::{LogKey, LogLimiter, TopicLabels, TopicMetrics};
use unknown::{Confirmed, Question};

/// Judges record batches by the schemas of a registry in the same process.
#[derive(Debug)]
pub struct Enforcement {
    registry: Registry,
    rejections: Arc<Rejections>,
    clock: Clock,
    topic_defaults: BTreeMap<String, String>,
    labels: TopicLabels,
    log: LogLimiter,
    confirmed: Confirmed,
    policies_count: AtomicU64,
}

/// What a topic's properties compile to; lives in [`TopicSettings::compiled`].
struct TopicPolicy {
    /// Distinguishes this settings object from its successors.
    number: u64,
    /// The text of the error when properties stored by another version make no sense here.
    policy: Result<Policy, String>,
    metrics: TopicMetrics,
}

/// What [`RecordValidator::resolve`] is asked for.
enum Wants {
    /// The topic's properties cannot be compiled: only an operator can help.
    UsableProperties(String),
    /// This replica may be behind: look at the truth, for a question or because its lease ended.
    Truth(Option<Question>),
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::new(Work::default());
}

impl Enforcement {
    /// Judges by the snapshots of `registry`; refused records go to `rejections`.
    #[must_use]
    pub fn new(registry: Registry, rejections: Arc<Rejections>, clock: Clock) -> Self {
        Self {
            registry,
            rejections,
            clock,
            topic_defaults: BTreeMap::new(),
            labels: TopicLabels::default(),
            log: LogLimiter::default(),
            confirmed: Confirmed::default(),
            policies_count: AtomicU64::new(0),
        }
    }

    /// With broker-wide values of topic configs: they count for every topic that does not say
    /// otherwise. Whether they make sense is for [`RecordValidator::check_properties`] to tell.
    #[must_use]
    pub fn with_topic_defaults(mut self, defaults: BTreeMap<String, String>) -> Self {
        self.topic_defaults = defaults;
        self
    }

    async fn refresh(&self) -> Result<(), Unavailable> {
        let refreshed = self.registry.refresh().await;
        refreshed.map_err(|error| Unavailable(format!("{} {error}", Code::Unavailable)))
    }

    /// The policy of a topic on which `properties` are set.
    fn policy(&self, topic: &str, properties: &BTreeMap<String, String>) -> Result<Policy, String> {
        Policy::compile(topic, &policy::in_force(&self.topic_defaults, properties))
    }

    /// The parts of the topic's records whose own subject this is, and what is done with them. A
    /// strategy that names subjects by record binds the topic to its TopicName subject alone.
    #[must_use]
    pub fn parts_bound_to(
        &self,
        topic: &TopicSettings,
        subject: &str,
    ) -> Vec<(Part, policy::Mode)> {
        let policy = self
            .compiled(topic)
            .and_then(|topic| topic.policy.as_ref().ok())
            .filter(|_| !is_internal(topic));
        let snapshot = self.registry.snapshot();
        let parts = policy
            .into_iter()
            .flat_map(|policy| [(policy, &policy.key), (policy, &policy.value)]);
        parts
            .filter(|(policy, part)| target(policy, part.part, &snapshot).subject == subject)
            .map(|(_, part)| (part.part, part.mode))
            .collect()
    }

    fn compiled<'t>(&self, topic: &'t TopicSettings) -> Option<&'t TopicPolicy> {
        let compiled = topic.compiled.get_or_init(|| {
            let name = topic.name.as_str();
            let policy: Arc<dyn Any + Send + Sync> = Arc::new(TopicPolicy {
                number: self.policies_count.fetch_add(1, Ordering::Relaxed),
                policy: self.policy(name, &topic.properties),
                metrics: TopicMetrics::new(self.labels.label(name)),
            });
            policy
        });
        compiled.downcast_ref()
    }

    fn judge(
        &self,
        compiled: &TopicPolicy,
        policy: &Policy,
        snapshot: &Snapshot,
        batch: &BatchView<'_>,
        origin: &RequestOrigin<'_>,
    ) -> Verdict {
        if !self.registry.is_current() && policy.may_enforce() {
            return Verdict::Unresolved(Wanted(Box::new(Wants::Truth(None))));
        }
        let rules = Rules::of(policy, snapshot);
        let accepted = |facts: Option<Box<dyn Any + Send + Sync>>| {
            Verdict::Accepted(Receipt {
                epoch: snapshot.epoch(),
                facts,
            })
        };
        if rules.all_open() {
            return accepted(None);
        }
        let started = Instant::now();
        let judgement =
            WORK.with_borrow_mut(|work| judge_batch(policy, rules, snapshot, batch, work));
        if self.registry.is_shared()
            && let Some(question) = Question::of(&policy.topic, &judgement)
            && !self.confirmed.holds(question, snapshot.epoch(), started)
        {
            return Verdict::Unresolved(Wanted(Box::new(Wants::Truth(Some(question)))));
        }
        compiled
            .metrics
            .record(&judgement, started.elapsed().as_secs_f64());
        if !judgement.faults.detailed.is_empty() {
            self.publish(policy, &judgement, origin);
        }
        if !rules.enforce() {
            return accepted(None);
        }
        if let Some(error) = &judgement.batch_error {
            let code = Code::MalformedBatch;
            compiled.metrics.refused(Part::Value, code, false, 1);
            return Verdict::Rejected(Rejection {
                errors: judgement.faults.errors,
                message: one_line(
                    &format!(
                        "{code} record batch for topic {} partition {} does not decode: {error}",
                        policy.topic, origin.partition
                    ),
                    MESSAGE_BYTES_MAX,
                ),
            });
        }
        if judgement.faults.refused > 0 {
            return Verdict::Rejected(Rejection {
                message: summary(policy, &judgement, origin),
                errors: judgement.faults.errors,
            });
        }
        let now_ms = self.clock.now_ms();
        for pair in &judgement.pairs.pairs {
            let context = target(policy, pair.part, snapshot).context;
            if let Some(schema) = snapshot.schema(context, pair.id) {
                schema.note_use(now_ms);
            }
        }
        accepted(Some(Box::new(Facts {
            policy: compiled.number,
            key: rules.key == policy::Rule::Enforce,
            value: rules.value == policy::Rule::Enforce,
            complete: !judgement.pairs.overflowed,
            pairs: judgement.pairs.pairs,
        })))
    }

    /// Puts refused records where people find them: the ring, and at most one log line.
    fn publish(&self, policy: &Policy, judgement: &Judgement, origin: &RequestOrigin<'_>) {
        let now_ms = self.clock.now_ms();
        let client_id = one_line(origin.client_id, CLIENT_BYTES_MAX);
        let records = judgement.faults.detailed.iter().map(|detailed| {
            let fault = &detailed.fault;
            let schema = fault.schema.as_ref();
            let subject = schema.and_then(|schema| schema.subject.as_ref());
            RejectedRecord {
                time_ms: now_ms,
                topic: policy.topic.clone(),
                partition: origin.partition.0,
                batch_index: detailed.batch_index,
                part: fault.part.name(),
                code: fault.code.label(),
                reason: fault.code.name(),
                path: fault
                    .path
                    .as_deref()
                    .map(|path| one_line(path, PATH_BYTES_MAX)),
                byte_offset: fault.byte_offset,
                schema_id: schema.map(|schema| schema.id),
                format: schema.map(|schema| schema.format.name()),
                subject: subject.map(|(subject, _)| subject.clone()),
                version: subject.map(|(_, version)| *version),
                client_id: client_id.clone(),
                client_software: one_line(origin.client_software, CLIENT_BYTES_MAX),
                client_address: origin.address.to_string(),
                message: detailed.text.clone(),
                likely_cause: detailed.cause.as_ref().map(ToString::to_string),
                observed: detailed.observed,
            }
        });
        self.rejections.push(records);
        // Refused records matter more than observed ones when a batch has both.
        let detailed = &judgement.faults.detailed;
        let Some(first) = detailed
            .iter()
            .find(|detailed| !detailed.observed)
            .or_else(|| detailed.first())
        else {
            return;
        };
        let key = LogKey {
            topic: policy.topic.clone(),
            client_id: client_id.clone(),
            code: first.fault.code,
            observed: first.observed,
        };
        let Some(suppressed) = self.log.admit(key, now_ms) else {
            return;
        };
        tracing::info!(
            topic = policy.topic,
            partition = origin.partition.0,
            client_id,
            client_address = %origin.address,
            code = first.fault.code.label(),
            batch_index = first.batch_index,
            records = judgement.records,
            refused = judgement.faults.refused,
            suppressed,
            "{}: {}",
            if first.observed { "record batch would be rejected" } else { "record batch rejected" },
            first.text,
        );
    }
}

impl RecordValidator for Enforcement {
    fn validate(
        &self,
        topic: &TopicSettings,
        batch: &BatchView<'_>,
        origin: &RequestOrigin<'_>,
    ) -> Verdict {
        let snapshot = self.registry.snapshot();
        if is_internal(topic) {
            return Verdict::Accepted(Receipt {
                epoch: snapshot.epoch(),
                facts: None,
            });
        }
        let unusable =
            |text: String| Verdict::Unresolved(Wanted(Box::new(Wants::UsableProperties(text))));
        match self.compiled(topic) {
            None => unusable("the topic's settings belong to another validator".to_owned()),
            Some(compiled) => match &compiled.policy {
                Ok(policy) => self.judge(compiled, policy, &snapshot, batch, origin),
                Err(text) => unusable(text.clone()),
            },
        }
    }

    fn still_holds(&self, topic: &TopicSettings, receipt: &Receipt) -> bool {
        if is_internal(topic) {
            return true;
        }
        let Some(compiled) = self.compiled(topic) else {
            return false;
        };
        let Ok(policy) = &compiled.policy else {
            return false;
        };
        if !self.registry.is_current() && policy.may_enforce() {
            return false;
        }
        let snapshot = self.registry.snapshot();
        let Some(facts) = &receipt.facts else {
            // Nothing was enforced; it must still be so.
            return !Rules::of(policy, &snapshot).enforce();
        };
        facts.downcast_ref::<Facts>().is_some_and(|facts| {
            facts.policy == compiled.number
                && (receipt.epoch == snapshot.epoch() || facts.hold(policy, &snapshot))
        })
    }

    fn resolve(&self, wanted: Wanted) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            match wanted.0.downcast::<Wants>().map(|wants| *wants) {
                Ok(Wants::UsableProperties(text)) => Err(Unavailable(format!(
                    "{} topic settings cannot be used: {text}",
                    Code::Unavailable
                ))),
                Ok(Wants::Truth(question)) => {
                    let began = Instant::now();
                    self.refresh().await?;
                    if let Some(question) = question {
                        let epoch = self.registry.snapshot().epoch();
                        self.confirmed.add(question, epoch, began);
                    }
                    Ok(())
                }
                Err(_) => self.refresh().await,
            }
        })
    }

    fn config_keys(&self) -> &'static [TopicConfigKey] {
        keys::CONFIG_KEYS
    }

    fn check_properties(&self, properties: &BTreeMap<String, String>) -> Result<(), String> {
        self.policy("", properties).map(drop)
    }
}

impl fmt::Debug for TopicPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicPolicy")
            .field("number", &self.number)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Topics of the broker itself: their records have their own formats.
fn is_internal(topic: &TopicSettings) -> bool {
    topic.name.as_str().starts_with("__")
}

/// The partition's line: enough by itself, because half of the clients show nothing else.
fn summary(policy: &Policy, judgement: &Judgement, origin: &RequestOrigin<'_>) -> String {
    let first = judgement
        .faults
        .detailed
        .iter()
        .find(|detailed| !detailed.observed);
    let (index, text) = first.map_or((0, ""), |first| (first.batch_index, first.text.as_str()));
    one_line(
        &format!(
            "{} of {} records for topic {} partition {} break their schema; record {index}: {text}; \
             more at /v1/topics/{}/rejections",
            judgement.faults.refused,
            judgement.records,
            policy.topic,
            origin.partition,
            policy.topic
        ),
        MESSAGE_BYTES_MAX,
    )
}

/// Reads hexadecimal text in tests.
#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ascii");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}

/// Largest line for a partition.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Client ids and software names kept in the ring.
const CLIENT_BYTES_MAX: usize = 256;
/// Paths kept in the ring.
const PATH_BYTES_MAX: usize = 512;
