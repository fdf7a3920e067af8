//! Avro reader/writer compatibility with every difference, as the reference reports it.
//!
//! Source: Avro Java 1.12 `SchemaCompatibility`; texts from Confluent's Avro `Difference`.
//! Logical types, properties, docs and orders never matter. Two things look odd and are kept,
//! because recorded answers depend on them: a pair met again keeps the locations of its first
//! visit, and a search through a reader's union starts its locations afresh.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::canonical;
use super::model::{Field, Header, Kind, Model, Type, TypeId};
use crate::compatibility::Incompatibility;

/// Deepest chain of nested pairs followed, above what schemas without cycles can reach. Beyond, as
/// cyclic types of large coprime lengths can be, the schemas count as incompatible.
const DEPTH_MAX: usize = 400;

/// Most differences of one pair. Types shared many times over repeat theirs at every use.
const DIFFERENCES_MAX: usize = 1000;

/// Most differences kept of all pairs together.
const KEPT_MAX: usize = 200_000;

/// Most bytes of their texts.
const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most pairs of types looked at, in the reference's manner and by name. The second is for unions of
/// some hundred records.
const PAIRS_MAX: [usize; 2] = [60_000, 200_000];

/// Most names looked up over all pairs, in the reference's manner and by name.
const LOOKUPS_MAX: [usize; 2] = [500_000, 1_500_000];

/// Bytes of a long name that take as long as another look-up.
const LOOKUP_BYTES: usize = 32;

/// Every reason `reader` cannot read what `writer` wrote. Schemas that pass a limit are
/// incompatible, for that reason alone.
pub(super) fn compare(reader: &Model, writer: &Model) -> Vec<Incompatibility> {
    let exact = Comparison::new(reader, writer, Manner::Reference).whole();
    let found = match exact {
        Err(Stop::Limit(_)) => Comparison::new(reader, writer, Manner::ByName).whole(),
        exact => exact,
    };
    match found {
        Ok(differences) => reports(&differences),
        Err(Stop::Exception(exception) | Stop::Limit(exception)) => {
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

/// Where the differences really stand, in the order of [`compare`]; nothing when they were not found
/// in the reference's manner.
pub(super) fn locations(reader: &Model, writer: &Model) -> Vec<String> {
    let Ok(differences) = Comparison::new(reader, writer, Manner::Located).whole() else {
        return Vec::new();
    };
    let locations = differences.iter().map(|d| d.location.to_string());
    locations.collect()
}

/// Whether the reference sees nothing wrong with two types.
pub(super) fn is_compatible(reader: &Model, writer: &Model, pair: (TypeId, TypeId)) -> bool {
    let mut comparison = Comparison::new(reader, writer, Manner::ByName);
    let found = comparison.pair(pair.0, pair.1, &mut Location::root());
    found.is_ok_and(|differences| differences.is_empty())
}

/// How two schemas are compared. The verdict is the same in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// As the reference does.
    Reference,
    /// Branches of unions are told apart by name before they are compared: large unions are within
    /// the limits then. A difference met again may have another location than the reference's.
    ByName,
    /// A difference met again has the location where it is met.
    Located,
}

impl Manner {
    /// A limit of this manner.
    const fn of(self, [reference, by_name]: [usize; 2]) -> usize {
        match self {
            Self::Reference | Self::Located => reference,
            Self::ByName => by_name,
        }
    }
}

/// Why there is no list of differences.
enum Stop {
    /// The reference throws here; the text is the exception's.
    Exception(String),
    /// A limit of ours is passed.
    Limit(String),
}

type Differences = Rc<Vec<Difference>>;

type FieldsByName<'a> = Rc<HashMap<&'a str, &'a Field>>;

struct Comparison<'a> {
    reader: &'a Model,
    writer: &'a Model,
    manner: Manner,
    /// Results by pair; `None` while the pair is being compared.
    memo: HashMap<(TypeId, TypeId), Option<Differences>>,
    /// Where pairs were entered, when differences are located.
    entered: HashMap<(TypeId, TypeId), String>,
    /// Fields of the writer's records by name.
    written: HashMap<TypeId, FieldsByName<'a>>,
    /// Texts of differences: many pairs have the same.
    texts: HashSet<Rc<str>>,
    text_bytes: usize,
    /// Differences in `memo`.
    kept: usize,
    depth: usize,
    lookups: usize,
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

    /// What locations below this one begin with.
    fn prefix(&self) -> String {
        match self.0.is_empty() {
            true => String::new(),
            false => self.text(),
        }
    }

    /// The location of `token` directly below this one.
    fn child_text(&self, token: &str) -> String {
        match self.0.is_empty() {
            true => format!("/{token}"),
            false => format!("/{}/{token}", self.0.join("/")),
        }
    }
}

/// As the reference tells them; no more than fits the limit for texts, but the first.
fn reports(differences: &[Difference]) -> Vec<Incompatibility> {
    let mut bytes = 0;
    let told = differences.iter().take_while(|difference| {
        let is_first = bytes == 0;
        bytes += difference.location.len() + difference.message.len();
        is_first || bytes <= TEXT_BYTES_MAX
    });
    told.map(Difference::report).collect()
}

fn merge(into: &mut Vec<Difference>, from: &[Difference]) {
    let room = DIFFERENCES_MAX.saturating_sub(into.len());
    into.extend(from.iter().take(room).cloned());
}

impl<'a> Comparison<'a> {
    fn new(reader: &'a Model, writer: &'a Model, manner: Manner) -> Self {
        Self {
            reader,
            writer,
            manner,
            memo: HashMap::new(),
            entered: HashMap::new(),
            written: HashMap::new(),
            texts: HashSet::new(),
            text_bytes: 0,
            kept: 0,
            depth: 0,
            lookups: 0,
        }
    }

    fn whole(mut self) -> Result<Differences, Stop> {
        self.pair(self.reader.root, self.writer.root, &mut Location::root())
    }

    fn pair(
        &mut self,
        reader: TypeId,
        writer: TypeId,
        at: &mut Location,
    ) -> Result<Differences, Stop> {
        match self.memo.get(&(reader, writer)) {
            Some(Some(differences)) => {
                let differences = Rc::clone(differences);
                return self.met_again(differences, (reader, writer), at);
            }
            // Compatible unless proven otherwise where it was entered.
            Some(None) => return Ok(Rc::default()),
            None => {}
        }
        if self.depth >= DEPTH_MAX {
            let limit = format!("schemas nest deeper than {DEPTH_MAX} levels");
            return Err(Stop::Limit(limit));
        }
        let pairs_max = self.manner.of(PAIRS_MAX);
        if self.memo.len() >= pairs_max {
            let limit = format!("more than {pairs_max} pairs of types to compare");
            return Err(Stop::Limit(limit));
        }
        self.memo.insert((reader, writer), None);
        if self.manner == Manner::Located {
            self.entered.insert((reader, writer), at.prefix());
        }
        self.depth += 1;
        let differences = Rc::new(self.decide(reader, writer, at)?);
        self.depth -= 1;
        self.kept += differences.len();
        if self.kept > KEPT_MAX {
            return Err(Stop::Limit(format!("more than {KEPT_MAX} differences")));
        }
        self.memo
            .insert((reader, writer), Some(Rc::clone(&differences)));
        Ok(differences)
    }

    /// The differences of a pair that was entered elsewhere.
    fn met_again(
        &mut self,
        differences: Differences,
        pair: (TypeId, TypeId),
        at: &Location,
    ) -> Result<Differences, Stop> {
        let Some(entered) = self.entered.get(&pair) else {
            return Ok(differences);
        };
        let (entered, here) = (entered.clone(), at.prefix());
        if entered == here {
            return Ok(differences);
        }
        let mut moved = Vec::with_capacity(differences.len());
        for difference in differences.iter() {
            let below = difference.location.strip_prefix(entered.as_str());
            let location = match below {
                // The root's own location.
                Some("/") if entered.is_empty() => here.clone(),
                Some(below) => format!("{here}{below}"),
                None => difference.location.to_string(),
            };
            moved.push(Difference {
                location: self.text(location)?,
                ..difference.clone()
            });
        }
        Ok(Rc::new(moved))
    }

    /// Whether a branch is incompatible for what it is called.
    fn is_other(&mut self, branch: TypeId, writer: &Type) -> Result<bool, Stop> {
        let reader = self.reader.get(branch);
        match (reader.header(), writer.header()) {
            (Some(own), Some(written)) => {
                self.look_up(&written.name.simple)?;
                own.aliases
                    .iter()
                    .try_for_each(|a| self.look_up(&a.simple))?;
                Ok(reader.word() != writer.word() || !names_agree(own, written))
            }
            (own, written) => Ok(own.is_some() != written.is_some()),
        }
    }

    /// Counts a look at `text`.
    fn look_up(&mut self, text: &str) -> Result<(), Stop> {
        self.lookups += 1 + text.len() / LOOKUP_BYTES;
        let lookups_max = self.manner.of(LOOKUPS_MAX);
        match self.lookups > lookups_max {
            true => Err(Stop::Limit(format!(
                "more than {lookups_max} names to look up"
            ))),
            false => Ok(()),
        }
    }

    /// Adds a difference.
    fn report(
        &mut self,
        kind: ErrorType,
        location: String,
        message: String,
        found: &mut Vec<Difference>,
    ) -> Result<(), Stop> {
        let difference = Difference {
            kind,
            location: self.text(location)?,
            message: self.text(message)?,
        };
        merge(found, &[difference]);
        Ok(())
    }

    fn text(&mut self, text: String) -> Result<Rc<str>, Stop> {
        if let Some(known) = self.texts.get(text.as_str()) {
            return Ok(Rc::clone(known));
        }
        self.text_bytes += text.len();
        if self.text_bytes > TEXT_BYTES_MAX {
            return Err(Stop::Limit(format!(
                "texts of the differences have more than {TEXT_BYTES_MAX} bytes"
            )));
        }
        let text: Rc<str> = text.into();
        self.texts.insert(Rc::clone(&text));
        Ok(text)
    }

    fn below(
        &mut self,
        token: &str,
        reader: TypeId,
        writer: TypeId,
        at: &mut Location,
    ) -> Result<Differences, Stop> {
        at.0.push(token.to_owned());
        let differences = self.pair(reader, writer, at);
        at.0.pop();
        differences
    }

    // Frames of this and what calls it again are many: what needs room has a function of its own.
    fn decide(
        &mut self,
        reader_id: TypeId,
        writer_id: TypeId,
        at: &mut Location,
    ) -> Result<Vec<Difference>, Stop> {
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
            (Kind::Fixed { .. }, Kind::Fixed { .. }) => {
                self.check_names(reader, writer, at, &mut found)?;
                self.check_sizes(reader, writer, at, &mut found)?;
            }
            (Kind::Enum { .. }, Kind::Enum { .. }) => {
                self.check_names(reader, writer, at, &mut found)?;
                self.check_symbols(reader, writer, at, &mut found)?;
            }
            (Kind::Record { fields, .. }, Kind::Record { .. }) => {
                self.check_names(reader, writer, at, &mut found)?;
                self.check_fields(fields, writer_id, at, &mut found)?;
            }
            (Kind::Union(_), Kind::Union(branches)) => {
                for (i, branch) in branches.iter().enumerate() {
                    let inner = self.pair(reader_id, *branch, &mut Location::root())?;
                    if !inner.is_empty() {
                        let location = at.child_text(&i.to_string());
                        self.missing_branch(writer_model.get(*branch), location, &mut found)?;
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
                    if self.manner == Manner::ByName && self.is_other(*branch, writer)? {
                        continue;
                    }
                    let inner = self.pair(*branch, writer_id, &mut Location::root())?;
                    if inner.is_empty() {
                        return Ok(found);
                    }
                }
                self.missing_branch(writer, at.text(), &mut found)?;
            }
            _ => {
                let message = mismatch(reader, writer);
                self.report(ErrorType::TypeMismatch, at.text(), message, &mut found)?;
            }
        }
        Ok(found)
    }

    fn check_fields(
        &mut self,
        fields: &[Field],
        writer_id: TypeId,
        at: &mut Location,
        found: &mut Vec<Difference>,
    ) -> Result<(), Stop> {
        let by_name = self.written_fields(writer_id);
        at.0.push("fields".to_owned());
        for (position, field) in fields.iter().enumerate() {
            let written = self.written_as(field, position, &by_name, writer_id)?;
            at.0.push(position.to_string());
            let has_enum_default = matches!(
                &self.reader.get(field.ty).kind,
                Kind::Enum {
                    default: Some(_),
                    ..
                }
            );
            match written {
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
                None => {
                    let kind = ErrorType::ReaderFieldMissingDefaultValue;
                    self.report(kind, at.text(), field.name.clone(), found)?;
                }
            }
            at.0.pop();
        }
        at.0.pop();
        Ok(())
    }

    fn written_fields(&mut self, writer: TypeId) -> FieldsByName<'a> {
        let fields = match &self.writer.get(writer).kind {
            Kind::Record { fields, .. } => fields.as_slice(),
            _ => &[],
        };
        let named = || fields.iter().map(|field| (field.name.as_str(), field));
        let by_name = self.written.entry(writer);
        Rc::clone(by_name.or_insert_with(|| Rc::new(named().collect())))
    }

    /// The writer's field that `field` is read from: the one of its name or of an alias.
    fn written_as(
        &mut self,
        field: &Field,
        position: usize,
        by_name: &FieldsByName<'a>,
        writer: TypeId,
    ) -> Result<Option<&'a Field>, Stop> {
        let mut matches: Vec<&'a Field> = Vec::new();
        for name in std::iter::once(&field.name).chain(&field.aliases) {
            self.look_up(name)?;
            matches.extend(by_name.get(name.as_str()));
        }
        match matches.as_slice() {
            [] => Ok(None),
            [written] => Ok(Some(*written)),
            _ => Err(Stop::Exception(format!(
                "Reader record field {} type:{} pos:{position} matches multiple fields in writer \
                 record schema {}",
                field.name,
                self.reader.get(field.ty).word().to_uppercase(),
                canonical::type_text(self.writer, writer)
            ))),
        }
    }

    fn missing_branch(
        &mut self,
        writer: &Type,
        location: String,
        found: &mut Vec<Difference>,
    ) -> Result<(), Stop> {
        self.report(
            ErrorType::MissingUnionBranch,
            location,
            lacking(writer),
            found,
        )
    }

    fn check_names(
        &mut self,
        reader: &Type,
        writer: &Type,
        at: &Location,
        found: &mut Vec<Difference>,
    ) -> Result<(), Stop> {
        let (Some(reader), Some(writer)) = (reader.header(), writer.header()) else {
            return Ok(());
        };
        self.look_up(&writer.name.simple)?;
        for alias in &reader.aliases {
            self.look_up(&alias.simple)?;
        }
        if names_agree(reader, writer) {
            return Ok(());
        }
        let message = format!("expected: {}", writer.name.full());
        self.report(
            ErrorType::NameMismatch,
            at.child_text("name"),
            message,
            found,
        )
    }

    fn check_sizes(
        &mut self,
        reader: &Type,
        writer: &Type,
        at: &Location,
        found: &mut Vec<Difference>,
    ) -> Result<(), Stop> {
        match (&reader.kind, &writer.kind) {
            (Kind::Fixed { size: own, .. }, Kind::Fixed { size, .. }) if own != size => {
                let message = format!("expected: {size}, found: {own}");
                let location = at.child_text("size");
                self.report(ErrorType::FixedSizeMismatch, location, message, found)
            }
            _ => Ok(()),
        }
    }

    fn check_symbols(
        &mut self,
        reader: &Type,
        writer: &Type,
        at: &Location,
        found: &mut Vec<Difference>,
    ) -> Result<(), Stop> {
        for ty in [reader, writer] {
            if let Kind::Enum { symbols, .. } = &ty.kind {
                symbols.iter().try_for_each(|symbol| self.look_up(symbol))?;
            }
        }
        let missing = missing_symbols(reader, writer);
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("[{}]", missing.join(", "));
        let location = at.child_text("symbols");
        self.report(ErrorType::MissingEnumSymbols, location, message, found)
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
