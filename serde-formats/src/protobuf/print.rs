//! [`ProtoFile`] to text, byte for byte as the reference prints it.
//!
//! The printed text is what is stored, hashed and answered, so blank lines and the blanks on them
//! matter: every line of a nested block is indented, empty ones too.

use super::ast::{
    EnumType, Extend, Extensions, Field, FieldType, Group, ImportKind, Label, Message, Oneof,
    OptionNode, ProtoFile, ReservedItem, Rpc, Service, Syntax, TagRange, Value, Visibility,
};
use super::parse_text::MAX_TAG;

/// The text of a file.
pub(super) fn print(file: &ProtoFile) -> String {
    let mut out = String::new();
    if let Some(syntax) = file.syntax {
        let word = match syntax {
            Syntax::Proto2 | Syntax::Proto3 => "syntax",
            Syntax::Edition(_) => "edition",
        };
        out.push_str(&format!("{word} = \"{}\";\n", syntax.name()));
    }
    if let Some(package) = &file.package {
        out.push_str(&format!("package {package};\n"));
    }
    let imports = [
        (ImportKind::Plain, ""),
        (ImportKind::Public, "public "),
        (ImportKind::Weak, "weak "),
        (ImportKind::Option, "option "),
    ];
    let mut lines = String::new();
    for (kind, word) in imports {
        for import in file.imports.iter().filter(|import| import.kind == kind) {
            lines.push_str(&format!("import {word}\"{}\";\n", escape(&import.path)));
        }
    }
    section(&mut out, &lines);
    section(&mut out, &declarations(&file.options));
    let types = file
        .messages
        .iter()
        .map(message)
        .chain(file.enums.iter().map(enum_type));
    section(&mut out, &types.collect::<String>());
    section(
        &mut out,
        &file.extends.iter().map(extend).collect::<String>(),
    );
    section(
        &mut out,
        &file.services.iter().map(service).collect::<String>(),
    );
    out
}

/// An empty line, then `lines`; nothing when there are none.
fn section(out: &mut String, lines: &str) {
    if !lines.is_empty() {
        out.push('\n');
        out.push_str(lines);
    }
}

/// As [`section`], one level deeper.
fn nested_section(out: &mut String, lines: &str) {
    if !lines.is_empty() {
        out.push('\n');
        indent(out, lines);
    }
}

fn indent(out: &mut String, lines: &str) {
    for line in lines.strip_suffix('\n').unwrap_or(lines).split('\n') {
        out.push_str("  ");
        out.push_str(line);
        out.push('\n');
    }
}

fn message(message: &Message) -> String {
    format!(
        "{}message {} {{{}}}\n",
        visibility(message.visibility),
        message.name,
        message_body(message)
    )
}

fn visibility(visibility: Option<Visibility>) -> String {
    visibility.map_or_else(String::new, |word| format!("{} ", word.name()))
}

fn message_body(message: &Message) -> String {
    let mut out = String::new();
    let reserved = message.reserved.iter().map(|items| reserved(items));
    nested_section(&mut out, &reserved.collect::<String>());
    nested_section(&mut out, &declarations(&message.options));
    nested_section(
        &mut out,
        &message.fields.iter().map(field).collect::<String>(),
    );
    nested_section(
        &mut out,
        &message.oneofs.iter().map(oneof).collect::<String>(),
    );
    nested_section(
        &mut out,
        &message.groups.iter().map(group).collect::<String>(),
    );
    nested_section(
        &mut out,
        &message
            .extensions
            .iter()
            .map(extensions)
            .collect::<String>(),
    );
    nested_section(
        &mut out,
        &message.extends.iter().map(extend).collect::<String>(),
    );
    let types = message
        .messages
        .iter()
        .map(self::message)
        .chain(message.enums.iter().map(enum_type));
    nested_section(&mut out, &types.collect::<String>());
    out
}

fn field(field: &Field) -> String {
    let mut options: Vec<String> = field.options.iter().map(option).collect();
    if let Some(default) = &field.default {
        options.push(format!("default = {}", value(default)));
    }
    if let Some(json_name) = &field.json_name {
        options.push(format!("json_name = \"{}\"", escape(json_name)));
    }
    format!(
        "{}{} {} = {}{};\n",
        label(field.label),
        field_type(&field.field_type),
        field.name,
        field.number,
        brackets(&options)
    )
}

fn label(label: Option<Label>) -> String {
    label.map_or_else(String::new, |label| format!("{} ", label.name()))
}

/// A type as it is written in a field.
pub(super) fn field_type(field_type: &FieldType) -> String {
    match field_type {
        FieldType::Scalar(scalar) => scalar.name().to_owned(),
        FieldType::Named(name) => name.clone(),
        FieldType::Map(key, value) => format!("map<{}, {}>", key.name(), self::field_type(value)),
    }
}

fn group(group: &Group) -> String {
    let options: Vec<String> = group.options.iter().map(option).collect();
    format!(
        "{}group {} = {}{} {{{}}}\n",
        label(group.label),
        group.body.name,
        group.number,
        brackets(&options),
        message_body(&group.body)
    )
}

fn oneof(oneof: &Oneof) -> String {
    let mut body = String::new();
    nested_section(&mut body, &declarations(&oneof.options));
    nested_section(
        &mut body,
        &oneof.fields.iter().map(field).collect::<String>(),
    );
    nested_section(
        &mut body,
        &oneof.groups.iter().map(group).collect::<String>(),
    );
    format!("oneof {} {{{body}}}\n", oneof.name)
}

fn extend(extend: &Extend) -> String {
    let mut body = String::new();
    let members = extend
        .fields
        .iter()
        .map(field)
        .chain(extend.groups.iter().map(group));
    nested_section(&mut body, &members.collect::<String>());
    format!("extend {} {{{body}}}\n", extend.name)
}

fn enum_type(enum_type: &EnumType) -> String {
    let mut lines: String = enum_type
        .reserved
        .iter()
        .map(|items| reserved(items))
        .collect();
    lines.push_str(&declarations(&enum_type.options));
    for constant in &enum_type.constants {
        let options: Vec<String> = constant.options.iter().map(option).collect();
        lines.push_str(&format!(
            "{} = {}{};\n",
            constant.name,
            constant.number,
            brackets(&options)
        ));
    }
    let mut body = String::new();
    nested_section(&mut body, &lines);
    let visibility = visibility(enum_type.visibility);
    format!("{visibility}enum {} {{{body}}}\n", enum_type.name)
}

fn service(service: &Service) -> String {
    let mut body = String::new();
    nested_section(&mut body, &declarations(&service.options));
    nested_section(&mut body, &service.rpcs.iter().map(rpc).collect::<String>());
    format!("service {} {{{body}}}\n", service.name)
}

fn rpc(rpc: &Rpc) -> String {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    let mut out = format!(
        "rpc {} ({}{}) returns ({}{})",
        rpc.name,
        stream(rpc.request_streams),
        rpc.request,
        stream(rpc.response_streams),
        rpc.response
    );
    if !rpc.options.is_empty() {
        out.push_str(" {");
        nested_section(&mut out, &declarations(&rpc.options));
        out.push('}');
    }
    out.push_str(";\n");
    out
}

fn reserved(items: &[ReservedItem]) -> String {
    let items: Vec<String> = items
        .iter()
        .map(|item| match item {
            ReservedItem::Range(range) => tag_range(*range),
            ReservedItem::Name(name) => format!("\"{}\"", escape(name)),
            ReservedItem::Identifier(name) => name.clone(),
        })
        .collect();
    format!("reserved {};\n", items.join(", "))
}

fn extensions(extensions: &Extensions) -> String {
    let ranges: Vec<String> = extensions.ranges.iter().copied().map(tag_range).collect();
    let options: Vec<String> = extensions.options.iter().map(option).collect();
    format!("extensions {}{};\n", ranges.join(", "), brackets(&options))
}

fn tag_range(range: TagRange) -> String {
    if !range.spelled_as_range {
        return range.start.to_string();
    }
    if range.end >= MAX_TAG {
        return format!("{} to max", range.start);
    }
    format!("{} to {}", range.start, range.end)
}

fn declarations(options: &[OptionNode]) -> String {
    options
        .iter()
        .map(|node| format!("option {};\n", option(node)))
        .collect()
}

/// ` [a = b]`, or one option a line.
fn brackets(options: &[String]) -> String {
    match options {
        [] => String::new(),
        [one] => format!(" [{one}]"),
        many => {
            let mut out = " [\n".to_owned();
            for (index, one) in many.iter().enumerate() {
                let comma = if index + 1 < many.len() { "," } else { "" };
                indent(&mut out, &format!("{one}{comma}"));
            }
            out.push(']');
            out
        }
    }
}

fn option(option: &OptionNode) -> String {
    let mut out = if option.extension {
        format!("({})", option.name)
    } else {
        option.name.clone()
    };
    for part in &option.path {
        out.push('.');
        out.push_str(part);
    }
    match &option.value {
        // The reference's one exception to a line an item.
        Value::List(items) if matches!(items.as_slice(), [Value::Map(_)]) => {
            let items: String = items.iter().map(value).collect();
            format!("{out} = [{items}]")
        }
        other => format!("{out} = {}", value(other)),
    }
}

fn value(node: &Value) -> String {
    match node {
        Value::String(text) => format!("\"{}\"", escape(text)),
        Value::Number(text) | Value::Word(text) => text.clone(),
        Value::Map(entries) => {
            let lines = entries
                .iter()
                .map(|(key, entry)| format!("{key}: {}", value(entry)));
            block('{', lines, '}')
        }
        Value::List(items) => block('[', items.iter().map(value), ']'),
    }
}

fn block(open: char, lines: impl ExactSizeIterator<Item = String>, close: char) -> String {
    let mut out = format!("{open}\n");
    let count = lines.len();
    for (index, line) in lines.enumerate() {
        let comma = if index + 1 < count { "," } else { "" };
        indent(&mut out, &format!("{line}{comma}"));
    }
    out.push(close);
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            // The reference prints it raw, and could not read its own text back.
            '\0' => out.push_str("\\000"),
            _ => out.push(c),
        }
    }
    out
}
