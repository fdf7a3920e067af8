//! How subject and context names are written, and which subject a topic's records belong to.
//!
//! Pure text. Source: Confluent's `QualifiedSubject` and subject name strategies.

/// The bottom layer of settings for every context.
pub const GLOBAL_CONTEXT: &str = ".__GLOBAL";

/// A subject with its context: `:.ctx:subject`, or bare in the default context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QualifiedSubject<'a> {
    /// Starts with a dot; `.` is the default context.
    pub context: &'a str,
    /// May be empty: then the name means the context itself.
    pub subject: &'a str,
}

impl<'a> QualifiedSubject<'a> {
    /// Reads any text; what does not look like a context is a subject of the default one.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        let Some(rest) = name.strip_prefix(':').filter(|rest| rest.starts_with('.')) else {
            return Self {
                context: ".",
                subject: name,
            };
        };
        match rest.split_once(':') {
            Some((context, subject)) => Self { context, subject },
            None => Self {
                context: rest,
                subject: "",
            },
        }
    }

    /// The stored spelling: no prefix in the default context.
    #[must_use]
    pub fn to_name(self) -> String {
        format!("{}{}", context_prefix(self.context), self.subject)
    }

    /// Whether the name carries no context of its own.
    #[must_use]
    pub fn is_in_default_context(&self) -> bool {
        self.context == "."
    }

    /// Whether schemas may be registered under it: no control characters, no reserved names.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.is_valid_for_settings() && self.context != GLOBAL_CONTEXT
    }

    /// Whether it names one subject: neither empty nor the wildcard.
    #[must_use]
    pub fn names_a_subject(&self) -> bool {
        !matches!(self.subject, "" | "*")
    }

    /// Whether settings may be stored for it: as [`Self::is_valid`], and the global context.
    #[must_use]
    pub fn is_valid_for_settings(&self) -> bool {
        let has_control = |text: &str| text.chars().any(char::is_control);
        !has_control(self.context)
            && !has_control(self.subject)
            && !matches!(self.subject, "__GLOBAL" | "__EMPTY")
    }
}

/// `""` for the default context, else `:.ctx:`.
#[must_use]
pub fn context_prefix(context: &str) -> String {
    if context == "." {
        String::new()
    } else {
        format!(":{context}:")
    }
}

/// The stored spelling of any spelling.
#[must_use]
pub fn normalize(name: &str) -> String {
    QualifiedSubject::parse(name).to_name()
}

/// `subject` as seen from `context`: its own context wins.
#[must_use]
pub fn qualify(context: &str, subject: &str) -> String {
    if subject.starts_with(":.") {
        normalize(subject)
    } else {
        format!("{}{subject}", context_prefix(context))
    }
}

/// Which subject a topic's keys or values are registered under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectNameStrategy {
    /// `<topic>-key` or `<topic>-value`.
    TopicName,
    /// The record's full name.
    RecordName,
    /// `<topic>-<record's full name>`.
    TopicRecordName,
}

impl SubjectNameStrategy {
    /// The subject; `None` when the strategy wants a record name and there is none.
    #[must_use]
    pub fn subject(self, topic: &str, is_key: bool, record_name: Option<&str>) -> Option<String> {
        match self {
            Self::TopicName => {
                let part = if is_key { "key" } else { "value" };
                Some(format!("{topic}-{part}"))
            }
            Self::RecordName => record_name.map(str::to_owned),
            Self::TopicRecordName => record_name.map(|name| format!("{topic}-{name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_reference_reads_them() {
        for (name, context, subject, stored) in [
            ("s", ".", "s", "s"),
            ("", ".", "", ""),
            (":.:s", ".", "s", "s"),
            (":.c:s", ".c", "s", ":.c:s"),
            (":.c:", ".c", "", ":.c:"),
            (":.c", ".c", "", ":.c:"),
            (":.c:a:b", ".c", "a:b", ":.c:a:b"),
            (":x:s", ".", ":x:s", ":x:s"),
            ("a/b", ".", "a/b", "a/b"),
        ] {
            let parsed = QualifiedSubject::parse(name);
            assert_eq!(
                (parsed.context, parsed.subject),
                (context, subject),
                "{name}"
            );
            assert_eq!(parsed.to_name(), stored, "{name}");
        }
    }

    #[test]
    fn reserved_and_control_names_are_invalid() {
        for (name, valid, for_settings) in [
            ("s", true, true),
            ("*", true, true),
            ("", true, true),
            ("__GLOBAL", false, false),
            ("__EMPTY", false, false),
            ("a\u{1}b", false, false),
            ("a\u{9f}b", false, false),
            (":.__GLOBAL:x", false, true),
        ] {
            let parsed = QualifiedSubject::parse(name);
            assert_eq!(parsed.is_valid(), valid, "{name:?}");
            assert_eq!(parsed.is_valid_for_settings(), for_settings, "{name:?}");
        }
    }

    #[test]
    fn strategies_name_subjects() {
        use SubjectNameStrategy::{RecordName, TopicName, TopicRecordName};
        for (strategy, is_key, record, expected) in [
            (TopicName, false, None, Some("t-value")),
            (TopicName, true, Some("a.B"), Some("t-key")),
            (RecordName, false, Some("a.B"), Some("a.B")),
            (RecordName, false, None, None),
            (TopicRecordName, true, Some("a.B"), Some("t-a.B")),
        ] {
            assert_eq!(strategy.subject("t", is_key, record).as_deref(), expected);
        }
    }
}
