//! Avro reader/writer compatibility with every difference, as the reference reports it.
//!
//! Source: Avro Java 1.12 `SchemaCompatibility`; texts from Confluent's Avro `Difference`.
//! Logical types, properties, docs and orders never matter. Two things look odd and are kept,
//! because recorded answers depend on them: a pair met again keeps the locations of its first
//! visit, and a search through a reader's union starts its locations afresh.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::canonical;
use super::model::{Field, Header, Kind, Model, Type, TypeId};
use crate::compatibility::Incompatibility;

/// Deepest chain of nested pairs followed, above what schemas without cycles can reach. Beyond, as
/// cyclic types of large coprime lengths can be, the schemas count as incompatible.
const DEPTH_MAX: usize = 400;

/// Most differences kept. Types shared many times over repeat theirs at every use.
const DIFFERENCES_MAX: usize = 1000;

/// Most pairs of types looked at: two unions of a thousand records each. Beyond, the schemas count
/// as incompatible.
const PAIRS_MAX: usize = 1_000_000;

/// Every reason `reader` cannot read what `writer` wrote.
pub(super) fn compare(reader: &Model, writer: &Model) -> Vec<Incompatibility> {
    let mut comparison = Comparison {
        reader,
        writer,
        memo: HashMap::new(),
        depth: 0,
    };
    match comparison.pair(reader.root, writer.root, &mut Location::root()) {
        Ok(differences) => differences.iter().map(Difference::report).collect(),
        Err(exception) => {
            let text = format!("Unexpected exception during compatibility check: {exception}");
            vec![Incompatibility {
                kind: "UNEXPECTED_EXCEPTION",
                path: "/".to_owned(),
                description: text.clone(),
                additional_info: String::new(),
                message: text,
            }]
        }
    }
}

/// The reference throws here; the text is the exception's.
type Exception = String;

type Differences = Rc<Vec<Difference>>;

struct Comparison<'a> {
    reader: &'a Model,
    writer: &'a Model,
    /// Results by pair; `None` while the pair is being compared.
    memo: HashMap<(TypeId, TypeId), Option<Differences>>,
    depth: usize,
}

#[derive(Debug, Clone)]
struct Difference {
    kind: ErrorType,
    location: Rc<str>,
    /// Avro's own message.
    message: Rc<str>,
}

/// Avro's six error types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorType {
    NameMismatch,
    FixedSizeMismatch,
    MissingEnumSymbols,
    ReaderFieldMissingDefaultValue,
    TypeMismatch,
    MissingUnionBranch,
}

impl Difference {
    fn report(&self) -> Incompatibility {
        let (at, message) = (&self.location, &self.message);
        let (kind, description) = match self.kind {
            ErrorType::NameMismatch => (
                "NAME_MISMATCH",
                format!("The name of the schema has changed (path '{at}')"),
            ),
            ErrorType::FixedSizeMismatch => (
                "FIXED_SIZE_MISMATCH",
                format!(
                    "The size of FIXED type field at path '{at}' in the %s schema does not match \
                     with the %s schema"
                ),
            ),
            ErrorType::MissingEnumSymbols => (
                "MISSING_ENUM_SYMBOLS",
                format!(
                    "The %s schema is missing enum symbols '{message}' at path '{at}' in the %s \
                     schema"
                ),
            ),
            ErrorType::ReaderFieldMissingDefaultValue => (
                "READER_FIELD_MISSING_DEFAULT_VALUE",
                format!(
                    "The field '{message}' at path '{at}' in the %s schema has no default value \
                     and is missing in the %s schema"
                ),
            ),
            ErrorType::TypeMismatch => (
                "TYPE_MISMATCH",
                format!(
                    "The type (path '{at}') of a field in the %s schema does not match with the \
                     %s schema"
                ),
            ),
            ErrorType::MissingUnionBranch => (
                "MISSING_UNION_BRANCH",
                format!(
                    "The %s schema is missing a type inside a union field at path '{at}' in the \
                     %s schema"
                ),
            ),
        };
        Incompatibility {
            kind,
            path: at.to_string(),
            message: format!(
                "{{errorType:'{kind}', description:'{description}', additionalInfo:'{message}'}}"
            ),
            description,
            additional_info: message.to_string(),
        }
    }
}

/// Where in the reader's schema the comparison is, as JSON pointer tokens.
struct Location(Vec<String>);

impl Location {
    fn root() -> Self {
        Self(Vec::new())
    }

    fn text(&self) -> String {
        format!("/{}", self.0.join("/"))
    }

    /// The location of `token` directly below this one.
    fn child_text(&self, token: &str) -> String {
        match self.0.is_empty() {
            true => format!("/{token}"),
            false => format!("/{}/{token}", self.0.join("/")),
        }
    }
}

fn one(kind: ErrorType, location: String, message: String) -> Vec<Difference> {
    vec![Difference {
        kind,
        location: location.into(),
        message: message.into(),
    }]
}

fn merge(into: &mut Vec<Difference>, from: &[Difference]) {
    let room = DIFFERENCES_MAX.saturating_sub(into.len());
    into.extend(from.iter().take(room).cloned());
}

impl Comparison<'_> {
    fn pair(
        &mut self,
        reader: TypeId,
        writer: TypeId,
        at: &mut Location,
    ) -> Result<Differences, Exception> {
        match self.memo.get(&(reader, writer)) {
            Some(Some(differences)) => return Ok(Rc::clone(differences)),
            // Compatible unless proven otherwise where it was entered.
            Some(None) => return Ok(Rc::default()),
            None => {}
        }
        if self.depth >= DEPTH_MAX {
            return Err(format!("schemas nest deeper than {DEPTH_MAX} levels"));
        }
        if self.memo.len() >= PAIRS_MAX {
            return Err(format!("more than {PAIRS_MAX} pairs of types to compare"));
        }
        self.memo.insert((reader, writer), None);
        self.depth += 1;
        let differences = Rc::new(self.decide(reader, writer, at)?);
        self.depth -= 1;
        self.memo
            .insert((reader, writer), Some(Rc::clone(&differences)));
        Ok(differences)
    }

    fn below(
        &mut self,
        token: &str,
        reader: TypeId,
        writer: TypeId,
        at: &mut Location,
    ) -> Result<Differences, Exception> {
        at.0.push(token.to_owned());
        let differences = self.pair(reader, writer, at);
        at.0.pop();
        differences
    }

    fn decide(
        &mut self,
        reader_id: TypeId,
        writer_id: TypeId,
        at: &mut Location,
    ) -> Result<Vec<Difference>, Exception> {
        let (reader_model, writer_model) = (self.reader, self.writer);
        let (reader, writer) = (reader_model.get(reader_id), writer_model.get(writer_id));
        let mut found = Vec::new();
        match (&reader.kind, &writer.kind) {
            (Kind::Null, Kind::Null)
            | (Kind::Boolean, Kind::Boolean)
            | (Kind::Int, Kind::Int)
            | (Kind::Long, Kind::Long | Kind::Int)
            | (Kind::Float, Kind::Float | Kind::Int | Kind::Long)
            | (Kind::Double, Kind::Double | Kind::Int | Kind::Long | Kind::Float)
            | (Kind::Bytes | Kind::String, Kind::Bytes | Kind::String) => {}
            (Kind::Array(reader), Kind::Array(writer)) => {
                merge(&mut found, &self.below("items", *reader, *writer, at)?);
            }
            (Kind::Map(reader), Kind::Map(writer)) => {
                merge(&mut found, &self.below("values", *reader, *writer, at)?);
            }
            (
                Kind::Fixed {
                    header: reader_header,
                    size: reader_size,
                },
                Kind::Fixed {
                    header: writer_header,
                    size: writer_size,
                },
            ) => {
                found = check_names(reader_header, writer_header, at);
                if reader_size != writer_size {
                    found.extend(one(
                        ErrorType::FixedSizeMismatch,
                        at.child_text("size"),
                        format!("expected: {writer_size}, found: {reader_size}"),
                    ));
                }
            }
            (Kind::Enum { header: r, .. }, Kind::Enum { header: w, .. }) => {
                found = check_names(r, w, at);
                found.extend(check_symbols(reader, writer, at));
            }
            (
                Kind::Record {
                    header: r, fields, ..
                },
                Kind::Record {
                    header: w,
                    fields: written,
                    ..
                },
            ) => {
                found = check_names(r, w, at);
                self.check_fields(fields, written, writer_id, at, &mut found)?;
            }
            (Kind::Union(_), Kind::Union(branches)) => {
                for (i, branch) in branches.iter().enumerate() {
                    let inner = self.pair(reader_id, *branch, &mut Location::root())?;
                    if !inner.is_empty() {
                        let missing = one(
                            ErrorType::MissingUnionBranch,
                            at.child_text(&i.to_string()),
                            lacking(writer_model.get(*branch)),
                        );
                        merge(&mut found, &missing);
                    }
                }
            }
            (_, Kind::Union(branches)) => {
                for (i, branch) in branches.iter().enumerate() {
                    let inner = self.below(&i.to_string(), reader_id, *branch, at)?;
                    merge(&mut found, &inner);
                }
            }
            (Kind::Union(branches), _) => {
                for branch in branches {
                    let inner = self.pair(*branch, writer_id, &mut Location::root())?;
                    if inner.is_empty() {
                        return Ok(found);
                    }
                }
                found = one(ErrorType::MissingUnionBranch, at.text(), lacking(writer));
            }
            _ => {
                found = one(ErrorType::TypeMismatch, at.text(), mismatch(reader, writer));
            }
        }
        Ok(found)
    }

    fn check_fields(
        &mut self,
        fields: &[Field],
        written: &[Field],
        writer_id: TypeId,
        at: &mut Location,
        found: &mut Vec<Difference>,
    ) -> Result<(), Exception> {
        let by_name: HashMap<&str, &Field> = written.iter().map(|f| (f.name.as_str(), f)).collect();
        at.0.push("fields".to_owned());
        for (position, field) in fields.iter().enumerate() {
            let names = std::iter::once(&field.name).chain(&field.aliases);
            let matches: Vec<&Field> = names
                .filter_map(|name| by_name.get(name.as_str()).copied())
                .collect();
            let ([] | [_]) = matches.as_slice() else {
                return Err(format!(
                    "Reader record field {} type:{} pos:{position} matches multiple fields in \
                     writer record schema {}",
                    field.name,
                    self.reader.get(field.ty).word().to_uppercase(),
                    canonical::type_text(self.writer, writer_id)
                ));
            };
            at.0.push(position.to_string());
            let has_enum_default = matches!(
                &self.reader.get(field.ty).kind,
                Kind::Enum {
                    default: Some(_),
                    ..
                }
            );
            match matches.first() {
                Some(written) => {
                    let inner = self.below("type", field.ty, written.ty, at)?;
                    merge(found, &inner);
                }
                None if field.default.is_some() => {}
                // The reference compares the enum with the whole writer record.
                None if has_enum_default => {
                    let inner = self.below("type", field.ty, writer_id, at)?;
                    merge(found, &inner);
                }
                None => merge(
                    found,
                    &one(
                        ErrorType::ReaderFieldMissingDefaultValue,
                        at.text(),
                        field.name.clone(),
                    ),
                ),
            }
            at.0.pop();
        }
        at.0.pop();
        Ok(())
    }
}

/// Avro's message for two types of which one is not read as the other.
pub(super) fn mismatch(reader: &Type, writer: &Type) -> String {
    format!(
        "reader type: {} not compatible with writer type: {}",
        reader.word().to_uppercase(),
        writer.word().to_uppercase()
    )
}

/// Avro's message for a type that no branch of the reader's union reads.
pub(super) fn lacking(writer: &Type) -> String {
    format!(
        "reader union lacking writer type: {}",
        writer.word().to_uppercase()
    )
}

/// Names agree when the unqualified names do, or an alias of the reader is the writer's full name.
pub(super) fn names_agree(reader: &Header, writer: &Header) -> bool {
    reader.name.simple == writer.name.simple || reader.aliases.contains(&writer.name)
}

fn check_names(reader: &Header, writer: &Header, at: &Location) -> Vec<Difference> {
    if names_agree(reader, writer) {
        return Vec::new();
    }
    one(
        ErrorType::NameMismatch,
        at.child_text("name"),
        format!("expected: {}", writer.name.full()),
    )
}

fn check_symbols(reader: &Type, writer: &Type, at: &Location) -> Option<Difference> {
    let missing = missing_symbols(reader, writer);
    (!missing.is_empty()).then(|| Difference {
        kind: ErrorType::MissingEnumSymbols,
        location: at.child_text("symbols").into(),
        message: format!("[{}]", missing.join(", ")).into(),
    })
}

/// Symbols of the writer's enum that the reader's has not, sorted; none if it has a default.
pub(super) fn missing_symbols<'a>(reader: &Type, writer: &'a Type) -> Vec<&'a str> {
    let (
        Kind::Enum {
            symbols: readable,
            default: None,
            ..
        },
        Kind::Enum {
            symbols: written, ..
        },
    ) = (&reader.kind, &writer.kind)
    else {
        return Vec::new();
    };
    let readable: BTreeSet<&str> = readable.iter().map(String::as_str).collect();
    let written: BTreeSet<&str> = written.iter().map(String::as_str).collect();
    let missing = written
        .into_iter()
        .filter(|symbol| !readable.contains(symbol));
    missing.collect()
}
