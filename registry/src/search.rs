//! Finding subjects, types, fields and docs by words.
//!
//! Pure: a scan over one snapshot. The text of a schema is looked at first and only texts that hold
//! every word are parsed, so a search over 100,000 schemas parses the few that matter.

use serde_formats::outline::Outline;

use crate::model::Version;
use crate::snapshot::{RegisteredSchema, Snapshot};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HitKind {
    /// A subject's name.
    Subject,
    /// A type's full name.
    Type,
    /// A field's path.
    Field,
    /// The doc of a type or field.
    Doc,
}

impl HitKind {
    const ALL: [Self; 4] = [Self::Subject, Self::Type, Self::Field, Self::Doc];

    /// `subject`, `type`, `field` or `doc`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Type => "type",
            Self::Field => "field",
            Self::Doc => "doc",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One place that holds every word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it is.
    pub kind: HitKind,
    /// The subject it is in.
    pub subject: String,
    /// The version it is in.
    pub version: Version,
    /// The schema's id.
    pub id: i32,
    /// A type's name or a field's path; empty for a subject.
    pub place: String,
    /// A field's type, or what kind of type; empty for a subject.
    pub type_name: String,
    /// The doc there.
    pub doc: Option<String>,
}

/// What to search for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Lower-case words; a place must hold all of them.
    words: Vec<String>,
    /// Only hits of this kind.
    pub kind: Option<HitKind>,
    /// Every version, not only the newest live one.
    pub all_versions: bool,
    /// Most hits answered.
    pub limit: usize,
}

/// Words in one query.
const WORDS_MAX: usize = 16;

impl Query {
    /// Words are separated by blanks.
    #[must_use]
    pub fn new(text: &str, limit: usize) -> Self {
        Self {
            words: text
                .split_whitespace()
                .take(WORDS_MAX)
                .map(str::to_lowercase)
                .collect(),
            kind: None,
            all_versions: false,
            limit,
        }
    }

    fn holds(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.words.iter().all(|word| text.contains(word.as_str()))
    }

    fn wants(&self, kind: HitKind) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
    }

    /// Whether a schema's text may hold the words: dotted ones are spelled apart there.
    fn may_hold(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.words
            .iter()
            .flat_map(|word| word.split(['.', '[', ']', '{', '}', '<', '>', '|', '(', ')']))
            .all(|piece| text.contains(piece))
    }
}

/// Places that hold every word: subjects, then types, fields and docs; each by subject name.
/// The flag says that there were more.
#[must_use]
pub fn search(snapshot: &Snapshot, query: &Query) -> (Vec<Hit>, bool) {
    let mut hits: [Vec<Hit>; 4] = Default::default();
    if query.words.is_empty() {
        return (Vec::new(), false);
    }
    let mut truncated = false;
    let mut add = |hit: Hit| {
        let list = &mut hits[hit.kind as usize];
        if list.len() < query.limit {
            list.push(hit);
        } else {
            truncated = true;
        }
    };
    for name in snapshot.subjects().iter() {
        let Some(image) = snapshot.subject(name) else {
            continue;
        };
        let latest = image.latest().map(|(version, _)| version);
        for (version, version_image) in image.versions() {
            let is_latest = Some(version) == latest;
            if !is_latest && !query.all_versions {
                continue;
            }
            let schema = &version_image.schema;
            let hit = |kind, place: String, type_name: String, doc| Hit {
                kind,
                subject: name.as_ref().to_owned(),
                version,
                id: schema.id.0,
                place,
                type_name,
                doc,
            };
            if is_latest && query.wants(HitKind::Subject) && query.holds(name) {
                let format = schema.format.name().to_owned();
                add(hit(HitKind::Subject, String::new(), format, None));
            }
            if query.kind != Some(HitKind::Subject) && query.may_hold(&schema.text) {
                places(schema, query, |kind, place, type_name, doc| {
                    add(hit(kind, place, type_name, doc));
                });
            }
        }
    }
    let mut found: Vec<Hit> = hits.into_iter().flatten().collect();
    truncated |= found.len() > query.limit;
    found.truncate(query.limit);
    (found, truncated)
}

fn places(
    schema: &RegisteredSchema,
    query: &Query,
    mut add: impl FnMut(HitKind, String, String, Option<String>),
) {
    let Ok(parsed) = schema.parsed() else {
        return;
    };
    let outline = Outline::of(parsed);
    let kind_of = |name: &str, doc: &Option<String>, named: HitKind| {
        if query.holds(name) {
            Some(named)
        } else if doc.as_deref().is_some_and(|doc| query.holds(doc)) {
            Some(HitKind::Doc)
        } else {
            None
        }
    };
    for found in outline.types {
        if let Some(kind) = kind_of(&found.name, &found.doc, HitKind::Type)
            && query.wants(kind)
        {
            add(kind, found.name, found.kind.name().to_owned(), found.doc);
        }
    }
    for field in outline.fields {
        let by_type = query.wants(HitKind::Type) && query.holds(&field.type_name);
        match kind_of(&field.path, &field.doc, HitKind::Field) {
            Some(kind) if query.wants(kind) => add(kind, field.path, field.type_name, field.doc),
            None if by_type => add(HitKind::Type, field.path, field.type_name, field.doc),
            Some(_) | None => {}
        }
    }
}
