//! JSON to a message: the way back of `to_json`, taking all that Protobuf's JSON mapping allows.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value as Json;

use super::to_json::MAX_DEPTH;
use super::types::{Count, FieldType, Kind, Types};
use super::values::{Item, Key, Message, Value, Values};
use super::well_known::{self, WellKnown};
use crate::json_value::EncodeError;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads messages from JSON.
pub(super) struct Builder<'a> {
    pub(super) types: &'a Types,
    /// Where the builder is: `$.lines[2]`.
    pub(super) path: String,
    pub(super) depth: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(types: &'a Types) -> Self {
        Self {
            types,
            path: "$".to_owned(),
            depth: 0,
        }
    }

    /// The message that `json` is.
    pub(super) fn message(&mut self, position: u32, json: &Json) -> Result<Message, EncodeError> {
        if self.depth > MAX_DEPTH {
            return Err(self.error(format!("messages nest deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let well_known = self.types.message(position).and_then(|it| it.well_known);
        let result = match well_known {
            Some(kind) => well_known::from_json(self, kind, position, json),
            None => match json.as_object() {
                Some(object) => self.fields(position, object.iter()),
                None => Err(self.expected("an object", json)),
            },
        };
        self.depth -= 1;
        result
    }

    /// The message whose fields are the given members.
    pub(super) fn fields<'j>(
        &mut self,
        position: u32,
        members: impl Iterator<Item = (&'j String, &'j Json)>,
    ) -> Result<Message, EncodeError> {
        let types = self.types;
        let mut message = Message::default();
        let Some(message_type) = types.message(position) else {
            return Err(self.error("the message is not declared"));
        };
        for (name, json) in members {
            let Some(field) = message_type.field_named(name) else {
                let detail = format!("message {} has no field {name:?}", message_type.name);
                return Err(self.error(detail));
            };
            let length = self.path.len();
            self.path.push('.');
            self.path.push_str(&field.name);
            if let Some(values) = self.values(field, json)? {
                let mut siblings = message_type.fields.iter().filter(|other| {
                    other.number == field.number
                        || field.oneof.is_some() && other.oneof == field.oneof
                });
                if let Some(other) =
                    siblings.find(|other| message.fields.contains_key(&other.number))
                {
                    let detail = if other.number == field.number {
                        "the field is given twice".to_owned()
                    } else {
                        format!("{} of the same oneof is given too", other.name)
                    };
                    return Err(self.error(detail));
                }
                message.fields.insert(field.number, values);
            }
            self.path.truncate(length);
        }
        Ok(message)
    }

    /// What a field holds; `None` for null, which stands for nothing.
    fn values(&mut self, field: &FieldType, json: &Json) -> Result<Option<Values>, EncodeError> {
        if json.is_null() && !(field.count == Count::One && self.takes_null(field.kind)) {
            return Ok(None);
        }
        let length = self.path.len();
        Ok(Some(match field.count {
            Count::One => Values::One(self.value(field.kind, json)?.into()),
            Count::Many { .. } => {
                let elements = json.as_array();
                let elements = elements.ok_or_else(|| self.expected("an array", json))?;
                let mut items: Vec<Item> = Vec::with_capacity(elements.len());
                for (at, element) in elements.iter().enumerate() {
                    self.path.push_str(&format!("[{at}]"));
                    items.push(self.value(field.kind, element)?.into());
                    self.path.truncate(length);
                }
                Values::Many(items)
            }
            Count::Map => {
                let members = json.as_object();
                let members = members.ok_or_else(|| self.expected("an object", json))?;
                let Some((key, value)) = self.types.entry(field.kind) else {
                    return Err(self.error("the map's entry is not declared"));
                };
                let mut entries = std::collections::BTreeMap::new();
                for (name, member) in members {
                    self.path
                        .push_str(&format!("[{}]", Json::String(name.clone())));
                    let key = self.key(key.kind, name)?;
                    entries.insert(key, self.value(value.kind, member)?.into());
                    self.path.truncate(length);
                }
                Values::Map(entries)
            }
        }))
    }

    fn takes_null(&self, kind: Kind) -> bool {
        match kind {
            Kind::Enum(place) => self.types.enum_names(place).is_some_and(|it| it.is_null),
            Kind::Message(position) => {
                let well_known = self.types.message(position).and_then(|it| it.well_known);
                well_known == Some(WellKnown::Value)
            }
            _ => false,
        }
    }

    fn key(&self, kind: Kind, name: &str) -> Result<Key, EncodeError> {
        if kind == Kind::Text {
            return Ok(Key::Text(name.as_bytes().to_vec()));
        }
        let json = match kind {
            Kind::Bool => match name {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => return Err(self.error("the key is neither true nor false")),
            },
            _ => Json::String(name.to_owned()),
        };
        Key::of(self.scalar(kind, &json)?).ok_or_else(|| self.error("the key is of no key type"))
    }

    /// One value.
    pub(super) fn value(&mut self, kind: Kind, json: &Json) -> Result<Value, EncodeError> {
        match kind.message() {
            Some(position) => self.message(position, json).map(Value::Message),
            None => self.scalar(kind, json),
        }
    }

    fn scalar(&self, kind: Kind, json: &Json) -> Result<Value, EncodeError> {
        match kind {
            Kind::Double => self.float(json).map(Value::Double),
            Kind::Float => {
                let number = self.float(json)?;
                #[expect(clippy::cast_possible_truncation, reason = "what float means")]
                let narrow = number as f32;
                if narrow.is_infinite() && number.is_finite() {
                    return Err(self.error("the number is out of float's range"));
                }
                Ok(Value::Float(narrow))
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                let (low, high) = (i128::from(i32::MIN), i128::from(i32::MAX));
                let number = self.integer(json, low, high)?;
                Ok(Value::Signed(i64::try_from(number).unwrap_or_default()))
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                let (low, high) = (i128::from(i64::MIN), i128::from(i64::MAX));
                let number = self.integer(json, low, high)?;
                Ok(Value::Signed(i64::try_from(number).unwrap_or_default()))
            }
            Kind::Uint32 | Kind::Fixed32 => {
                let number = self.integer(json, 0, i128::from(u32::MAX))?;
                Ok(Value::Unsigned(u64::try_from(number).unwrap_or_default()))
            }
            Kind::Uint64 | Kind::Fixed64 => {
                let number = self.integer(json, 0, i128::from(u64::MAX))?;
                Ok(Value::Unsigned(u64::try_from(number).unwrap_or_default()))
            }
            Kind::Bool => {
                let value = json.as_bool();
                value
                    .map(Value::Bool)
                    .ok_or_else(|| self.expected("a boolean", json))
            }
            Kind::Text => {
                let text = json
                    .as_str()
                    .ok_or_else(|| self.expected("a string", json))?;
                Ok(Value::Bytes(text.as_bytes().to_vec()))
            }
            Kind::Bytes => {
                let text = json
                    .as_str()
                    .ok_or_else(|| self.expected("base64 text", json))?;
                self.base64(text).map(Value::Bytes)
            }
            Kind::Enum(place) => self.enum_number(place, json).map(Value::Enum),
            Kind::Message(_) | Kind::Group(_) => Err(self.error("a message where none can be")),
        }
    }

    /// The bytes that base64 text stands for, in either alphabet.
    pub(super) fn base64(&self, text: &str) -> Result<Vec<u8>, EncodeError> {
        let engine = if text.contains(['-', '_']) {
            BASE64_URL
        } else {
            BASE64
        };
        engine
            .decode(text)
            .map_err(|error| self.error(format!("the text is not base64: {error}")))
    }

    fn enum_number(&self, place: u32, json: &Json) -> Result<i32, EncodeError> {
        let names = self.types.enum_names(place);
        match json {
            Json::Null if names.is_some_and(|names| names.is_null) => Ok(0),
            Json::String(name) => names
                .and_then(|names| names.number(name))
                .ok_or_else(|| self.error(format!("the enum has no constant {name:?}"))),
            Json::Number(_) => {
                let (low, high) = (i128::from(i32::MIN), i128::from(i32::MAX));
                let number = self.integer(json, low, high)?;
                Ok(i32::try_from(number).unwrap_or_default())
            }
            _ => Err(self.expected("an enum's name or number", json)),
        }
    }

    fn integer(&self, json: &Json, low: i128, high: i128) -> Result<i128, EncodeError> {
        let number = match json {
            Json::Number(number) => {
                let whole = number.as_i128().or_else(|| {
                    let number = number.as_f64()?;
                    // Past this a double has gaps of one and more, and the cast saturates.
                    #[expect(clippy::cast_possible_truncation, reason = "in range, as compared")]
                    let whole =
                        (number.fract() == 0.0 && number.abs() < 1e30).then_some(number as i128);
                    whole
                });
                whole.ok_or_else(|| self.error("the number is not whole"))?
            }
            Json::String(text) => text
                .parse::<i128>()
                .map_err(|_| self.error("the text is not a whole number"))?,
            _ => return Err(self.expected("a whole number", json)),
        };
        if (low..=high).contains(&number) {
            Ok(number)
        } else {
            Err(self.error(format!("the number is not within {low} to {high}")))
        }
    }

    fn float(&self, json: &Json) -> Result<f64, EncodeError> {
        match json {
            Json::Number(number) => number
                .as_f64()
                .ok_or_else(|| self.error("the number is out of range")),
            Json::String(text) => match text.as_str() {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                _ => text
                    .parse()
                    .ok()
                    .filter(|number: &f64| number.is_finite())
                    .ok_or_else(|| self.error("the text is not a number")),
            },
            _ => Err(self.expected("a number", json)),
        }
    }

    /// An error at the place where the builder is.
    pub(super) fn error(&self, message: impl Into<String>) -> EncodeError {
        EncodeError {
            path: self.path.clone(),
            message: message.into(),
        }
    }

    /// An error that says what was expected and what kind of JSON was found.
    pub(super) fn expected(&self, wanted: &str, found: &Json) -> EncodeError {
        let found = match found {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        };
        self.error(format!("expected {wanted}, found {found}"))
    }
}
