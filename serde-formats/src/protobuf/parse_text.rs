//! Tokens to [`ProtoFile`], by recursive descent with bounded depth.
//!
//! Checks grammar and the label rules of proto2 and proto3, which the reference's parser checks
//! too. Names, numbers and options are judged later, by [`super::compile`].

use super::ast::{
    EnumConstant, EnumType, Extend, Extensions, Field, FieldType, Group, Import, ImportKind, Label,
    Message, Oneof, ProtoFile, ReservedItem, Rpc, Scalar, Service, Syntax, TagRange, Value,
};
use super::lex::{Token, TokenKind, tokenize};
use crate::schema::ParseError;

/// Deepest nesting of messages and groups, as in `protoc`.
pub(super) const MAX_MESSAGE_DEPTH: usize = 32;
/// Largest field number.
pub(super) const MAX_TAG: i32 = 536_870_911;

/// Parses the text of a `.proto` file.
///
/// # Errors
/// On anything that is not proto2 or proto3 grammar, with line and column.
pub(super) fn parse_text(text: &str) -> Result<ProtoFile, ParseError> {
    let tokens = tokenize(text)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        proto3: false,
    };
    parser.file()
}

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    proto3: bool,
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

    fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Ident(name) if *name == word)
    }

    fn eat_word(&mut self, word: &str) -> bool {
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

    fn integer(&mut self, what: &str) -> Result<i32, ParseError> {
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
                "syntax" => {
                    if !first {
                        self.at = statement;
                        return Err(self.error("'syntax' must be the first declaration"));
                    }
                    file.syntax = Some(self.syntax()?);
                    self.proto3 = file.is_proto3();
                }
                "edition" => {
                    self.at = statement;
                    return Err(
                        self.error("editions are not supported, only proto2 and proto3 are")
                    );
                }
                "package" => {
                    if file.package.is_some() {
                        self.at = statement;
                        return Err(self.error("a second package"));
                    }
                    file.package = Some(self.qualified_name("a package name")?);
                    self.expect(';')?;
                }
                "import" => file.imports.push(self.import()?),
                "option" => file.options.push(self.option_statement()?),
                "message" => file.messages.push(self.message(1)?),
                "enum" => file.enums.push(self.enum_type()?),
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

    fn import(&mut self) -> Result<Import, ParseError> {
        let kind = if self.eat_word("public") {
            ImportKind::Public
        } else if self.eat_word("weak") {
            ImportKind::Weak
        } else {
            ImportKind::Plain
        };
        let path = self.string("an import path")?;
        self.expect(';')?;
        Ok(Import { kind, path })
    }

    fn message(&mut self, depth: usize) -> Result<Message, ParseError> {
        let name = self.ident("a message name")?.to_owned();
        self.message_body(name, depth)
    }

    fn message_body(&mut self, name: String, depth: usize) -> Result<Message, ParseError> {
        if depth > MAX_MESSAGE_DEPTH {
            return Err(self.error(format!(
                "message '{name}' nests deeper than {MAX_MESSAGE_DEPTH}"
            )));
        }
        let mut message = Message {
            name,
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
                message.messages.push(self.message(depth + 1)?);
            }
            "enum" if named_block => {
                self.advance();
                message.enums.push(self.enum_type()?);
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
                ) =>
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

    /// A field or a group, with its label.
    fn member(&mut self, in_oneof: bool, depth: usize) -> Result<Member, ParseError> {
        let start = self.at;
        let mut label = match self.peek() {
            TokenKind::Ident("optional") => Some(Label::Optional),
            TokenKind::Ident("required") => Some(Label::Required),
            TokenKind::Ident("repeated") => Some(Label::Repeated),
            _ => None,
        };
        if label.is_some() {
            // `optional = 1` cannot be; a type must follow a label.
            self.advance();
        }
        if label == Some(Label::Required) && self.proto3 {
            self.at = start;
            return Err(self.error("'required' is not allowed in proto3"));
        }
        if label.is_some() && in_oneof {
            self.at = start;
            return Err(self.error("a label is not allowed in a oneof"));
        }
        let is_map = self.at_word("map") && *self.peek_at(1) == TokenKind::Symbol('<');
        if label.is_some() && is_map {
            self.at = start;
            return Err(self.error("a label is not allowed on a map"));
        }
        if label.is_none() && !self.proto3 && !in_oneof && !is_map {
            return Err(self.error(format!(
                "expected 'required', 'optional' or 'repeated' but found {}",
                self.peek().describe()
            )));
        }
        let is_group = self.at_word("group")
            && matches!(self.peek_at(1), TokenKind::Ident(_))
            && *self.peek_at(2) == TokenKind::Symbol('=')
            && matches!(self.peek_at(4), TokenKind::Symbol('{' | '['))
            && (*self.peek_at(4) == TokenKind::Symbol('{') || self.group_options_follow());
        if is_group {
            self.advance();
            return self.group(label.take(), depth).map(Member::Group);
        }
        self.field(label, true).map(Member::Field)
    }

    /// Whether `{` follows the bracketed options of what looks like `group Name = 1 [`.
    fn group_options_follow(&self) -> bool {
        let mut open = 0_usize;
        let mut ahead = 4;
        loop {
            match self.peek_at(ahead) {
                TokenKind::Symbol('[') => open += 1,
                TokenKind::Symbol(']') => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return *self.peek_at(ahead + 1) == TokenKind::Symbol('{');
                    }
                }
                TokenKind::End | TokenKind::Symbol(';') => return false,
                _ => {}
            }
            ahead += 1;
        }
    }

    fn group(&mut self, label: Option<Label>, depth: usize) -> Result<Group, ParseError> {
        let name = self.ident("a group name")?.to_owned();
        self.expect('=')?;
        let number = self.integer("a field number")?;
        let options = self.bracketed_options()?;
        let body = self.message_body(name, depth + 1)?;
        Ok(Group {
            label,
            number,
            options,
            body,
        })
    }

    fn field(&mut self, label: Option<Label>, maps: bool) -> Result<Field, ParseError> {
        let field_type = self.field_type(maps)?;
        let name = self.ident("a field name")?.to_owned();
        self.expect('=')?;
        let number = self.integer("a field number")?;
        let mut options = self.bracketed_options()?;
        self.expect(';')?;
        let mut default = None;
        let mut json_name = None;
        options.retain(|option| {
            if option.is_plain("default") {
                default = Some(option.value.clone());
                return false;
            }
            if option.is_plain("json_name")
                && let Value::String(value) = &option.value
            {
                json_name = Some(value.clone());
                return false;
            }
            true
        });
        Ok(Field {
            label,
            field_type,
            name,
            number,
            options,
            default,
            json_name,
        })
    }

    fn field_type(&mut self, maps: bool) -> Result<FieldType, ParseError> {
        if maps && self.at_word("map") && *self.peek_at(1) == TokenKind::Symbol('<') {
            self.advance();
            self.advance();
            let at = self.at;
            let key_name = self.qualified_name("a map key type")?;
            let key = Scalar::from_name(&key_name)
                .filter(|key| !matches!(key, Scalar::Double | Scalar::Float | Scalar::Bytes));
            let Some(key) = key else {
                self.at = at;
                return Err(self.error(format!("'{key_name}' cannot be the key of a map")));
            };
            self.expect(',')?;
            let value = self.field_type(false)?;
            self.expect('>')?;
            return Ok(FieldType::Map(key, Box::new(value)));
        }
        let name = self.qualified_name("a type")?;
        Ok(Scalar::from_name(&name).map_or(FieldType::Named(name), FieldType::Scalar))
    }

    fn oneof(&mut self, depth: usize) -> Result<Oneof, ParseError> {
        let mut oneof = Oneof {
            name: self.ident("a oneof name")?.to_owned(),
            ..Oneof::default()
        };
        self.expect('{')?;
        loop {
            if self.eat('}') {
                return Ok(oneof);
            }
            if self.eat(';') {
                continue;
            }
            if self.at_word("option")
                && matches!(
                    self.peek_at(1),
                    TokenKind::Symbol('(') | TokenKind::Ident(_)
                )
            {
                self.advance();
                oneof.options.push(self.option_statement()?);
                continue;
            }
            match self.member(true, depth)? {
                Member::Field(field) => oneof.fields.push(field),
                Member::Group(group) => oneof.groups.push(group),
            }
        }
    }

    fn extend(&mut self, depth: usize) -> Result<Extend, ParseError> {
        let mut extend = Extend {
            name: self.qualified_name("the extended type")?,
            ..Extend::default()
        };
        self.expect('{')?;
        loop {
            if self.eat('}') {
                return Ok(extend);
            }
            if self.eat(';') {
                continue;
            }
            match self.member(false, depth)? {
                Member::Field(field) => extend.fields.push(field),
                Member::Group(group) => extend.groups.push(group),
            }
        }
    }

    fn enum_type(&mut self) -> Result<EnumType, ParseError> {
        let mut result = EnumType {
            name: self.ident("an enum name")?.to_owned(),
            ..EnumType::default()
        };
        self.expect('{')?;
        loop {
            if self.eat('}') {
                return Ok(result);
            }
            if self.eat(';') {
                continue;
            }
            if self.at_word("option") && *self.peek_at(1) != TokenKind::Symbol('=') {
                self.advance();
                result.options.push(self.option_statement()?);
                continue;
            }
            if self.at_word("reserved") && *self.peek_at(1) != TokenKind::Symbol('=') {
                self.advance();
                result.reserved.push(self.reserved()?);
                continue;
            }
            let name = self.ident("an enum value or '}'")?.to_owned();
            self.expect('=')?;
            let number = self.integer("an enum number")?;
            let options = self.bracketed_options()?;
            self.expect(';')?;
            result.constants.push(EnumConstant {
                name,
                number,
                options,
            });
        }
    }

    fn service(&mut self) -> Result<Service, ParseError> {
        let mut service = Service {
            name: self.ident("a service name")?.to_owned(),
            ..Service::default()
        };
        self.expect('{')?;
        loop {
            if self.eat('}') {
                return Ok(service);
            }
            if self.eat(';') {
                continue;
            }
            if self.eat_word("option") {
                service.options.push(self.option_statement()?);
            } else if self.eat_word("rpc") {
                service.rpcs.push(self.rpc()?);
            } else {
                return Err(self.expected("'rpc', 'option' or '}'"));
            }
        }
    }

    fn rpc(&mut self) -> Result<Rpc, ParseError> {
        let name = self.ident("a method name")?.to_owned();
        let (request, request_streams) = self.rpc_type()?;
        if !self.eat_word("returns") {
            return Err(self.expected("'returns'"));
        }
        let (response, response_streams) = self.rpc_type()?;
        let mut options = Vec::new();
        if self.eat('{') {
            while !self.eat('}') {
                if self.eat_word("option") {
                    options.push(self.option_statement()?);
                } else if !self.eat(';') {
                    return Err(self.expected("'option' or '}'"));
                }
            }
            self.eat(';');
        } else {
            self.expect(';')?;
        }
        Ok(Rpc {
            name,
            request,
            request_streams,
            response,
            response_streams,
            options,
        })
    }

    fn rpc_type(&mut self) -> Result<(String, bool), ParseError> {
        self.expect('(')?;
        let streams = self.at_word("stream") && *self.peek_at(1) != TokenKind::Symbol(')');
        if streams {
            self.advance();
        }
        let name = self.qualified_name("a message type")?;
        self.expect(')')?;
        Ok((name, streams))
    }

    fn reserved(&mut self) -> Result<Vec<ReservedItem>, ParseError> {
        let mut items = Vec::new();
        loop {
            if matches!(self.peek(), TokenKind::String(_)) {
                items.push(ReservedItem::Name(self.string("a name")?));
            } else {
                items.push(ReservedItem::Range(self.tag_range()?));
            }
            if !self.eat(',') {
                self.expect(';')?;
                return Ok(items);
            }
        }
    }

    fn extensions(&mut self) -> Result<Extensions, ParseError> {
        let mut ranges = Vec::new();
        loop {
            ranges.push(self.tag_range()?);
            if !self.eat(',') {
                break;
            }
        }
        let options = self.bracketed_options()?;
        self.expect(';')?;
        Ok(Extensions { ranges, options })
    }

    /// `max` is the largest field number, in enums too, as in the reference.
    fn tag_range(&mut self) -> Result<TagRange, ParseError> {
        let start = self.integer("a number")?;
        if !self.eat_word("to") {
            return Ok(TagRange {
                start,
                end: start,
                spelled_as_range: false,
            });
        }
        let end = if self.eat_word("max") {
            MAX_TAG
        } else {
            self.integer("a number or 'max'")?
        };
        Ok(TagRange {
            start,
            end,
            spelled_as_range: true,
        })
    }
}

enum Member {
    Field(Field),
    Group(Group),
}

/// A decimal, hexadecimal or octal integer.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return i64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}
