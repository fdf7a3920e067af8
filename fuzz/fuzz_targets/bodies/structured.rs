//! JSON Schemas and values made of bytes: every input is one, and a byte changed changes a part.

use std::fmt::Write as _;

/// Bytes that choices are made from; zeros when they are used up.
pub(crate) struct Choices<'b>(pub(crate) &'b [u8]);

/// Schemas and values nest so deep at most.
const DEPTH_MAX: usize = 4;

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }

    /// A document with a definition that its schemas refer to.
    pub(crate) fn document(&mut self) -> String {
        let draft = match self.below(4) {
            0 => r#""$schema":"https://json-schema.org/draft/2020-12/schema","#,
            1 => r#""$schema":"http://json-schema.org/draft-04/schema#","#,
            _ => "",
        };
        let definition = self.schema(1);
        let keywords = self.keywords(0);
        let comma = if keywords.is_empty() { "" } else { "," };
        format!(r#"{{{draft}"definitions":{{"d":{definition}}}{comma}{keywords}}}"#)
    }

    fn schema(&mut self, depth: usize) -> String {
        match self.below(16) {
            0 => "{}".to_owned(),
            1 if depth > 1 => r##"{"$ref":"#/definitions/d"}"##.to_owned(),
            2 if depth > 1 => r##"{"$ref":"#"}"##.to_owned(),
            _ => format!("{{{}}}", self.keywords(depth)),
        }
    }

    fn schemas(&mut self, depth: usize) -> String {
        let count = 1 + self.below(3);
        let schemas: Vec<String> = (0..count).map(|_| self.schema(depth + 1)).collect();
        schemas.join(",")
    }

    fn keywords(&mut self, depth: usize) -> String {
        let small = |choices: &mut Self| choices.below(5);
        match self.below(if depth < DEPTH_MAX { 22 } else { 12 }) {
            0 => r#""type":"null""#.to_owned(),
            1 => r#""type":"boolean""#.to_owned(),
            2 => format!(
                r#""type":"string","minLength":{},"maxLength":{}"#,
                small(self),
                small(self)
            ),
            3 => format!(
                r#""type":"integer","minimum":-{},"maximum":{}"#,
                small(self),
                small(self)
            ),
            4 => format!(r#""type":"number","multipleOf":{}"#, 1 + small(self)),
            5 => format!(r#""minimum":{}.5"#, small(self)),
            6 => format!(r#""enum":[{}]"#, self.literals()),
            7 => format!(r#""type":"string","enum":["a","{}"]"#, self.name()),
            8 => r#""type":["string","null"]"#.to_owned(),
            9 => format!(r#""type":"string","pattern":"{}""#, self.pattern()),
            10 => format!(r#""const":{}"#, self.literal()),
            11 => r#""type":"array""#.to_owned(),
            12..=15 => self.object(depth),
            16 => format!(
                r#""type":"array","items":{},"maxItems":{}"#,
                self.schema(depth + 1),
                small(self)
            ),
            17 => format!(r#""oneOf":[{{"type":"null"}},{}]"#, self.schema(depth + 1)),
            18 => format!(r#""oneOf":[{}]"#, self.schemas(depth)),
            19 => format!(r#""anyOf":[{}]"#, self.schemas(depth)),
            20 => format!(r#""allOf":[{}]"#, self.schemas(depth)),
            _ => format!(r#""not":{}"#, self.schema(depth + 1)),
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let mut members: Vec<String> = Vec::new();
        for name in ["a", "b", "\\u00e9c"] {
            if self.below(4) > 0 {
                members.push(format!(r#""{name}":{}"#, self.schema(depth + 1)));
            }
        }
        let mut text = format!(r#""type":"object","properties":{{{}}}"#, members.join(","));
        match self.below(4) {
            0 => text.push_str(r#","additionalProperties":false"#),
            1 => write!(
                text,
                r#","additionalProperties":{}"#,
                self.schema(depth + 1)
            )
            .unwrap_or_default(),
            _ => {}
        }
        if self.below(3) == 0 {
            write!(text, r#","required":["{}"]"#, self.name()).unwrap_or_default();
        }
        text
    }

    fn name(&mut self) -> &'static str {
        ["a", "b", "éc", "d", "\\u0061"][usize::from(self.below(5))]
    }

    fn pattern(&mut self) -> &'static str {
        ["^a", "b$", "^[a-c]+$", "é", "^(a|b)*$"][usize::from(self.below(5))]
    }

    fn literal(&mut self) -> &'static str {
        [
            "null", "true", "0", "1", "-2", "\"a\"", "\"\"", "1.0", "0.5", "[1]", "{}", "false",
        ][usize::from(self.below(12))]
    }

    fn literals(&mut self) -> String {
        let count = 1 + self.below(3);
        let mut literals: Vec<&str> = (0..count).map(|_| self.literal()).collect();
        literals.sort_unstable();
        literals.dedup();
        literals.join(",")
    }

    /// A JSON text, valid but for a byte here and there.
    pub(crate) fn value(&mut self, depth: usize) -> String {
        match self.below(if depth < DEPTH_MAX { 20 } else { 12 }) {
            0 => "null".to_owned(),
            1 => "true".to_owned(),
            2 => "false".to_owned(),
            3 | 4 => format!("{}", self.below(7)),
            5 => format!("-{}.{}", self.below(3), self.below(10)),
            6 => format!("{}e{}", self.next(), self.below(4)),
            7 | 8 => format!(r#""{}""#, self.name()),
            9 => r#""\ud83d\ude00\n""#.to_owned(),
            10 => format!(
                "{}{}",
                self.literal(),
                if self.below(8) == 0 { "," } else { " " }
            ),
            11 => format!("\"{}\"", char::from(self.next())),
            12 | 13 => {
                let count = self.below(4);
                let items: Vec<String> = (0..count).map(|_| self.value(depth + 1)).collect();
                format!("[{}]", items.join(" ,"))
            }
            _ => {
                let count = self.below(5);
                let members: Vec<String> = (0..count)
                    .map(|_| format!(r#""{}" :{}"#, self.name(), self.value(depth + 1)))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }
}
