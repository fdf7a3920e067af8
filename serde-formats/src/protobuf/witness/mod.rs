//! Records that show an incompatibility; see [`crate::witness`].
//!
//! A difference names a place: a message, and a field or oneof in it. From the writer's messages,
//! which a payload can be of, the shortest way to that place is walked in both schemas at once;
//! there small values are tried until the reader refuses one or reads another. Every record is
//! valid under the writer and is decoded by both sides before it is shown.
//!
//! | module | what it does |
//! |---|---|
//! | `pairs` | the messages that meet when one schema reads what the other wrote |
//! | `samples` | small values worth trying |
//! | `same` | whether two values mean the same |

mod pairs;
mod same;
mod samples;
#[cfg(test)]
mod tests;

use serde_json::Value as Json;

use self::pairs::{Side, Step};
use super::json::read;
use super::to_json::Printer;
use super::types::{Count, FieldType, Kind, Types};
use super::values::{self, Item, Message, Unnamed, Value, Values, default_value};
use super::{ProtobufSchema, ProtobufScratch, decode_json};
use crate::compatibility::Incompatibility;
use crate::validator::{MessageId, ValidationOptions, ViolationReason};
use crate::witness::{Evidence, Outcome, Witness};

/// Most records tried for one difference.
const ATTEMPTS_MAX: usize = 4_000;
/// Longest way to a place: deeper messages no payload holds.
const STEPS_MAX: usize = 99;

/// A record of `writer` that breaks under `reader` because of `difference`.
#[must_use]
pub fn evidence(
    reader: &ProtobufSchema,
    writer: &ProtobufSchema,
    difference: &Incompatibility,
) -> Evidence {
    match (Side::new(reader), Side::new(writer)) {
        (Ok(reader), Ok(writer)) => Search {
            reader,
            writer,
            attempts: 0,
        }
        .evidence(difference),
        (Err(reason), _) | (_, Err(reason)) => Evidence::NotFound {
            reason: format!("a schema does not link: {reason}"),
        },
    }
}

struct Search<'a> {
    reader: Side<'a>,
    writer: Side<'a>,
    attempts: usize,
}

/// What a record is tried for: a field of the message that a way leads to.
struct Place<'p> {
    steps: &'p [Step],
    /// The step whose message holds the field.
    step: usize,
    number: u32,
}

fn convention(reason: &str) -> Evidence {
    Evidence::Convention {
        reason: reason.to_owned(),
    }
}

impl<'a> Search<'a> {
    fn evidence(&mut self, difference: &Incompatibility) -> Evidence {
        let path = difference.path.as_str();
        let found = match difference.kind {
            "PACKAGE_CHANGED" => {
                return convention(
                    "no package is in the bytes; it protects generated names, record-name \
                     subjects and the type URLs of google.protobuf.Any",
                );
            }
            "REQUIRED_FIELD_REMOVED" => {
                return convention(
                    "a reader without the field skips it; it protects readers that still require \
                     it from records written without it",
                );
            }
            "MESSAGE_REMOVED" => self.message_removed(path),
            "MULTIPLE_FIELDS_MOVED_TO_ONEOF" | "FIELD_MOVED_TO_EXISTING_ONEOF" => {
                self.gathered_oneof(path)
            }
            // A caveat of a oneof, whose name ends the path where a field's number would.
            "GROUP_NOT_COMPARED" if !path.ends_with(|last: char| last.is_ascii_digit()) => {
                self.gathered_oneof(path)
            }
            _ => self.field(path, difference.kind),
        };
        if let Some(witness) = found {
            return Evidence::Breaks(Box::new(witness));
        }
        if self.attempts >= ATTEMPTS_MAX {
            return Evidence::NotFound {
                reason: format!("none of {ATTEMPTS_MAX} records broke"),
            };
        }
        match difference.kind {
            _ if self.attempts == 0 => Evidence::NotFound {
                reason: "no payload of the writer holds the place".to_owned(),
            },
            "FIELD_NUMERIC_LABEL_CHANGED" => {
                convention("a record of the writer holds one value there, which either label reads")
            }
            "FIELD_NAMED_TYPE_CHANGED" => {
                convention("the two messages read each other's bytes; only the name differs")
            }
            "FIELD_KIND_CHANGED" => {
                convention("both kinds are the same bytes; it protects the code that reads them")
            }
            _ => Evidence::NotFound {
                reason: format!("none of {} records broke", self.attempts),
            },
        }
    }

    /// A payload of the removed message, for which the reader has no type.
    fn message_removed(&mut self, path: &str) -> Option<Witness> {
        let local = local_name(path.strip_prefix("#/")?);
        let root = self
            .writer
            .roots()
            .into_iter()
            .find(|root| root.local == local)?;
        self.attempts += 1;
        if self.reader.counterpart(&local).is_some() {
            return None;
        }
        let message = self.sample_message(root.position)?;
        let payload = values::write(self.writer.types, root.position, &message);
        let json = decode_json(self.writer.schema, &root.indexes, &payload).ok()?;
        let name = &self.writer.types.message(root.position)?.name;
        Some(Witness {
            json,
            payload,
            indexes: root.indexes,
            outcome: Outcome::Refused {
                path: "$".to_owned(),
                reason: format!("the reader's schema has no message for {name}"),
            },
        })
    }

    /// Two fields that the writer may set together, of which the reader keeps one.
    fn gathered_oneof(&mut self, path: &str) -> Option<Witness> {
        let (message, oneof) = path.strip_prefix("#/")?.rsplit_once('/')?;
        let steps = self.ways_to(&local_name(message));
        for step in pairs::targets(&steps, self, &local_name(message)) {
            let pair = steps.get(step)?;
            let (writer, reader) = self.messages(pair)?;
            let place = reader.oneofs.iter().position(|name| name == oneof);
            let members: Vec<&FieldType> = reader
                .fields
                .iter()
                .filter(|field| field.oneof.is_some() && field.oneof == place)
                .filter_map(|field| writer.field(field.number))
                .collect();
            for (at, first) in members.iter().enumerate() {
                for second in members.iter().skip(at + 1) {
                    if first.oneof.is_some() && first.oneof == second.oneof {
                        continue;
                    }
                    for (one, other) in samples::together(self.writer.types, first, second) {
                        let mut message = self.base(pair)?;
                        message.fields.insert(first.number, one);
                        message.fields.insert(second.number, other);
                        for number in [first.number, second.number] {
                            let place = Place {
                                steps: &steps,
                                step,
                                number,
                            };
                            if let Some(witness) = self.attempt(&place, message.clone()) {
                                return Some(witness);
                            }
                        }
                    }
                }
            }
        }
        None
    }

    /// A record that breaks at one field.
    fn field(&mut self, path: &str, kind: &str) -> Option<Witness> {
        let (message, number) = path.strip_prefix("#/")?.rsplit_once('/')?;
        let number: u32 = number.parse().ok()?;
        // The oneof that a field is in stands between it and its message.
        let mut names = vec![local_name(message)];
        names.extend(
            message
                .rsplit_once('/')
                .map(|(message, _)| local_name(message)),
        );
        for local in names {
            let mut steps = self.ways_to(&local);
            for step in pairs::targets(&steps, self, &local) {
                if let Some(witness) = self.try_field(&steps, step, number) {
                    return Some(witness);
                }
                if kind != "FIELD_NAMED_TYPE_CHANGED" {
                    continue;
                }
                let first = steps.len();
                pairs::walk_from(self, &mut steps, step, number);
                for inner in first..steps.len() {
                    if let Some(witness) = self.try_fields(&steps, inner) {
                        return Some(witness);
                    }
                }
                steps.truncate(first);
            }
        }
        None
    }

    /// A record that breaks at any field of a pair of messages.
    fn try_fields(&mut self, steps: &[Step], step: usize) -> Option<Witness> {
        let (writer, reader) = self.messages(steps.get(step)?)?;
        // A field that left a message of the same name is no difference of the reference's.
        let lost_counts = writer.local != reader.local;
        writer
            .fields
            .iter()
            .filter(|field| lost_counts || reader.field(field.number).is_some())
            .find_map(|field| self.try_field(steps, step, field.number))
    }

    fn try_field(&mut self, steps: &[Step], step: usize, number: u32) -> Option<Witness> {
        let pair = steps.get(step)?;
        let (writer, reader) = self.messages(pair)?;
        let place = Place {
            steps,
            step,
            number,
        };
        let bases = self.bases(pair);
        let samples = writer.field(number);
        let samples = samples.map(|field| samples::of_field(self.writer.types, field));
        for sample in samples.unwrap_or_default() {
            for mut message in bases.clone() {
                if self.attempts >= ATTEMPTS_MAX {
                    return None;
                }
                message.fields.insert(number, sample.clone());
                if let Some(witness) = self.attempt(&place, message) {
                    return Some(witness);
                }
            }
        }
        if reader.field(number).is_some_and(|field| field.required) {
            for mut message in bases {
                message.fields.remove(&number);
                if let Some(witness) = self.attempt(&place, message) {
                    return Some(witness);
                }
            }
        }
        None
    }

    /// Wraps the message of a place up to a payload, and decodes it with both schemas.
    fn attempt(&mut self, place: &Place<'_>, message: Message) -> Option<Witness> {
        self.attempts += 1;
        let (root, message) = self.wrap(place, message)?;
        let payload = values::write(self.writer.types, root.writer, &message);
        let id = MessageId(root.writer);
        let mut scratch = ProtobufScratch::default();
        let options = ValidationOptions::default();
        let judged = self
            .writer
            .types
            .validator
            .validate(id, &payload, options, &mut scratch);
        judged.ok()?;
        let written = read(self.writer.types, id, &payload, Unnamed::Drop).ok()?;
        let outcome = self.outcome(place, root, &payload, &written)?;
        let indexes = root.indexes.clone();
        let json = decode_json(self.writer.schema, &indexes, &payload).ok()?;
        Some(Witness {
            json,
            payload,
            indexes,
            outcome,
        })
    }

    fn outcome(
        &self,
        place: &Place<'_>,
        root: &Step,
        payload: &[u8],
        written: &Message,
    ) -> Option<Outcome> {
        let numbers = place.numbers();
        let id = MessageId(root.reader);
        let read = match read(self.reader.types, id, payload, Unnamed::Drop) {
            Ok(message) => message,
            Err(violation) => {
                // What a runtime has read when it looks for required fields, at the end: a message
                // that another member of its oneof put out is not looked at.
                let whole = 0..payload.len();
                let read = match violation.reason {
                    ViolationReason::MissingRequired => {
                        values::read(self.reader.types, id.0, payload, whole, Unnamed::Drop)
                    }
                    _ => None,
                };
                let is_whole = read
                    .as_ref()
                    .is_some_and(|read| is_whole(self.reader.types, id.0, read));
                let own = path_of(self.reader.types, root.reader, &numbers);
                if !is_whole && own.is_some_and(|own| violation.path.starts_with(&own)) {
                    return Some(Outcome::Refused {
                        path: violation.path,
                        reason: violation.detail,
                    });
                }
                // Another difference refuses it too, for readers that look; others read on.
                read?
            }
        };
        let reader = Found::at(self.reader.types, root.reader, &read, &numbers);
        if let Some(reader) = &reader
            && reader.field.required
            && reader.values.is_none()
        {
            return Some(Outcome::Refused {
                path: path_of(self.reader.types, root.reader, &numbers)?,
                reason: format!("required field {:?} is missing", reader.field.name),
            });
        }
        let writer = Found::at(self.writer.types, root.writer, written, &numbers)?;
        let is_same = reader.as_ref().is_some_and(|reader| {
            same::fields(
                (self.writer.types, writer.field, writer.values),
                (self.reader.types, reader.field, reader.values),
            )
        });
        if is_same {
            return None;
        }
        Some(Outcome::Misread {
            path: path_of(self.writer.types, root.writer, &numbers)?,
            written: writer.json(self.writer.types, payload),
            read: reader.map_or(Json::Null, |reader| reader.json(self.reader.types, payload)),
        })
    }

    /// The message of a place inside those on the way to it, and where the way starts.
    fn wrap<'p>(&self, place: &Place<'p>, mut message: Message) -> Option<(&'p Step, Message)> {
        let mut step = place.steps.get(place.step)?;
        for _ in 0..STEPS_MAX {
            let Some((before, number)) = step.from else {
                return Some((step, message));
            };
            step = place.steps.get(before)?;
            let mut outer = self.base(step)?;
            let field = self.writer.types.message(step.writer)?.field(number)?;
            let inner = Value::Message(message);
            let values = match field.count {
                Count::One => Values::One(inner.into()),
                Count::Many { .. } => Values::Many(vec![inner.into()]),
                Count::Map => samples::entry(self.writer.types, field, inner)?,
            };
            outer.fields.insert(number, values);
            message = outer;
        }
        None
    }

    /// The smallest message of a pair: what the writer requires, and what the reader does where
    /// the writer has it.
    fn base(&self, pair: &Step) -> Option<Message> {
        let (writer, reader) = self.messages(pair)?;
        let mut message = samples::required(self.writer.types, pair.writer, 0)?;
        for field in &writer.fields {
            if reader.field(field.number).is_some_and(|own| own.required)
                && !message.fields.contains_key(&field.number)
            {
                let sample = samples::of_field(self.writer.types, field)
                    .into_iter()
                    .next()?;
                message.fields.insert(field.number, sample);
            }
        }
        Some(message)
    }

    /// [`Self::base`], and the same without what only the reader requires, which may be what it
    /// cannot read, or a member of the oneof that is looked at.
    fn bases(&self, pair: &Step) -> Vec<Message> {
        let least = samples::required(self.writer.types, pair.writer, 0);
        let mut bases: Vec<Message> = [self.base(pair), least].into_iter().flatten().collect();
        bases.dedup();
        bases
    }

    /// A message with something in it, if it can hold anything.
    fn sample_message(&self, position: u32) -> Option<Message> {
        samples::messages(self.writer.types, position, 0)
            .into_iter()
            .next()
    }

    fn ways_to(&self, local: &str) -> Vec<Step> {
        pairs::walk(self, local)
    }

    fn messages(
        &self,
        pair: &Step,
    ) -> Option<(&'a super::types::MessageType, &'a super::types::MessageType)> {
        Some((
            self.writer.types.message(pair.writer)?,
            self.reader.types.message(pair.reader)?,
        ))
    }
}

impl Place<'_> {
    /// Field numbers from the payload's message to the place.
    fn numbers(&self) -> Vec<u32> {
        let mut numbers = vec![self.number];
        let mut step = self.steps.get(self.step);
        while let Some((before, number)) = step.and_then(|step| step.from) {
            numbers.push(number);
            step = self.steps.get(before);
            if numbers.len() > STEPS_MAX {
                break;
            }
        }
        numbers.reverse();
        numbers
    }
}

/// A field of a decoded message.
struct Found<'f> {
    field: &'f FieldType,
    values: Option<&'f Values>,
}

impl<'f> Found<'f> {
    /// Follows field numbers, through the first element where a field holds many.
    fn at(types: &'f Types, position: u32, message: &'f Message, numbers: &[u32]) -> Option<Self> {
        let (last, way) = numbers.split_last()?;
        let (mut position, mut message) = (position, message);
        for number in way {
            let field = types.message(position)?.field(*number)?;
            let (kind, item) = match message.fields.get(number)? {
                Values::One(item) => (field.kind, item),
                Values::Many(items) => (field.kind, items.first()?),
                Values::Map(entries) => (types.entry(field.kind)?.1.kind, entries.values().next()?),
            };
            let Value::Message(inner) = &item.value else {
                return None;
            };
            (position, message) = (kind.message()?, inner);
        }
        Some(Self {
            field: types.message(position)?.field(*last)?,
            values: message.fields.get(last),
        })
    }

    /// What stands there; null for what is not set and has no default.
    fn json(&self, types: &Types, payload: &[u8]) -> Json {
        let mut printer = Printer::new(types, payload, false);
        printer.lossy = true;
        let json = match self.values {
            Some(values) => printer.values(self.field, values),
            None => match self.field.count {
                Count::One if self.field.implicit => {
                    let default = default_value(types, self.field.kind);
                    printer.value(self.field.kind, &default, 0)
                }
                Count::One => Ok(Json::Null),
                Count::Many { .. } => Ok(Json::Array(Vec::new())),
                Count::Map => Ok(Json::Object(serde_json::Map::new())),
            },
        };
        json.unwrap_or(Json::Null)
    }
}

/// The path of a place in one schema's names; `None` where the schema has no such field.
fn path_of(types: &Types, position: u32, numbers: &[u32]) -> Option<String> {
    let mut path = "$".to_owned();
    let mut position = Some(position);
    let last = numbers.len().checked_sub(1)?;
    for (at, number) in numbers.iter().enumerate() {
        let field = types.message(position?)?.field(*number)?;
        path.push('.');
        path.push_str(&field.name);
        if at < last {
            match field.count {
                Count::One => {}
                Count::Many { .. } => path.push_str("[0]"),
                Count::Map => path.push_str(&format!("[{}]", samples::key_text(types, field)?)),
            }
        }
        position = match field.count {
            Count::Map => types.entry(field.kind)?.1.kind.message(),
            _ => field.kind.message(),
        };
    }
    Some(path)
}

/// `Outer/Inner` of a difference's path as the name without its package.
fn local_name(path: &str) -> String {
    path.replace('/', ".")
}

/// Whether nothing that is required is missing in a message, or in one inside it.
fn is_whole(types: &Types, position: u32, message: &Message) -> bool {
    let Some(ty) = types.message(position) else {
        return true;
    };
    ty.fields.iter().all(|field| {
        let Some(values) = message.fields.get(&field.number) else {
            return !field.required;
        };
        let Some(inner) = held_message(types, field) else {
            return true;
        };
        let is_whole = |item: &Item| match &item.value {
            Value::Message(message) => is_whole(types, inner, message),
            _ => true,
        };
        match values {
            Values::One(item) => is_whole(item),
            Values::Many(items) => items.iter().all(is_whole),
            Values::Map(entries) => entries.values().all(is_whole),
        }
    })
}

/// The message that values of a field are, entries of a map left aside.
fn held_message(types: &Types, field: &FieldType) -> Option<u32> {
    match field.count {
        Count::Map => types.entry(field.kind)?.1.kind.message(),
        _ => field.kind.message(),
    }
}

/// Whether both kinds put their message's bytes alike.
fn alike(writer: Kind, reader: Kind) -> bool {
    writer.wire() == reader.wire()
}
