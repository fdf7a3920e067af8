//! Strings that fit a pattern or a format.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Texts in which `pattern` is likely found, the shortest first. Whoever needs to know checks.
pub(super) fn matching(pattern: &str, lengths: &[usize]) -> Vec<String> {
    let Ok(hir) = regex_syntax::parse(pattern) else {
        return Vec::new();
    };
    let mut texts: Vec<String> = Vec::new();
    let repeats = [0, 1, 2, 4, 8].into_iter().chain(lengths.iter().copied());
    for repeats in repeats.take(REPEATS_MAX) {
        for choice in 0..CHOICES {
            let mut text = String::new();
            if write(&hir, repeats, choice, &mut text).is_some() && !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    texts.sort_by_key(String::len);
    texts
}

/// Numbers of repeats tried of what repeats freely.
const REPEATS_MAX: usize = 12;
/// Ways tried through alternations and classes.
const CHOICES: usize = 3;
/// Longest text made, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Appends a text for `hir`, everything free repeated `repeats` times; `None` when it gets long.
fn write(hir: &Hir, repeats: usize, choice: usize, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(class) => text.push(member(class, choice)?),
        HirKind::Repetition(repetition) => {
            let least = usize::try_from(repetition.min).ok()?;
            let most = repetition.max.and_then(|max| usize::try_from(max).ok());
            for _ in 0..repeats.max(least).min(most.unwrap_or(usize::MAX)) {
                write(&repetition.sub, repeats, choice, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, repeats, choice, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, repeats, choice, text)?;
            }
        }
        HirKind::Alternation(parts) => {
            write(parts.get(choice % parts.len())?, repeats, choice, text)?;
        }
    }
    (text.len() <= TEXT_BYTES_MAX).then_some(())
}

/// A character of a class, a letter or digit when it has one.
fn member(class: &Class, choice: usize) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .map(|range| (range.start(), range.end()))
            .collect(),
        Class::Bytes(class) => class
            .ranges()
            .iter()
            .map(|range| (char::from(range.start()), char::from(range.end())))
            .collect(),
    };
    let within = |wanted: char| {
        ranges
            .iter()
            .any(|(start, end)| (*start..=*end).contains(&wanted))
    };
    let mut plain = ['a', '0', 'A', 'z', '_', '-'].into_iter();
    let plain: Vec<char> = plain.by_ref().filter(|wanted| within(*wanted)).collect();
    match plain.get(choice % plain.len().max(1)) {
        Some(wanted) => Some(*wanted),
        None => ranges
            .get(choice % ranges.len().max(1))
            .map(|range| range.0),
    }
}

/// Strings of a format, where formats are asserted.
pub(super) fn of_format(format: &str) -> &'static [&'static str] {
    match format {
        "date-time" => &["2020-01-02T03:04:05Z", "1999-12-31T23:59:59.5+01:00"],
        "date" => &["2020-01-02", "1999-12-31"],
        "time" => &["03:04:05Z", "23:59:59.5+01:00"],
        "duration" => &["P1D", "PT1H2M"],
        "email" | "idn-email" => &["a@b.cd", "first.last@example.com"],
        "hostname" | "idn-hostname" => &["a", "example.com"],
        "ipv4" => &["0.0.0.0", "192.168.100.200"],
        "ipv6" => &["::", "2001:db8::1"],
        "uri" | "iri" => &["a:b", "https://example.com/a?b=c#d"],
        "uri-reference" | "iri-reference" => &["", "/a/b?c#d"],
        "uri-template" => &["", "/a/{b}"],
        "uuid" => &["123e4567-e89b-12d3-a456-426614174000"],
        "json-pointer" => &["", "/a/b"],
        "relative-json-pointer" => &["0", "1/a"],
        "regex" => &["", "a", "^[a-z]+$"],
        _ => &[],
    }
}
