//! Tokens to [`ProtoFile`], by recursive descent with bounded depth.
//!
//! This file holds the parser and reads files and messages; [`super::parse_members`] reads what is
//! in them. Checks grammar and the label rules of proto2 and proto3, which the reference's parser
//! checks too. Names, numbers and options are judged later, by [`super::link`].

use super::ast::{At, Edition, Import, ImportKind, Message, ProtoFile, Syntax, Visibility};
use super::lex::{Token, TokenKind, tokenize};
use super::parse_members::Member;
use crate::schema::ParseError;

/// Deepest nesting of messages and groups, as in `protoc`.
pub(super) const MAX_MESSAGE_DEPTH: usize = 32;
/// Largest field number.
pub(super) const MAX_TAG: i32 = 536_870_911;

/// Parses the text of a `.proto` file.
///
/// # Errors
/// On anything that is not the grammar of a `.proto` file, with line and column.
pub(super) fn parse_text(text: &str) -> Result<ProtoFile, ParseError> {
    let tokens = tokenize(text)?;
    let mut parser = Parser {
        tokens: tokens.tokens,
        at: 0,
        syntax: None,
        objection: tokens.objection,
    };
    let mut file = parser.file()?;
    file.objection = parser.objection;
    Ok(file)
}

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    pub(super) at: usize,
    pub(super) syntax: Option<Syntax>,
    /// The first thing that `protoc` refuses and the reference does not.
    objection: Option<ParseError>,
}

const END: TokenKind<'static> = TokenKind::End;

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> &TokenKind<'a> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &TokenKind<'a> {
        self.tokens
            .get(self.at.saturating_add(ahead))
            .map_or(&END, |token| &token.kind)
    }

    pub(super) fn advance(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// Where the next token starts.
    pub(super) fn here(&self) -> At {
        let token = self.tokens.get(self.at).or_else(|| self.tokens.last());
        token.map_or_else(At::default, |token| At {
            line: token.line,
            column: token.column,
        })
    }

    /// Notes what `protoc` refuses at `at`; parsing goes on.
    pub(super) fn object(&mut self, at: At, message: &str) {
        self.objection.get_or_insert_with(|| ParseError {
            message: message.to_owned(),
            position: Some((at.line, at.column)),
        });
    }

    pub(super) fn is_edition(&self) -> bool {
        matches!(self.syntax, Some(Syntax::Edition(_)))
    }

    fn is_2024(&self) -> bool {
        self.syntax == Some(Syntax::Edition(Edition::E2024))
    }

    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        let token = self.tokens.get(self.at).or_else(|| self.tokens.last());
        ParseError {
            message: message.into(),
            position: token.map(|token| (token.line, token.column)),
        }
    }

    pub(super) fn expected(&self, what: &str) -> ParseError {
        self.error(format!(
            "expected {what} but found {}",
            self.peek().describe()
        ))
    }

    pub(super) fn at_symbol(&self, symbol: char) -> bool {
        *self.peek() == TokenKind::Symbol(symbol)
    }

    pub(super) fn eat(&mut self, symbol: char) -> bool {
        let found = self.at_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, symbol: char) -> Result<(), ParseError> {
        if self.eat(symbol) {
            Ok(())
        } else {
            Err(self.expected(&format!("'{symbol}'")))
        }
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Ident(name) if *name == word)
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn ident(&mut self, what: &str) -> Result<&'a str, ParseError> {
        if let TokenKind::Ident(name) = *self.peek() {
            self.advance();
            Ok(name)
        } else {
            Err(self.expected(what))
        }
    }

    /// A string, adjacent ones joined.
    pub(super) fn string(&mut self, what: &str) -> Result<String, ParseError> {
        let mut value = None::<String>;
        while let TokenKind::String(part) = self.peek() {
            value.get_or_insert_default().push_str(part);
            self.advance();
        }
        value.ok_or_else(|| self.expected(what))
    }

    /// `a.b.c` or, for types, `.a.b.c`.
    pub(super) fn qualified_name(&mut self, what: &str) -> Result<String, ParseError> {
        let mut name = String::new();
        if self.eat('.') {
            name.push('.');
        }
        name.push_str(self.ident(what)?);
        while self.at_symbol('.') {
            self.advance();
            name.push('.');
            name.push_str(self.ident(what)?);
        }
        Ok(name)
    }

    pub(super) fn integer(&mut self, what: &str) -> Result<i32, ParseError> {
        let at = self.at;
        let negative = self.eat('-');
        let TokenKind::Number(text) = *self.peek() else {
            return Err(self.expected(what));
        };
        let magnitude = parse_integer(text);
        let value = magnitude
            .map(|value| if negative { -value } else { value })
            .and_then(|value| i32::try_from(value).ok());
        let Some(value) = value else {
            self.at = at;
            return Err(self.error(format!("expected {what} but found '{text}'")));
        };
        self.advance();
        Ok(value)
    }

    fn file(&mut self) -> Result<ProtoFile, ParseError> {
        let mut file = ProtoFile::default();
        let mut first = true;
        loop {
            let statement = self.at;
            let TokenKind::Ident(word) = *self.peek() else {
                match self.peek() {
                    TokenKind::End => return Ok(file),
                    TokenKind::Symbol(';') => {
                        self.advance();
                        continue;
                    }
                    _ => return Err(self.expected("a declaration")),
                }
            };
            self.advance();
            match word {
                "syntax" | "edition" => {
                    if !first {
                        self.at = statement;
                        return Err(self.error(format!("'{word}' must be the first declaration")));
                    }
                    let syntax = if word == "syntax" {
                        self.syntax()?
                    } else {
                        self.edition()?
                    };
                    file.syntax = Some(syntax);
                    self.syntax = Some(syntax);
                }
                "package" => {
                    if file.package.is_some() {
                        self.at = statement;
                        return Err(self.error("a second package"));
                    }
                    file.package_at = self.here();
                    file.package = Some(self.qualified_name("a package name")?);
                    self.expect(';')?;
                }
                "import" => file.imports.push(self.import()?),
                "option" => file.options.push(self.option_statement()?),
                "message" => file.messages.push(self.message(1, None)?),
                "enum" => file.enums.push(self.enum_type(None)?),
                "export" | "local" if self.is_2024() => {
                    let visibility = visibility(word);
                    if self.eat_word("message") {
                        file.messages.push(self.message(1, visibility)?);
                    } else if self.eat_word("enum") {
                        file.enums.push(self.enum_type(visibility)?);
                    } else {
                        return Err(self.expected("'message' or 'enum'"));
                    }
                }
                "extend" => file.extends.push(self.extend(1)?),
                "service" => file.services.push(self.service()?),
                _ => {
                    self.at = statement;
                    return Err(self.error(format!("unexpected '{word}'")));
                }
            }
            first = false;
        }
    }

    fn syntax(&mut self) -> Result<Syntax, ParseError> {
        self.expect('=')?;
        let at = self.at;
        let name = self.string("\"proto2\" or \"proto3\"")?;
        let syntax = match name.as_str() {
            "proto2" => Syntax::Proto2,
            "proto3" => Syntax::Proto3,
            _ => {
                self.at = at;
                return Err(self.error(format!("unexpected syntax {name:?}")));
            }
        };
        self.expect(';')?;
        Ok(syntax)
    }

    fn edition(&mut self) -> Result<Syntax, ParseError> {
        self.expect('=')?;
        let at = self.at;
        let name = self.string("an edition")?;
        let Some(edition) = Edition::from_name(&name) else {
            self.at = at;
            return Err(self.error(format!(
                "unknown edition {name:?}, the known ones are \"2023\" and \"2024\""
            )));
        };
        self.expect(';')?;
        Ok(Syntax::Edition(edition))
    }

    fn import(&mut self) -> Result<Import, ParseError> {
        let kind = if self.eat_word("public") {
            ImportKind::Public
        } else if self.eat_word("weak") {
            ImportKind::Weak
        } else if self.is_2024() && self.eat_word("option") {
            ImportKind::Option
        } else {
            ImportKind::Plain
        };
        let at = self.here();
        let path = self.string("an import path")?;
        self.expect(';')?;
        Ok(Import { kind, path, at })
    }

    fn message(
        &mut self,
        depth: usize,
        visibility: Option<Visibility>,
    ) -> Result<Message, ParseError> {
        let at = self.here();
        let name = self.ident("a message name")?.to_owned();
        let mut message = self.message_body(name, at, depth)?;
        message.visibility = visibility;
        Ok(message)
    }

    pub(super) fn message_body(
        &mut self,
        name: String,
        at: At,
        depth: usize,
    ) -> Result<Message, ParseError> {
        if depth > MAX_MESSAGE_DEPTH {
            return Err(self.error(format!(
                "message '{name}' nests deeper than {MAX_MESSAGE_DEPTH}"
            )));
        }
        let mut message = Message {
            name,
            at,
            ..Message::default()
        };
        self.expect('{')?;
        loop {
            if self.eat('}') {
                return Ok(message);
            }
            if self.eat(';') {
                continue;
            }
            self.message_statement(&mut message, depth)?;
        }
    }

    fn message_statement(&mut self, message: &mut Message, depth: usize) -> Result<(), ParseError> {
        let TokenKind::Ident(word) = *self.peek() else {
            if self.at_symbol('.') {
                let field = self.field(None, true)?;
                message.fields.push(field);
                return Ok(());
            }
            return Err(self.expected("a field or '}'"));
        };
        let named_block = matches!(self.peek_at(1), TokenKind::Ident(_))
            && *self.peek_at(2) == TokenKind::Symbol('{');
        match word {
            "message" if named_block => {
                self.advance();
                message.messages.push(self.message(depth + 1, None)?);
            }
            "enum" if named_block => {
                self.advance();
                message.enums.push(self.enum_type(None)?);
            }
            "export" | "local" if self.is_2024() && self.type_follows() => {
                let visibility = visibility(word);
                self.advance();
                if self.eat_word("enum") {
                    message.enums.push(self.enum_type(visibility)?);
                } else {
                    self.advance();
                    message.messages.push(self.message(depth + 1, visibility)?);
                }
            }
            "oneof" if named_block => {
                self.advance();
                message.oneofs.push(self.oneof(depth)?);
            }
            "extend" if self.extend_follows() => {
                self.advance();
                message.extends.push(self.extend(depth + 1)?);
            }
            "option"
                if matches!(
                    self.peek_at(1),
                    TokenKind::Symbol('(') | TokenKind::Ident(_)
                ) =>
            {
                self.advance();
                message.options.push(self.option_statement()?);
            }
            "reserved"
                if matches!(
                    self.peek_at(1),
                    TokenKind::Number(_) | TokenKind::String(_) | TokenKind::Symbol('-')
                ) || self.reserved_identifiers_follow() =>
            {
                self.advance();
                message.reserved.push(self.reserved()?);
            }
            "extensions" if matches!(self.peek_at(1), TokenKind::Number(_)) => {
                self.advance();
                message.extensions.push(self.extensions()?);
            }
            _ => match self.member(false, depth)? {
                Member::Field(field) => message.fields.push(field),
                Member::Group(group) => message.groups.push(group),
            },
        }
        Ok(())
    }

    /// Whether the word after the next opens a type: `export message M {`.
    fn type_follows(&self) -> bool {
        matches!(self.peek_at(1), TokenKind::Ident("message" | "enum"))
            && matches!(self.peek_at(2), TokenKind::Ident(_))
            && *self.peek_at(3) == TokenKind::Symbol('{')
    }

    /// Whether names without quotes follow `reserved`, as editions write them.
    fn reserved_identifiers_follow(&self) -> bool {
        self.is_edition()
            && matches!(self.peek_at(1), TokenKind::Ident(_))
            && matches!(self.peek_at(2), TokenKind::Symbol(',' | ';'))
    }

    /// `extend` opens a block when a type name and `{` follow; else it is a type's name.
    fn extend_follows(&self) -> bool {
        let mut ahead = 1;
        if *self.peek_at(ahead) == TokenKind::Symbol('.') {
            ahead += 1;
        }
        loop {
            if !matches!(self.peek_at(ahead), TokenKind::Ident(_)) {
                return false;
            }
            match self.peek_at(ahead + 1) {
                TokenKind::Symbol('{') => return true,
                TokenKind::Symbol('.') => ahead += 2,
                _ => return false,
            }
        }
    }
}

/// A decimal, hexadecimal or octal integer.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    parse_magnitude(text).and_then(|number| i64::try_from(number).ok())
}

/// As [`parse_integer`], up to 64 bits.
pub(super) fn parse_magnitude(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return u64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

fn visibility(word: &str) -> Option<Visibility> {
    Some(if word == "export" {
        Visibility::Export
    } else {
        Visibility::Local
    })
}
