//! Protobuf pairs: a `.proto` file, the same file after a few edits, and records of the first.
//!
//! The old file is of proto2, proto3 or edition 2023, with nested messages, enums, maps, oneofs,
//! groups and every scalar type; the new one of an edition changes features too. An edit is one that people make: a field renamed, retyped, relabelled, removed,
//! added, moved into or out of a oneof. Packages carry the seed, so that all files of a run can be
//! compiled together.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::Pair;
use crate::random::Random;

/// A `.proto` file.
#[derive(Clone)]
struct File {
    syntax: Syntax,
    package: String,
    messages: Vec<Message>,
    enums: Vec<Enum>,
}

#[derive(Clone, Copy, PartialEq)]
enum Syntax {
    Proto2,
    Proto3,
    Edition,
}

#[derive(Clone)]
struct Enum {
    name: String,
    /// Its numbers are all there is; of an edition, by a feature.
    closed: bool,
    constants: Vec<(String, i32)>,
}

#[derive(Clone)]
struct Message {
    name: String,
    fields: Vec<Field>,
    nested: Vec<Self>,
}

#[derive(Clone)]
struct Field {
    name: String,
    number: u32,
    kind: Kind,
    label: Label,
    /// The name of its oneof.
    oneof: Option<String>,
}

#[derive(Clone, PartialEq)]
enum Kind {
    Scalar(&'static str),
    Enum(String),
    Message(String),
    /// A group of one field.
    Group(&'static str),
    /// A message of an edition, written as a group is.
    Delimited(String),
}

#[derive(Clone, Copy, PartialEq)]
enum Label {
    Plain,
    /// Of an edition: no presence.
    Implicit,
    Optional,
    Required,
    Repeated,
    /// The other packing than the syntax gives.
    RepeatedOther,
    Map(&'static str),
}

const SCALARS: &[&str] = &[
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32",
    "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes",
];
const KEYS: &[&str] = &["string", "int32", "sint64", "uint64", "bool"];
/// Messages in the file beside the root, which comes first.
const OTHERS: [&str; 3] = ["Line", "Party", "Note"];
/// Records of a pair.
const RECORDS: usize = 4;

/// The pair of a seed.
pub(crate) fn pair(seed: u64) -> Pair {
    let mut random = Random::new(seed);
    let old = file(&mut random, seed);
    let mut new = old.clone();
    for _ in 0..1 + random.below(3) {
        edit(&mut new, &mut random);
    }
    let records = (0..RECORDS)
        .map(|at| record(&old, &old.messages[0], &mut random, at.min(1)))
        .collect();
    Pair {
        old: print(&old),
        new: print(&new),
        indexes: vec![0],
        records,
    }
}

fn file(random: &mut Random, seed: u64) -> File {
    let syntax = [Syntax::Proto2, Syntax::Proto3, Syntax::Edition][random.below(3)];
    let enums = ["Status", "Color"].map(|name| {
        let closed = match syntax {
            Syntax::Proto2 => true,
            Syntax::Proto3 => false,
            Syntax::Edition => name == "Color",
        };
        Enum {
            name: name.to_owned(),
            closed,
            constants: (0..2 + random.below(3))
                .zip(i32::from(closed)..)
                .map(|(at, number)| (format!("{}_{at}", name.to_uppercase()), number))
                .collect(),
        }
    });
    let mut file = File {
        syntax,
        package: format!("p{seed}"),
        messages: Vec::new(),
        enums: enums.into(),
    };
    let others = random.below(OTHERS.len() + 1);
    let names: Vec<&str> = ["Order"]
        .into_iter()
        .chain(OTHERS)
        .take(1 + others)
        .collect();
    for (at, name) in names.iter().enumerate() {
        // Only later messages are referred to, so that required ones form no cycle.
        let mut known: Vec<String> = names
            .iter()
            .skip(at + 1)
            .map(|it| (*it).to_owned())
            .collect();
        let mut nested = Vec::new();
        if random.below(3) == 0 {
            let inner = format!("{name}Part");
            nested.push(message(&file, &inner, &[], random));
            known.push(inner);
        }
        let mut own = message(&file, name, &known, random);
        own.nested = nested;
        file.messages.push(own);
    }
    file
}

fn message(file: &File, name: &str, known: &[String], random: &mut Random) -> Message {
    let mut message = Message {
        name: name.to_owned(),
        fields: Vec::new(),
        nested: Vec::new(),
    };
    let mut number = 0;
    for _ in 0..2 + random.below(6) {
        number += 1 + u32::from(random.below(6) == 0) * 150;
        let field = field(file, known, number, random);
        message.fields.push(field);
    }
    if random.below(2) == 0 {
        for _ in 0..2 + random.below(2) {
            number += 1;
            let mut member = field(file, known, number, random);
            member.label = Label::Plain;
            member.oneof = Some("choice".to_owned());
            message.fields.push(member);
        }
    }
    message
}

fn field(file: &File, known: &[String], number: u32, random: &mut Random) -> Field {
    let kind = kind(file, known, random);
    let label = label(file, &kind, random);
    Field {
        name: format!("f{number}"),
        number,
        kind,
        label,
        oneof: None,
    }
}

fn kind(file: &File, known: &[String], random: &mut Random) -> Kind {
    match random.below(10) {
        0 | 1 if !known.is_empty() => Kind::Message(random.pick(known).clone()),
        2 => Kind::Enum(random.pick(&file.enums).name.clone()),
        3 if file.syntax == Syntax::Proto2 => Kind::Group(one_of(random, SCALARS)),
        3 if file.syntax == Syntax::Edition && !known.is_empty() => {
            Kind::Delimited(random.pick(known).clone())
        }
        _ => Kind::Scalar(one_of(random, SCALARS)),
    }
}

fn label(file: &File, kind: &Kind, random: &mut Random) -> Label {
    use Label::{Implicit, Optional, Plain, Repeated, RepeatedOther, Required};

    // A map takes only enums that begin with 0, which closed ones here do not.
    let closed = |name: &str| file.enums.iter().any(|it| it.closed && it.name == name);
    let in_maps = match kind {
        Kind::Group(_) | Kind::Delimited(_) => false,
        Kind::Enum(name) => !closed(name),
        Kind::Scalar(_) | Kind::Message(_) => true,
    };
    if in_maps && random.below(6) == 0 {
        return Label::Map(one_of(random, KEYS));
    }
    let is_message = matches!(kind, Kind::Message(_) | Kind::Group(_) | Kind::Delimited(_));
    let is_text = matches!(kind, Kind::Scalar("string" | "bytes"));
    let is_closed = matches!(kind, Kind::Enum(name) if closed(name));
    let labels: &[Label] = match file.syntax {
        Syntax::Proto2 if is_message || is_text => &[Optional, Optional, Required, Repeated],
        Syntax::Proto2 => &[Optional, Optional, Required, Repeated, RepeatedOther],
        Syntax::Proto3 if is_message => &[Plain, Repeated],
        Syntax::Proto3 if is_text => &[Plain, Optional, Repeated],
        Syntax::Proto3 => &[Plain, Plain, Optional, Repeated, RepeatedOther],
        Syntax::Edition if is_message => &[Plain, Plain, Required, Repeated],
        Syntax::Edition if is_text => &[Plain, Implicit, Required, Repeated],
        Syntax::Edition if is_closed => &[Plain, Required, Repeated, RepeatedOther],
        Syntax::Edition => &[Plain, Implicit, Required, Repeated, RepeatedOther],
    };
    *random.pick(labels)
}

/// One edit, if it applies.
fn edit(file: &mut File, random: &mut Random) {
    let at = random.below(file.messages.len());
    // Most edits are of the root, whose fields every record shows.
    let at = if random.below(2) == 0 { 0 } else { at };
    let known: Vec<String> = file
        .messages
        .iter()
        .skip(at + 1)
        .map(|it| it.name.clone())
        .collect();
    let snapshot = file.clone();
    let syntax = file.syntax;
    match random.below(24) {
        0 => {
            file.package = format!("q{}", file.package);
            return;
        }
        1 => {
            remove_message(file, random);
            return;
        }
        2 => {
            let at = random.below(file.enums.len());
            let constants = &mut file.enums[at].constants;
            if constants.len() > 1 && random.below(2) == 0 {
                constants.pop();
            } else {
                let name = format!("{}_MORE", constants[0].0);
                if constants.iter().all(|(known, _)| *known != name) {
                    constants.push((name, 40));
                }
            }
            return;
        }
        _ => {}
    }
    let Some(message) = file.messages.get_mut(at) else {
        return;
    };
    let number = 1 + message.fields.iter().map(|it| it.number).max().unwrap_or(0);
    if message.fields.is_empty() || random.below(8) == 0 {
        message
            .fields
            .push(field(&snapshot, &known, number, random));
        return;
    }
    let place = random.below(message.fields.len());
    let in_oneof = message.fields[place].oneof.is_some();
    let choice = random.below(9);
    if choice == 0 {
        message.fields.remove(place);
        return;
    }
    let field = &mut message.fields[place];
    match choice {
        1 => field.name = format!("renamed{}", field.number),
        2 | 3 => {
            field.kind = kind(&snapshot, &known, random);
            if !in_oneof && !fits(&snapshot, &field.kind, field.label) {
                field.label = label(&snapshot, &field.kind, random);
            }
        }
        4 => {
            if let Kind::Scalar(_) = field.kind {
                field.kind = Kind::Scalar(one_of(random, SCALARS));
                if field.label == Label::RepeatedOther
                    && matches!(field.kind, Kind::Scalar("string" | "bytes"))
                {
                    field.label = Label::Repeated;
                }
            }
        }
        5 | 6 if !in_oneof => field.label = label(&snapshot, &field.kind, random),
        7 if in_oneof => {
            field.oneof = None;
            field.label = if syntax == Syntax::Proto2 {
                Label::Optional
            } else {
                Label::Plain
            };
        }
        _ if !in_oneof && !matches!(field.label, Label::Map(_)) => {
            field.label = Label::Plain;
            let name = if random.below(2) == 0 {
                "choice"
            } else {
                "pick"
            };
            field.oneof = Some(name.to_owned());
        }
        _ => {}
    }
}

/// Whether a kind may have a label it was not given with.
fn fits(file: &File, kind: &Kind, label: Label) -> bool {
    let closed = |name: &str| file.enums.iter().any(|it| it.closed && it.name == name);
    match kind {
        Kind::Group(_) | Kind::Delimited(_) => matches!(
            label,
            Label::Plain | Label::Optional | Label::Required | Label::Repeated
        ),
        Kind::Message(_) => !matches!(label, Label::RepeatedOther | Label::Implicit),
        Kind::Scalar("string" | "bytes") => label != Label::RepeatedOther,
        Kind::Enum(name) => !closed(name) || !matches!(label, Label::Map(_) | Label::Implicit),
        Kind::Scalar(_) => true,
    }
}

/// Removes a message that is not the root, and the fields of its type.
fn remove_message(file: &mut File, random: &mut Random) {
    if file.messages.len() < 2 {
        return;
    }
    let at = 1 + random.below(file.messages.len() - 1);
    let gone = file.messages.remove(at).name;
    for message in &mut file.messages {
        message.fields.retain(|field| {
            !matches!(&field.kind, Kind::Message(name) | Kind::Delimited(name) if *name == gone)
        });
    }
}

fn print(file: &File) -> String {
    let mut out = String::new();
    let syntax = match file.syntax {
        Syntax::Proto2 => "syntax = \"proto2\"",
        Syntax::Proto3 => "syntax = \"proto3\"",
        Syntax::Edition => "edition = \"2023\"",
    };
    let _ = writeln!(out, "{syntax};\npackage {};", file.package);
    for one in &file.enums {
        let _ = writeln!(out, "enum {} {{", one.name);
        if one.closed && file.syntax == Syntax::Edition {
            out.push_str("  option features.enum_type = CLOSED;\n");
        }
        for (name, number) in &one.constants {
            let _ = writeln!(out, "  {name} = {number};");
        }
        out.push_str("}\n");
    }
    for message in &file.messages {
        print_message(file, message, "", &mut out);
    }
    out
}

fn print_message(file: &File, message: &Message, indent: &str, out: &mut String) {
    let _ = writeln!(out, "{indent}message {} {{", message.name);
    let inner = format!("{indent}  ");
    for nested in &message.nested {
        print_message(file, nested, &inner, out);
    }
    for field in message.fields.iter().filter(|field| field.oneof.is_none()) {
        print_field(file, field, &inner, out);
    }
    for oneof in ["choice", "pick"] {
        let mut members = message
            .fields
            .iter()
            .filter(|field| field.oneof.as_deref() == Some(oneof))
            .peekable();
        if members.peek().is_some() {
            let _ = writeln!(out, "{inner}oneof {oneof} {{");
            for member in members {
                print_field(file, member, &format!("{inner}  "), out);
            }
            let _ = writeln!(out, "{inner}}}");
        }
    }
    let _ = writeln!(out, "{indent}}}");
}

fn print_field(file: &File, field: &Field, indent: &str, out: &mut String) {
    let Field { name, number, .. } = field;
    let kind = match &field.kind {
        Kind::Scalar(kind) => kind,
        Kind::Enum(name) | Kind::Message(name) | Kind::Delimited(name) => name.as_str(),
        Kind::Group(_) => "group",
    };
    let is_edition = file.syntax == Syntax::Edition;
    let label = match field.label {
        Label::Plain | Label::Implicit => "",
        Label::Optional => "optional ",
        Label::Required if is_edition => "",
        Label::Required => "required ",
        Label::Repeated | Label::RepeatedOther => "repeated ",
        Label::Map(key) => {
            let _ = writeln!(out, "{indent}map<{key}, {kind}> {name} = {number};");
            return;
        }
    };
    if let Kind::Group(inner) = &field.kind {
        let _ = writeln!(
            out,
            "{indent}{label}group G{name} = {number} {{ optional {inner} x = 1; }}"
        );
        return;
    }
    let mut options = Vec::new();
    match (file.syntax, field.label) {
        (Syntax::Proto2, Label::RepeatedOther) => options.push("packed = true"),
        (Syntax::Proto3, Label::RepeatedOther) => options.push("packed = false"),
        (Syntax::Edition, Label::RepeatedOther) => {
            options.push("features.repeated_field_encoding = EXPANDED");
        }
        (_, Label::Implicit) => options.push("features.field_presence = IMPLICIT"),
        (Syntax::Edition, Label::Required) => {
            options.push("features.field_presence = LEGACY_REQUIRED");
        }
        _ => {}
    }
    if matches!(field.kind, Kind::Delimited(_)) {
        options.push("features.message_encoding = DELIMITED");
    }
    let options = match options.join(", ") {
        none if none.is_empty() => none,
        some => format!(" [{some}]"),
    };
    let _ = writeln!(out, "{indent}{label}{kind} {name} = {number}{options};");
}

/// A record of a message; the first of a pair sets every field it may.
fn record(file: &File, message: &Message, random: &mut Random, rarity: usize) -> Value {
    let mut object = Map::new();
    let mut chosen = false;
    for field in &message.fields {
        if field.oneof.is_some() {
            // One member, chosen at random from those that come.
            if chosen || random.below(2) == 0 {
                continue;
            }
            chosen = true;
        } else if field.label != Label::Required && random.below(1 + rarity) != 0 {
            continue;
        }
        let one = |random: &mut Random| value(file, message, &field.kind, random, rarity);
        let value = match field.label {
            Label::Plain | Label::Implicit | Label::Optional | Label::Required => one(random),
            Label::Repeated | Label::RepeatedOther => {
                (0..1 + random.below(3)).map(|_| one(random)).collect()
            }
            Label::Map(key) => {
                let entries = (0..1 + random.below(2)).map(|_| {
                    let key = match scalar(key, random) {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    (key, one(random))
                });
                Value::Object(entries.collect())
            }
        };
        // A group's field is its type's name in lower case.
        let name = match field.kind {
            Kind::Group(_) => format!("g{}", field.name),
            _ => field.name.clone(),
        };
        object.insert(name, value);
    }
    Value::Object(object)
}

fn value(file: &File, scope: &Message, kind: &Kind, random: &mut Random, rarity: usize) -> Value {
    match kind {
        Kind::Scalar(kind) => scalar(kind, random),
        Kind::Enum(name) => {
            let found = file.enums.iter().find(|it| it.name == *name);
            found.map_or(Value::Null, |it| json!(random.pick(&it.constants).0))
        }
        Kind::Message(name) | Kind::Delimited(name) => {
            let all = scope.nested.iter().chain(&file.messages);
            all.into_iter()
                .find(|it| it.name == *name)
                .map_or(Value::Null, |it| record(file, it, random, rarity))
        }
        Kind::Group(kind) => json!({ "x": scalar(kind, random) }),
    }
}

fn scalar(kind: &str, random: &mut Random) -> Value {
    match kind {
        "double" | "float" => random
            .pick(&[json!(0.0), json!(1.5), json!(-2.25), json!("Infinity")])
            .clone(),
        "int32" | "sint32" | "sfixed32" => {
            json!(random.pick(&[0, 1, -1, 7, 300, i32::MAX, i32::MIN]))
        }
        "int64" | "sint64" | "sfixed64" => {
            json!(
                random
                    .pick(&[0, 1, -1, 300, i64::MAX, i64::MIN])
                    .to_string()
            )
        }
        "uint32" | "fixed32" => json!(random.pick(&[0, 1, 300, u32::MAX])),
        "uint64" | "fixed64" => json!(random.pick(&[0, 1, 300, u64::MAX]).to_string()),
        "bool" => json!(random.below(2) == 0),
        "bytes" => json!(random.pick(&["", "AA==", "/w==", "CAE=", "YWJj"])),
        _ => json!(random.pick(&["", "a", "order", "Zo\u{eb}", "\u{8}\u{1}"])),
    }
}

fn one_of(random: &mut Random, names: &[&'static str]) -> &'static str {
    names[random.below(names.len())]
}
