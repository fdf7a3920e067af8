//! The part of the parser that reads options and their values.
//!
//! Values are kept as written; what they mean depends on the option's declaration.

use super::ast::{OptionNode, Value};
use super::lex::TokenKind;
use super::parse_text::Parser;
use crate::schema::ParseError;

/// Deepest nesting of an option's value.
const MAX_VALUE_DEPTH: usize = 32;
/// Most distinct keys in one text-format message; keys are searched one by one.
const MAX_VALUE_ENTRIES: usize = 1024;

impl Parser<'_> {
    /// After the word `option`.
    pub(super) fn option_statement(&mut self) -> Result<OptionNode, ParseError> {
        let option = self.option()?;
        self.expect(';')?;
        Ok(option)
    }

    /// `[a = b, c = d]`, or nothing.
    pub(super) fn bracketed_options(&mut self) -> Result<Vec<OptionNode>, ParseError> {
        let mut options = Vec::new();
        if !self.eat('[') {
            return Ok(options);
        }
        loop {
            options.push(self.option()?);
            if self.eat(']') {
                return Ok(options);
            }
            self.expect(',')?;
        }
    }

    fn option(&mut self) -> Result<OptionNode, ParseError> {
        let at = self.here();
        let extension = self.eat('(');
        let name = if extension {
            let name = self.qualified_name("an option name")?;
            self.expect(')')?;
            name
        } else {
            self.plain_option_name()?
        };
        let mut path = Vec::new();
        while self.eat('.') {
            if self.eat('(') {
                path.push(format!("({})", self.qualified_name("an option name")?));
                self.expect(')')?;
            } else {
                path.push(self.ident("an option name")?.to_owned());
            }
        }
        self.expect('=')?;
        let value_at = self.here();
        let value = self.value(0)?;
        if matches!(value, Value::List(_)) {
            self.object(
                value_at,
                "a list is not an option's value, give the option again instead",
            );
        }
        Ok(OptionNode {
            name,
            extension,
            path,
            value,
            at,
            value_at,
        })
    }

    /// `a.b.c`, up to a part in parentheses.
    fn plain_option_name(&mut self) -> Result<String, ParseError> {
        let mut name = self.ident("an option name")?.to_owned();
        while self.at_symbol('.') && *self.peek_at(1) != TokenKind::Symbol('(') {
            self.advance();
            name.push('.');
            name.push_str(self.ident("an option name")?);
        }
        Ok(name)
    }

    fn value(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth > MAX_VALUE_DEPTH {
            return Err(self.error(format!("the value nests deeper than {MAX_VALUE_DEPTH}")));
        }
        match self.peek().clone() {
            TokenKind::Symbol('{') => {
                self.advance();
                self.map_value('}', depth)
            }
            TokenKind::Symbol('<') => {
                self.advance();
                self.map_value('>', depth)
            }
            TokenKind::Symbol('[') => {
                self.advance();
                let mut items = Vec::new();
                if self.eat(']') {
                    return Ok(Value::List(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.eat(']') {
                        return Ok(Value::List(items));
                    }
                    self.expect(',')?;
                }
            }
            TokenKind::String(_) => self.string("a string").map(Value::String),
            TokenKind::Number(number) => {
                self.advance();
                Ok(Value::Number(number.to_owned()))
            }
            TokenKind::Symbol(sign @ ('-' | '+')) => {
                if sign == '+' {
                    self.object(self.here(), "a number has no sign '+'");
                }
                self.advance();
                let sign = if sign == '-' { "-" } else { "" };
                match *self.peek() {
                    TokenKind::Number(text) | TokenKind::Ident(text) => {
                        self.advance();
                        Ok(Value::Number(format!("{sign}{text}")))
                    }
                    _ => Err(self.expected("a number")),
                }
            }
            TokenKind::Ident(_) => self.qualified_name("a value").map(Value::Word),
            _ => Err(self.expected("a value")),
        }
    }

    /// The inside of a text-format message; a key that comes again makes a list.
    fn map_value(&mut self, close: char, depth: usize) -> Result<Value, ParseError> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while !self.eat(close) {
            let key = if self.eat('[') {
                let mut name = self.qualified_name("an extension name")?;
                while self.eat('/') {
                    name.push('/');
                    name.push_str(&self.qualified_name("a type name")?);
                }
                self.expect(']')?;
                format!("[{name}]")
            } else {
                self.ident("a field name")?.to_owned()
            };
            if !self.eat(':') && !self.at_symbol('{') && !self.at_symbol('<') {
                return Err(self.expected("':'"));
            }
            let value = self.value(depth + 1)?;
            if entries.len() >= MAX_VALUE_ENTRIES {
                return Err(self.error(format!("a value has more than {MAX_VALUE_ENTRIES} keys")));
            }
            add_entry(&mut entries, key, value);
            if !self.eat(',') {
                self.eat(';');
            }
        }
        Ok(Value::Map(entries))
    }
}

/// Adds `value` under `key`; a second value makes both members of one list.
pub(super) fn add_entry(entries: &mut Vec<(String, Value)>, key: String, value: Value) {
    let Some((_, old)) = entries.iter_mut().find(|(name, _)| *name == key) else {
        entries.push((key, value));
        return;
    };
    if !matches!(old, Value::List(_)) {
        let first = std::mem::replace(old, Value::List(Vec::new()));
        if let Value::List(items) = old {
            items.push(first);
        }
    }
    if let Value::List(items) = old {
        match value {
            Value::List(more) => items.extend(more),
            one => items.push(one),
        }
    }
}
