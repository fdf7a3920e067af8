//! Protobuf: `.proto` text and descriptors in; canonical text, verdicts and validators out.
//!
//! | module | what it does |
//! |---|---|
//! | `lex`, `parse_text`, `parse_members`, `parse_options`, `ast` | text to a tree that keeps what the printer needs |
//! | `limits` | how much one schema may declare |
//! | `descriptor_size` | what a descriptor costs, before it is decoded |
//! | `from_descriptor` | a base64 `FileDescriptorProto` to the same tree |
//! | `print`, `normalize`, `serialized`, `option_numbers` | the tree to the reference's texts and bytes |
//! | `resolve`, `bundled` | what a name means; the files known without reference |
//! | `link/`, `compile` | the tree and its references to linked files, by the rules of `protoc` |
//! | `stored` | what the reference refuses even in a stored schema |
//! | `tables`, `validate` | linked files to flat tables, and the walker over payload bytes |
//! | `compatibility` | two trees to differences |
//! | `caveats` | what those differences miss |
//! | `outline` | the tree to a flat list of types and fields |
//! | `types`, `values` | what fields mean, and a payload as a tree of values |
//! | `json`, `to_json`, `from_json`, `well_known` | payloads to JSON and back |
//! | `witness` | records that show a difference |
//!
//! Editions 2023 and 2024 are read, printed and validated like the other two languages; the
//! reference refuses them.

mod ast;
mod bundled;
mod caveats;
mod compatibility;
mod compile;
mod descriptor_size;
mod fast;
mod from_descriptor;
mod from_json;
mod json;
mod lex;
mod limits;
mod link;
mod normalize;
mod option_numbers;
mod outline;
mod parse_members;
mod parse_options;
mod parse_text;
mod print;
mod resolve;
mod serialized;
mod stored;
mod tables;
mod tags;
mod to_json;
mod types;
mod used;
mod validate;
mod values;
mod well_known;
mod witness;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use self::ast::ProtoFile;
pub use self::caveats::caveats;
pub use self::compatibility::compare;
use self::compile::Linked;
pub use self::json::{decode_json, decode_with_spans, encode_json};
use self::limits::Limits;
use self::link::Strictness;
use self::resolve::Names;
pub use self::tables::ProtobufValidator;
use self::types::Types;
pub use self::validate::ProtobufScratch;
pub use self::witness::evidence;
use crate::schema::{ParseError, ParseMode, ResolvedReference, TextForm};
use crate::validator::CompileError;

/// Most references of one schema; linking walks them one inside the other.
const MAX_REFERENCES: usize = 1000;

/// A Protobuf schema: one `.proto` file with the files it refers to.
#[derive(Debug, Clone)]
pub struct ProtobufSchema {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: ProtoFile,
    /// Canonical text of `file`.
    canonical: String,
    references: Vec<Reference>,
    /// Filled while parsing a new schema, on first use for a stored one.
    linked: OnceLock<Result<Linked, String>>,
    /// Made when a payload is first decoded or encoded.
    types: OnceLock<Result<Types, String>>,
}

/// A file the schema may import.
#[derive(Debug)]
struct Reference {
    /// The import path.
    name: String,
    file: ProtoFile,
}

impl ProtobufSchema {
    /// Parses `.proto` text, or the base64 of a `FileDescriptorProto`.
    ///
    /// A new schema must compile as `protoc` would have it, save for options nobody declares and
    /// types known without an import; a stored one must be what the reference takes, which may not
    /// compile. [`Self::check_fields`] is the full check.
    ///
    /// # Errors
    /// When the text is no `.proto` file, a reference does not parse, a new schema does not
    /// compile, or a type of a stored one is not declared anywhere.
    pub fn parse(
        text: &str,
        references: &[ResolvedReference],
        mode: ParseMode,
    ) -> Result<Self, ParseError> {
        if references.len() > MAX_REFERENCES {
            return Err(ParseError::new(format!(
                "{} references are more than {MAX_REFERENCES}",
                references.len()
            )));
        }
        let mut files: Vec<Reference> = Vec::with_capacity(references.len());
        let mut limits = Limits::default();
        for reference in references {
            let read = read(&reference.schema, &files).and_then(|(file, _)| {
                limits.take(&file)?;
                Ok(file)
            });
            let file = read.map_err(|error| {
                let text = format!("in reference {:?}: {error}", reference.name);
                limits::shortened(ParseError::new(text))
            })?;
            // A map's entry is spelled out where the reference came as a descriptor.
            files.push(Reference {
                name: reference.name.clone(),
                file: compile::folded(&file).unwrap_or(file),
            });
        }
        let (file, is_text) = read(text, &files).map_err(limits::shortened)?;
        let at_text = |error: ParseError| {
            limits::shortened(ParseError {
                position: error.position.filter(|_| is_text),
                ..error
            })
        };
        limits.take(&file).map_err(at_text)?;
        let linked = match mode {
            ParseMode::New => {
                let linked = compile::compile(&file, &files, Strictness::Registration);
                OnceLock::from(Ok(linked.map_err(at_text)?))
            }
            ParseMode::Existing => OnceLock::new(),
        };
        let schema = Self {
            inner: Arc::new(Inner {
                canonical: print::print(&file),
                file,
                references: files,
                linked,
                types: OnceLock::new(),
            }),
        };
        if mode == ParseMode::Existing {
            stored::check(&schema.inner.file, &schema.names()).map_err(at_text)?;
        }
        Ok(schema)
    }

    /// Checks that `protoc` takes the schema with its references, all of its rules held.
    ///
    /// # Errors
    /// The first rule broken; the position is that in the text, when the schema came as text.
    pub fn check_fields(&self) -> Result<(), ParseError> {
        let inner = &self.inner;
        compile::compile(&inner.file, &inner.references, Strictness::Protoc).map(|_| ())
    }

    /// The text in the wanted form.
    #[must_use]
    pub fn text(&self, form: TextForm) -> String {
        let inner = &self.inner;
        match form {
            TextForm::Canonical | TextForm::Resolved => inner.canonical.clone(),
            TextForm::Normalized => print::print(&normalize::normalize(&inner.file, &self.names())),
            TextForm::Serialized => {
                let known = |path: &str| inner.references.iter().any(|one| one.name == path);
                STANDARD.encode(serialized::serialize(&inner.file, &self.names(), &known))
            }
            TextForm::IgnoreExtensions => print::print(&normalize::without_extensions(&inner.file)),
        }
    }

    /// Full name of the first message, else of the first enum.
    #[must_use]
    pub fn record_name(&self) -> Option<String> {
        let file = &self.inner.file;
        let message = file.messages.first().map(|message| &message.name);
        let name = message.or_else(|| file.enums.first().map(|enum_type| &enum_type.name))?;
        Some(resolve::join(file.package_name(), name))
    }

    /// Whether the canonical texts are the same.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        self.inner.canonical == other.inner.canonical
    }

    /// Compiles the validator.
    ///
    /// # Errors
    /// When a stored schema does not link, or holds more types than the tables can number.
    pub fn compile(&self) -> Result<ProtobufValidator, CompileError> {
        let linked = self.linked().map_err(CompileError)?;
        ProtobufValidator::build(&self.inner.file, &linked.linked)
    }

    /// Linked descriptors, made on first use.
    fn linked(&self) -> Result<&Linked, String> {
        let inner = &self.inner;
        inner
            .linked
            .get_or_init(|| {
                let strictness = Strictness::Wire;
                compile::compile(&inner.file, &inner.references, strictness)
                    .map_err(|error| error.message)
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// What values mean, made on first use.
    fn types(&self) -> Result<&Types, String> {
        let made = self.inner.types.get_or_init(|| {
            let validator = self.compile().map_err(|error| error.to_string())?;
            Types::build(validator, &self.linked()?.linked)
        });
        made.as_ref().map_err(Clone::clone)
    }

    fn names(&self) -> Names<'_> {
        let references = self
            .inner
            .references
            .iter()
            .map(|reference| &reference.file);
        let known = bundled::files().iter().map(|(_, file)| file);
        Names::collect(&self.inner.file, references.chain(known))
    }
}

/// Reads text or a base64 descriptor; says whether it was text.
fn read(text: &str, references: &[Reference]) -> Result<(ProtoFile, bool), ParseError> {
    let Some(bytes) = descriptor_bytes(text) else {
        return Ok((parse_text::parse_text(text)?, true));
    };
    let file = checked(&from_descriptor::read(
        &bytes,
        from_descriptor::confluent_pool(),
    )?)?;
    let extends_options = !file.extends.is_empty() || !references.is_empty();
    if !extends_options {
        return Ok((file, false));
    }
    // Options that the file or its references declare can be read once they are linked.
    let Ok(linked) = compile::compile(&file, references, Strictness::Wire) else {
        return Ok((file, false));
    };
    let with_options = from_descriptor::read(&bytes, &linked.pool).and_then(|file| checked(&file));
    Ok((with_options.unwrap_or(file), false))
}

/// The same file, read back from its text, which checks every name in it.
fn checked(file: &ProtoFile) -> Result<ProtoFile, ParseError> {
    let text = print::print(file);
    let mut read = parse_text::parse_text(&text).map_err(|error| ParseError {
        position: None,
        ..error
    })?;
    read.objection = None;
    if print::print(&read) == text {
        Ok(read)
    } else {
        Err(ParseError::new("the descriptor holds a name that is none"))
    }
}

/// The bytes behind base64 text; `None` when the text is anything else.
fn descriptor_bytes(text: &str) -> Option<Vec<u8>> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = text.trim();
    if text.is_empty() || text.len() > lex::MAX_TEXT_BYTES {
        return None;
    }
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, ANY_PADDING);
    engine.decode(text).ok()
}
