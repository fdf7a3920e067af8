//! The texts of a schema: Confluent's canonical, normalised and resolved forms, and Avro's
//! Parsing Canonical Form with its fingerprints.
//!
//! Canonical is what Avro Java's `Schema.toString` prints, byte for byte: content identity (the
//! GUID) hashes it. Source: Avro 1.12 specification, "Transforming into Parsing Canonical Form".

use std::collections::{HashMap, HashSet};

use md5::{Digest, Md5};

use super::defaults::{DEFAULT_STEPS_MAX, is_valid_default};
use super::json_text::{Json, java_order, write_double, write_float, write_string};
use super::model::{DEPTH_MAX, Field, Header, Kind, Model, Name, Order, Type, TypeId};

/// The canonical text: types of references by name, everything else in Avro's order.
pub(super) fn canonical_text(model: &Model) -> String {
    print(model, Style::CANONICAL, model.reference_names.clone())
}

/// The normalised text.
pub(super) fn normalized_text(model: &Model) -> String {
    print(model, Style::NORMALIZED, model.reference_names.clone())
}

/// The canonical text with the types of references written out at their first use.
pub(super) fn resolved_text(model: &Model) -> String {
    print(model, Style::CANONICAL, HashSet::new())
}

/// A text equal for two schemas exactly when the reference calls them equal: references written
/// out, attributes whose order carries no meaning sorted.
pub(super) fn equivalence_text(model: &Model) -> String {
    print(model, Style::EQUIVALENCE, HashSet::new())
}

/// Equal for two schemas whose types, names and properties are the same, whatever their docs and
/// aliases: between those Apache's reader applies no alias.
pub(super) fn same_text(model: &Model) -> String {
    print(model, Style::SAME, HashSet::new())
}

/// The resolved text of one type. Named types deeper inside than types may nest, as seen from the
/// root, are written as names: a chain of them can be as long as the schema.
pub(super) fn type_text(model: &Model, id: TypeId) -> String {
    print_type(model, id, Style::CANONICAL, HashSet::new())
}

/// The equivalence text of one type with the named types inside as names.
pub(super) fn own_text(model: &Model, id: TypeId) -> String {
    print_type(model, id, Style::OWN, HashSet::new())
}

/// What one form does differently from another.
#[derive(Clone, Copy)]
struct Style {
    sort_props: bool,
    sort_aliases: bool,
    /// Drop empty docs, print `error` as `record` and defaults as values of their type.
    normalize: bool,
    sort_defaults: bool,
    /// Write every named type but the outermost as its name.
    only_names_inside: bool,
    without_docs_and_aliases: bool,
}

impl Style {
    const CANONICAL: Self = Self {
        sort_props: false,
        sort_aliases: false,
        normalize: false,
        sort_defaults: false,
        only_names_inside: false,
        without_docs_and_aliases: false,
    };
    const NORMALIZED: Self = Self {
        sort_props: true,
        sort_aliases: true,
        normalize: true,
        sort_defaults: true,
        only_names_inside: false,
        without_docs_and_aliases: false,
    };
    const EQUIVALENCE: Self = Self {
        sort_props: true,
        sort_aliases: true,
        normalize: false,
        sort_defaults: true,
        only_names_inside: false,
        without_docs_and_aliases: false,
    };
    const OWN: Self = Self {
        only_names_inside: true,
        ..Self::EQUIVALENCE
    };
    const SAME: Self = Self {
        without_docs_and_aliases: true,
        ..Self::EQUIVALENCE
    };
}

fn print(model: &Model, style: Style, known: HashSet<String>) -> String {
    print_type(model, model.root, style, known)
}

fn print_type(model: &Model, id: TypeId, style: Style, known: HashSet<String>) -> String {
    let mut printer = Printer {
        model,
        style,
        known,
        default_steps_left: DEFAULT_STEPS_MAX,
        field_types: HashMap::new(),
        depth: 0,
        out: String::new(),
    };
    printer.ty(id, None);
    printer.out
}

struct Printer<'a> {
    model: &'a Model,
    style: Style,
    /// Full names written already, or defined by a reference.
    known: HashSet<String>,
    /// Bounds the search for the union branches of defaults.
    default_steps_left: u32,
    /// Types of the fields, by name, of records that have a default.
    field_types: HashMap<TypeId, HashMap<&'a str, TypeId>>,
    /// Types around the place.
    depth: usize,
    out: String,
}

impl<'a> Printer<'a> {
    fn ty(&mut self, id: TypeId, namespace: Option<&str>) {
        self.depth += 1;
        self.outermost(id, namespace);
        self.depth -= 1;
    }

    fn outermost(&mut self, id: TypeId, namespace: Option<&str>) {
        let model = self.model;
        let ty = model.get(id);
        if let Some(header) = ty.header() {
            let is_inside = self.style.only_names_inside && !self.known.is_empty();
            let is_deep = self.depth > DEPTH_MAX + 1;
            if is_inside || is_deep || !self.known.insert(header.name.full()) {
                write_string(&header.name.relative_to(namespace), &mut self.out);
                return;
            }
            let is_error = matches!(&ty.kind, Kind::Record { is_error: true, .. });
            let word = if is_error && !self.style.normalize {
                "error"
            } else {
                ty.word()
            };
            self.open(word);
            self.header(header, namespace);
            match &ty.kind {
                Kind::Record { fields, .. } => self.fields(fields, &header.name),
                Kind::Enum {
                    symbols, default, ..
                } => {
                    self.strings("symbols", symbols.iter().map(String::as_str));
                    if let Some(default) = default {
                        self.key("default");
                        write_string(default, &mut self.out);
                    }
                }
                Kind::Fixed { size, .. } => {
                    self.key("size");
                    self.out.push_str(&size.to_string());
                }
                _ => {}
            }
            self.type_props(ty);
            self.type_aliases(header);
            self.out.push('}');
            return;
        }
        match &ty.kind {
            Kind::Union(branches) => {
                self.out.push('[');
                for (i, branch) in branches.iter().enumerate() {
                    if i > 0 {
                        self.out.push(',');
                    }
                    self.ty(*branch, namespace);
                }
                self.out.push(']');
            }
            Kind::Array(inner) | Kind::Map(inner) => {
                self.open(ty.word());
                self.key(if matches!(ty.kind, Kind::Array(_)) {
                    "items"
                } else {
                    "values"
                });
                self.ty(*inner, namespace);
                self.type_props(ty);
                self.out.push('}');
            }
            _ if ty.props.is_empty() => write_string(ty.word(), &mut self.out),
            _ => {
                self.open(ty.word());
                self.type_props(ty);
                self.out.push('}');
            }
        }
    }

    /// The attributes of a type. Normalised, a logical type that applies comes before the sorted
    /// rest: its name and, of a decimal, the precision and a scale other than zero.
    fn type_props(&mut self, ty: &Type) {
        match ty.logical_type() {
            Some(logical) if self.style.normalize => {
                let is_decimal = logical == "decimal";
                let (first, rest): (Vec<_>, Vec<_>) =
                    ty.props.iter().cloned().partition(|(key, value)| {
                        key == "logicalType"
                            || is_decimal && key == "precision"
                            || is_decimal && key == "scale" && *value != Json::Int("0".to_owned())
                    });
                // Their alphabetical order is the order wanted.
                self.props(&first);
                self.props(&rest);
            }
            _ => self.props(&ty.props),
        }
    }

    fn open(&mut self, word: &str) {
        self.out.push_str("{\"type\":");
        write_string(word, &mut self.out);
    }

    fn key(&mut self, key: &str) {
        self.out.push(',');
        write_string(key, &mut self.out);
        self.out.push(':');
    }

    fn header(&mut self, header: &Header, namespace: Option<&str>) {
        self.key("name");
        write_string(&header.name.simple, &mut self.out);
        match header.name.namespace.as_deref() {
            Some(own) if Some(own) != namespace => {
                self.key("namespace");
                write_string(own, &mut self.out);
            }
            None if namespace.is_some() => {
                self.key("namespace");
                write_string("", &mut self.out);
            }
            _ => {}
        }
        let doc = header.doc.as_deref();
        self.doc(doc.filter(|doc| !(self.style.normalize && doc.is_empty())));
    }

    fn doc(&mut self, doc: Option<&str>) {
        if let Some(doc) = doc
            && !self.style.without_docs_and_aliases
        {
            self.key("doc");
            write_string(doc, &mut self.out);
        }
    }

    fn fields(&mut self, fields: &[Field], record: &Name) {
        self.key("fields");
        self.out.push('[');
        for (i, field) in fields.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.out.push_str("{\"name\":");
            write_string(&field.name, &mut self.out);
            self.key("type");
            self.ty(field.ty, record.namespace.as_deref());
            self.doc(field.doc.as_deref());
            if let Some(default) = &field.default {
                self.key("default");
                self.default(field.ty, default);
            }
            match field.order {
                Order::Ascending => {}
                Order::Descending => self.out.push_str(",\"order\":\"descending\""),
                Order::Ignore => self.out.push_str(",\"order\":\"ignore\""),
            }
            if !field.aliases.is_empty() && !self.style.without_docs_and_aliases {
                let mut aliases: Vec<&str> = field.aliases.iter().map(String::as_str).collect();
                if self.style.sort_aliases {
                    aliases.sort_by(|a, b| java_order(a, b));
                }
                self.strings("aliases", aliases.into_iter());
            }
            self.props(&field.props);
            self.out.push('}');
        }
        self.out.push(']');
    }

    fn type_aliases(&mut self, header: &Header) {
        if header.aliases.is_empty() || self.style.without_docs_and_aliases {
            return;
        }
        let mut aliases: Vec<&Name> = header.aliases.iter().collect();
        if self.style.sort_aliases {
            aliases.sort_by(|a, b| java_order(&a.full(), &b.full()));
        }
        let namespace = header.name.namespace.as_deref();
        let texts: Vec<String> = aliases.iter().map(|a| a.relative_to(namespace)).collect();
        self.strings("aliases", texts.iter().map(String::as_str));
    }

    fn strings<'s>(&mut self, key: &str, values: impl Iterator<Item = &'s str>) {
        self.key(key);
        self.out.push('[');
        for (i, value) in values.enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            write_string(value, &mut self.out);
        }
        self.out.push(']');
    }

    fn props(&mut self, props: &[(String, Json)]) {
        if self.style.sort_props {
            let mut sorted: Vec<_> = props.iter().collect();
            sorted.sort_by(|a, b| java_order(&a.0, &b.0));
            for (key, value) in sorted {
                self.key(key);
                value.sorted().write(&mut self.out);
            }
        } else {
            for (key, value) in props {
                self.key(key);
                value.write(&mut self.out);
            }
        }
    }

    fn default(&mut self, ty: TypeId, value: &Json) {
        if self.style.normalize {
            self.normal_default(ty, &value.sorted());
        } else if self.style.sort_defaults {
            value.sorted().write(&mut self.out);
        } else {
            value.write(&mut self.out);
        }
    }

    /// A default printed as a value of its type: an integer of a float field gets its `.0`.
    fn normal_default(&mut self, ty: TypeId, value: &Json) {
        let model = self.model;
        let number = match value {
            Json::Int(digits) => digits.parse::<f64>().ok(),
            Json::Double(number) => Some(*number),
            _ => None,
        };
        match (&model.get(ty).kind, value, number) {
            (Kind::Double, _, Some(number)) => write_double(number, &mut self.out),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float's default is rounded to float, as the reference does"
            )]
            (Kind::Float, _, Some(number)) => write_float(number as f32, &mut self.out),
            // Bytes hold one byte a character; others become question marks.
            (Kind::Bytes | Kind::Fixed { .. }, Json::String(text), _) => {
                let narrow: String = text
                    .chars()
                    .map(|c| if c > '\u{ff}' { '?' } else { c })
                    .collect();
                write_string(&narrow, &mut self.out);
            }
            (Kind::Union(branches), _, _) => {
                let steps_left = &mut self.default_steps_left;
                let branch = branches
                    .iter()
                    .find(|b| is_valid_default(model, **b, value, 0, steps_left));
                match branch {
                    Some(branch) => self.normal_default(*branch, value),
                    None => value.write(&mut self.out),
                }
            }
            (Kind::Array(items), Json::Array(values), _) => {
                self.out.push('[');
                for (i, item) in values.iter().enumerate() {
                    if i > 0 {
                        self.out.push(',');
                    }
                    self.normal_default(*items, item);
                }
                self.out.push(']');
            }
            (Kind::Map(_) | Kind::Record { .. }, Json::Object(entries), _) => {
                self.out.push('{');
                for (i, (key, item)) in entries.iter().enumerate() {
                    if i > 0 {
                        self.out.push(',');
                    }
                    write_string(key, &mut self.out);
                    self.out.push(':');
                    let inner = match &model.get(ty).kind {
                        Kind::Map(values) => Some(*values),
                        Kind::Record { fields, .. } => self.field_type(ty, fields, key),
                        _ => None,
                    };
                    match inner {
                        Some(inner) => self.normal_default(inner, item),
                        None => item.write(&mut self.out),
                    }
                }
                self.out.push('}');
            }
            _ => value.write(&mut self.out),
        }
    }

    /// The type of a field of the record `ty`.
    fn field_type(&mut self, ty: TypeId, fields: &'a [Field], name: &str) -> Option<TypeId> {
        let types = self.field_types.entry(ty);
        let types = types.or_insert_with(|| {
            let named = fields.iter().map(|field| (field.name.as_str(), field.ty));
            named.collect()
        });
        types.get(name).copied()
    }
}

/// Avro's Parsing Canonical Form: only what matters to a reader of data.
pub(super) fn parsing_canonical_form(model: &Model) -> String {
    let mut out = String::new();
    write_pcf(model, model.root, &mut HashSet::new(), &mut out);
    out
}

fn write_pcf(model: &Model, id: TypeId, known: &mut HashSet<String>, out: &mut String) {
    let ty = model.get(id);
    if let Some(header) = ty.header() {
        let full = header.name.full();
        if known.contains(&full) {
            write_string(&full, out);
            return;
        }
        out.push_str("{\"name\":");
        write_string(&full, out);
        known.insert(full);
        out.push_str(",\"type\":\"");
        out.push_str(ty.word());
        out.push('"');
    }
    match &ty.kind {
        Kind::Record { fields, .. } => {
            out.push_str(",\"fields\":[");
            for (i, field) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str("{\"name\":");
                write_string(&field.name, out);
                out.push_str(",\"type\":");
                write_pcf(model, field.ty, known, out);
                out.push('}');
            }
            out.push_str("]}");
        }
        Kind::Enum { symbols, .. } => {
            out.push_str(",\"symbols\":[");
            for (i, symbol) in symbols.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(symbol, out);
            }
            out.push_str("]}");
        }
        Kind::Fixed { size, .. } => {
            out.push_str(",\"size\":");
            out.push_str(&size.to_string());
            out.push('}');
        }
        Kind::Array(items) => {
            out.push_str("{\"type\":\"array\",\"items\":");
            write_pcf(model, *items, known, out);
            out.push('}');
        }
        Kind::Map(values) => {
            out.push_str("{\"type\":\"map\",\"values\":");
            write_pcf(model, *values, known, out);
            out.push('}');
        }
        Kind::Union(branches) => {
            out.push('[');
            for (i, branch) in branches.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_pcf(model, *branch, known, out);
            }
            out.push(']');
        }
        _ => write_string(ty.word(), out),
    }
}

/// CRC-64-AVRO of `bytes` (Rabin fingerprint with Avro's polynomial).
pub(super) fn crc64_avro(bytes: &[u8]) -> u64 {
    bytes.iter().fold(CRC64_EMPTY, |crc, &byte| {
        let index = (crc ^ u64::from(byte)) & 0xff;
        (crc >> 8) ^ CRC64_TABLE[index as usize]
    })
}

/// MD5 of `bytes`.
pub(super) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

const CRC64_EMPTY: u64 = 0xc15d_213a_a4d7_a795;

const CRC64_TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (CRC64_EMPTY & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};
