//! One part, keys or values, of the records of a batch: the claim of each, found, bound and checked.

use broker_core::records::RecordHeaders;
use registry::{Binding, RegisteredSchema, SchemaId, Snapshot};
use serde_formats::wire::{MessageIndexes, SchemaClaim};
use serde_formats::{CompiledSchema, MessageId, SchemaFormat, Scratch, ValidationOptions};

use super::format_slot;
use crate::enforcement::codes::Code;
use crate::enforcement::fault::{ClaimedSchema, Fault};
use crate::enforcement::framing::{Located, Misframed, locate};
use crate::enforcement::lookup::{Target, pinned_id, target};
use crate::enforcement::policy::{Framing, NameStrategy, Part, PartPolicy, Policy, Rule, qualify};
use crate::enforcement::receipt::Pairs;

/// A claim whose schema was found, bound and made ready.
#[derive(Debug, Clone, Copy)]
struct Resolved<'s> {
    claim: SchemaClaim,
    indexes: MessageIndexes,
    schema: &'s RegisteredSchema,
    version: Option<i32>,
    soft_deleted: bool,
    /// Absent when nothing of the schema's content is needed.
    compiled: Option<&'s CompiledSchema>,
    message: MessageId,
    /// `None`: the payload is not looked at.
    options: Option<ValidationOptions>,
    prefix: Prefix,
}

/// The bytes that a record with this claim and message begins with, in their usual form; empty for
/// a GUID and for message indexes other than the first message's.
#[derive(Debug, Clone, Copy, Default)]
struct Prefix {
    bytes: [u8; 6],
    len: usize,
}

impl Prefix {
    fn of(claim: SchemaClaim, format: SchemaFormat, indexes: &MessageIndexes) -> Self {
        let SchemaClaim::Id(id) = claim else {
            return Self::default();
        };
        let mut bytes = [0; 6];
        bytes[1..5].copy_from_slice(&id.to_be_bytes());
        match format {
            SchemaFormat::Avro | SchemaFormat::Json => Self { bytes, len: 5 },
            SchemaFormat::Protobuf if *indexes == MessageIndexes::FIRST => Self { bytes, len: 6 },
            SchemaFormat::Protobuf => Self::default(),
        }
    }

    /// What follows the prefix, when `part` begins with it.
    fn strip<'r>(&self, part: &'r [u8]) -> Option<&'r [u8]> {
        if self.len == 0 {
            return None;
        }
        part.strip_prefix(self.bytes.get(..self.len)?)
    }
}

/// Judges one part of the records of a batch.
pub(super) struct PartJudge<'s> {
    pub(super) policy: &'s PartPolicy,
    topic: &'s Policy,
    target: Target<'s>,
    snapshot: &'s Snapshot,
    pub(super) rule: Rule,
    options: Option<ValidationOptions>,
    /// With framing `none`: the schema that the topic names, found once.
    pinned: Option<Result<Resolved<'s>, Box<Fault>>>,
    /// Schemas met in this batch, oldest replaced first.
    met: [Option<Resolved<'s>>; MET_MAX],
    newest: usize,
    pub(super) valid: [u64; 3],
    pub(super) soft_deleted: u64,
}

/// Distinct schemas of one part of a batch that are kept ready.
const MET_MAX: usize = 4;

impl<'s> PartJudge<'s> {
    pub(super) fn new(topic: &'s Policy, part: Part, rule: Rule, snapshot: &'s Snapshot) -> Self {
        let mut judge = Self {
            policy: topic.part(part),
            topic,
            target: target(topic, part, snapshot),
            snapshot,
            rule,
            options: topic.options(part),
            pinned: None,
            met: [None; MET_MAX],
            newest: 0,
            valid: [0; 3],
            soft_deleted: 0,
        };
        if rule != Rule::Open && judge.policy.framing == Framing::None {
            judge.pinned = Some(judge.resolve_pinned());
        }
        judge
    }

    pub(super) fn judge(
        &mut self,
        bytes: Option<&[u8]>,
        headers: &RecordHeaders<'_>,
        pairs: &mut Pairs,
        scratch: &mut Scratch,
        subject: &mut String,
    ) -> Result<(), Box<Fault>> {
        let Some(bytes) = bytes else {
            return if self.policy.null_allowed {
                Ok(())
            } else {
                Err(self.fault(Code::NullRefused, "the topic refuses null"))
            };
        };
        if self.repeats_and_obeys(bytes, headers, scratch) {
            return Ok(());
        }
        let (resolved, payload, start, located) = if let Some(pinned) = &self.pinned {
            let resolved = pinned.as_ref().map_err(Clone::clone)?;
            if self.rule == Rule::Enforce {
                let schema = resolved.schema;
                pairs.add(self.policy.part, None, schema.id, schema.guid);
            }
            (resolved, bytes, 0, None)
        } else {
            let header = if headers.is_empty() {
                None
            } else {
                headers.last(self.policy.part.header_name().as_bytes())
            };
            let located = locate(self.policy.framing, self.policy.part, header, bytes)
                .map_err(|misframed| self.misframed(misframed))?;
            let (slot, payload, start) = self.find(&located, pairs, subject)?;
            let Some(resolved) = self.met.get(slot).and_then(Option::as_ref) else {
                return Err(self.fault(Code::Unavailable, "the schema is not at hand"));
            };
            (resolved, payload, start, Some(located))
        };
        let format = resolved.schema.format;
        let soft_deleted = resolved.soft_deleted;
        let verdict = match (resolved.compiled, resolved.options) {
            (Some(compiled), Some(options)) => {
                compiled.validate(resolved.message, payload, options, scratch)
            }
            _ => Ok(()),
        };
        // Bare empty bytes are a whole payload only where the schema says so.
        let bare = located.is_none_or(|located| located.by_header);
        if bare
            && payload.is_empty()
            && format != SchemaFormat::Protobuf
            && (verdict.is_err() || resolved.options.is_none())
        {
            return Err(self.fault(Code::Empty, ""));
        }
        if let Err(violation) = verdict {
            let mut fault = Fault::new(
                Code::from(violation.reason),
                self.policy.part,
                violation.detail,
            );
            fault.path = Some(violation.path);
            fault.byte_offset = Some(start.saturating_add(violation.byte_offset));
            fault.schema = Some(self.describe(resolved, subject));
            fault.payload_start = start;
            fault.indexes = resolved.indexes;
            if let Some(located) = &located {
                fault.claim = Some(located.claim);
                fault.by_header = located.by_header;
                fault.prefix_end = located.after_prefix_start();
            }
            return Err(Box::new(fault));
        }
        self.valid[format_slot(format)] += 1;
        self.soft_deleted += u64::from(soft_deleted);
        Ok(())
    }

    /// The common record, at little cost: no header, the same prefix as the record before, a valid
    /// payload. Whatever is not that takes the long way, a refused payload a second time.
    fn repeats_and_obeys(
        &mut self,
        bytes: &[u8],
        headers: &RecordHeaders<'_>,
        scratch: &mut Scratch,
    ) -> bool {
        if !headers.is_empty() || self.policy.framing == Framing::Header {
            return false;
        }
        let Some(resolved) = &self.met[self.newest] else {
            return false;
        };
        let (Some(compiled), Some(options)) = (resolved.compiled, resolved.options) else {
            return false;
        };
        let Some(payload) = resolved.prefix.strip(bytes) else {
            return false;
        };
        if compiled
            .validate(resolved.message, payload, options, scratch)
            .is_err()
        {
            return false;
        }
        self.valid[format_slot(resolved.schema.format)] += 1;
        self.soft_deleted += u64::from(resolved.soft_deleted);
        true
    }

    /// The slot of the claimed schema in [`Self::met`], with the payload and its start.
    fn find<'r>(
        &mut self,
        located: &Located<'r>,
        pairs: &mut Pairs,
        subject: &mut String,
    ) -> Result<(usize, &'r [u8], usize), Box<Fault>> {
        let part = self.policy.part;
        let known = self.met[self.newest]
            .filter(|resolved| resolved.claim == located.claim)
            .map(|resolved| resolved.schema);
        let schema = match known {
            Some(schema) => schema,
            None => self.schema(located)?,
        };
        let payload = located.payload(schema.format, part).map_err(|misframed| {
            let mut fault = self.misframed(misframed);
            self.attach(&mut fault, located, schema);
            fault
        })?;
        let wanted = |resolved: &Option<Resolved<'s>>| {
            resolved.as_ref().is_some_and(|resolved| {
                resolved.claim == located.claim
                    && resolved.indexes.as_slice() == payload.indexes.as_slice()
            })
        };
        if !wanted(&self.met[self.newest]) {
            if let Some(slot) = self.met.iter().position(wanted) {
                self.newest = slot;
            } else {
                let resolved = self.resolve(located, schema, payload.indexes, subject)?;
                if self.rule == Rule::Enforce {
                    let named = match self.policy.strategy {
                        NameStrategy::Associated | NameStrategy::TopicName => None,
                        NameStrategy::RecordName | NameStrategy::TopicRecordName => {
                            Some(subject.as_str())
                        }
                    };
                    pairs.add(part, named, resolved.schema.id, resolved.schema.guid);
                }
                self.newest = (self.newest + 1) % MET_MAX;
                self.met[self.newest] = Some(resolved);
            }
        }
        Ok((self.newest, payload.bytes, payload.start))
    }

    /// The schema of a claim. An unknown one is a fault; where the snapshot may be behind the truth,
    /// [`super::unknown`] has it looked at before anything is refused.
    fn schema(&self, located: &Located<'_>) -> Result<&'s RegisteredSchema, Box<Fault>> {
        let context = self.target.context;
        let found = match located.claim {
            SchemaClaim::Id(id) => self.snapshot.schema(context, SchemaId(id)),
            SchemaClaim::Guid(guid) => self.snapshot.schema_by_guid(context, guid),
        };
        if let Some(schema) = found {
            return Ok(schema);
        }
        let (code, name) = match located.claim {
            SchemaClaim::Id(id) => (Code::UnknownSchemaId, format!("id={id}")),
            SchemaClaim::Guid(guid) => (Code::UnknownSchemaGuid, format!("guid={guid}")),
        };
        let detail = if context == "." {
            format!("no schema has {name}")
        } else {
            format!("no schema of context {context} has {name}")
        };
        let mut fault = self.fault(code, &detail);
        fault.claim = Some(located.claim);
        fault.by_header = located.by_header;
        Err(fault)
    }

    /// Binds a schema to its subject and makes it ready.
    fn resolve(
        &self,
        located: &Located<'_>,
        schema: &'s RegisteredSchema,
        indexes: MessageIndexes,
        subject: &mut String,
    ) -> Result<Resolved<'s>, Box<Fault>> {
        let refuse = |code: Code, detail: &str| {
            let mut fault = self.fault(code, detail);
            self.attach(&mut fault, located, schema);
            fault
        };
        let (compiled, options, message) = self
            .ready(schema, indexes)
            .map_err(|(code, detail)| refuse(code, &detail))?;
        if !self.write_subject(compiled, message, subject) {
            return Err(refuse(
                Code::NoRecordName,
                "the subject name strategy of the topic needs one",
            ));
        }
        let Some((schema, binding)) = self.bound(schema, located.claim, subject) else {
            return Err(refuse(
                Code::NotBoundToSubject,
                &format!("it is no version of {subject}"),
            ));
        };
        if binding.soft_deleted && !self.topic.soft_deleted_accepted {
            return Err(refuse(
                Code::SoftDeleted,
                &format!("v{} of {subject} is deleted", binding.version.0),
            ));
        }
        Ok(Resolved {
            claim: located.claim,
            indexes,
            schema,
            version: Some(binding.version.0),
            soft_deleted: binding.soft_deleted,
            compiled,
            message,
            options,
            prefix: Prefix::of(located.claim, schema.format, &indexes),
        })
    }

    /// The schema as a version of the subject. A GUID names content, which imports may have put under
    /// several ids: any of them may be the bound one.
    fn bound(
        &self,
        schema: &'s RegisteredSchema,
        claim: SchemaClaim,
        subject: &str,
    ) -> Option<(&'s RegisteredSchema, Binding)> {
        if let Some(binding) = self.snapshot.binding(subject, schema.id) {
            return Some((schema, binding));
        }
        let SchemaClaim::Guid(guid) = claim else {
            return None;
        };
        let context = self.target.context;
        self.snapshot
            .ids_by_guid(context, guid)
            .iter()
            .rev()
            .find_map(|id| {
                let binding = self.snapshot.binding(subject, *id)?;
                Some((self.snapshot.schema(context, *id)?.as_ref(), binding))
            })
    }

    fn resolve_pinned(&self) -> Result<Resolved<'s>, Box<Fault>> {
        let missing = || {
            self.fault(
                Code::NoPinnedSchema,
                &format!(
                    "{} of {} does not exist",
                    self.policy.schema, self.target.subject
                ),
            )
        };
        let (id, version) =
            pinned_id(self.topic, self.policy.part, self.snapshot).ok_or_else(missing)?;
        let schema = self
            .snapshot
            .schema(self.target.context, id)
            .ok_or_else(missing)?;
        let (compiled, options, message) = self
            .ready(schema, MessageIndexes::FIRST)
            .map_err(|(code, detail)| self.fault(code, &detail))?;
        Ok(Resolved {
            claim: SchemaClaim::Id(id.0),
            indexes: MessageIndexes::FIRST,
            schema,
            version,
            soft_deleted: false,
            compiled,
            message,
            options,
            prefix: Prefix::default(),
        })
    }

    /// The compiled schema where it is needed, how deep to look, and which message.
    fn ready(
        &self,
        schema: &'s RegisteredSchema,
        indexes: MessageIndexes,
    ) -> Result<
        (
            Option<&'s CompiledSchema>,
            Option<ValidationOptions>,
            MessageId,
        ),
        Misframed,
    > {
        // Encoding rules transform the payload (encryption, for one): only its claim can be judged.
        let options = self.options.filter(|_| !schema.has_encoding_rules());
        let needed = options.is_some()
            || schema.format == SchemaFormat::Protobuf
            || !self.policy.strategy.is_by_topic();
        if !needed {
            return Ok((None, None, MessageId(0)));
        }
        let compiled: &CompiledSchema = schema
            .compiled()
            .map_err(|error| (Code::SchemaNotExecutable, error.to_string()))?;
        let message = compiled.message(indexes.as_slice()).ok_or_else(|| {
            let detail = format!("message indexes {:?}", indexes.as_slice());
            (Code::MessageIndexOutOfRange, detail)
        })?;
        Ok((Some(compiled), options, message))
    }

    /// Writes the subject that the strategy demands; false when the schema has no record name.
    fn write_subject(
        &self,
        compiled: Option<&CompiledSchema>,
        message: MessageId,
        subject: &mut String,
    ) -> bool {
        if self.policy.strategy.is_by_topic() {
            subject.clear();
            subject.push_str(self.target.subject);
            return true;
        }
        let Some(name) = compiled
            .and_then(|compiled| compiled.record_name(message))
            // A JSON title may be any text; one with a colon in front would name another context.
            .filter(|name| !name.starts_with(':'))
        else {
            return false;
        };
        if self.policy.strategy == NameStrategy::RecordName {
            qualify(&self.topic.context, name, subject);
        } else {
            qualify(&self.topic.context, &self.topic.topic, subject);
            subject.push('-');
            subject.push_str(name);
        }
        true
    }

    fn describe(&self, resolved: &Resolved<'_>, subject: &mut String) -> ClaimedSchema {
        let named = self.write_subject(resolved.compiled, resolved.message, subject);
        ClaimedSchema {
            id: resolved.schema.id.0,
            format: resolved.schema.format,
            subject: resolved
                .version
                .filter(|_| named)
                .map(|version| (subject.clone(), version)),
        }
    }

    /// Says which schema a fault is about, under any subject that holds it.
    fn attach(&self, fault: &mut Fault, located: &Located<'_>, schema: &RegisteredSchema) {
        fault.schema = Some(ClaimedSchema {
            id: schema.id.0,
            format: schema.format,
            subject: self
                .snapshot
                .any_subject_of(self.target.context, schema.id)
                .map(|(subject, version)| (subject.to_owned(), version.0)),
        });
        fault.claim = Some(located.claim);
        fault.by_header = located.by_header;
        fault.prefix_end = located.after_prefix_start();
    }

    fn fault(&self, code: Code, detail: &str) -> Box<Fault> {
        Box::new(Fault::new(code, self.policy.part, detail))
    }

    fn misframed(&self, (code, detail): Misframed) -> Box<Fault> {
        let expected = match code {
            Code::Empty => format!(
                "expected a schema id and a payload of {}",
                self.target.subject
            ),
            _ => detail,
        };
        self.fault(code, &expected)
    }
}
