//! The part of the parser that reads fields, oneofs, enums, services and ranges.

use super::ast::Value;
use super::ast::{
    At, EnumConstant, EnumType, Extend, Extensions, Field, FieldType, Group, Label, Oneof,
    ReservedItem, Rpc, Scalar, Service, Syntax, TagRange, Visibility,
};
use super::lex::TokenKind;
use super::parse_text::{MAX_TAG, Parser};
use crate::schema::ParseError;

/// A field or a group.
pub(super) enum Member {
    Field(Field),
    Group(Group),
}

impl Parser<'_> {
    /// A field or a group, with its label.
    pub(super) fn member(&mut self, in_oneof: bool, depth: usize) -> Result<Member, ParseError> {
        let start = self.at;
        let proto3 = self.syntax == Some(Syntax::Proto3);
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
        if label == Some(Label::Required) && proto3 {
            self.at = start;
            return Err(self.error("'required' is not allowed in proto3"));
        }
        if let Some(word) = label.filter(|label| *label != Label::Repeated)
            && self.is_edition()
        {
            self.at = start;
            return Err(self.error(format!(
                "'{}' is not for editions, use features.field_presence",
                word.name()
            )));
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
        if label.is_none() && !proto3 && !self.is_edition() && !in_oneof && !is_map {
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
            if self.is_edition() {
                return Err(self.error(
                    "groups are not for editions, use features.message_encoding = DELIMITED",
                ));
            }
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
        let at = self.here();
        let name = self.ident("a group name")?.to_owned();
        self.expect('=')?;
        let number_at = self.here();
        let number = self.integer("a field number")?;
        let options = self.bracketed_options()?;
        let body = self.message_body(name, at, depth + 1)?;
        Ok(Group {
            label,
            number,
            number_at,
            options,
            body,
        })
    }

    pub(super) fn field(&mut self, label: Option<Label>, maps: bool) -> Result<Field, ParseError> {
        let type_at = self.here();
        let field_type = self.field_type(maps)?;
        let at = self.here();
        let name = self.ident("a field name")?.to_owned();
        self.expect('=')?;
        let number_at = self.here();
        let number = self.integer("a field number")?;
        let mut options = self.bracketed_options()?;
        self.expect(';')?;
        for word in ["default", "json_name"] {
            if let Some(again) = options.iter().filter(|option| option.is_plain(word)).nth(1) {
                self.object(again.at, "an option that was already set");
            }
        }
        let mut default = None;
        let mut default_at = At::default();
        let mut json_name = None;
        options.retain(|option| {
            if option.is_plain("default") {
                default = Some(option.value.clone());
                default_at = option.value_at;
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
            type_at,
            name,
            at,
            number,
            number_at,
            options,
            default,
            default_at,
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

    pub(super) fn oneof(&mut self, depth: usize) -> Result<Oneof, ParseError> {
        let mut oneof = Oneof {
            at: self.here(),
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

    pub(super) fn extend(&mut self, depth: usize) -> Result<Extend, ParseError> {
        let mut extend = Extend {
            at: self.here(),
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

    pub(super) fn enum_type(
        &mut self,
        visibility: Option<Visibility>,
    ) -> Result<EnumType, ParseError> {
        let mut result = EnumType {
            visibility,
            at: self.here(),
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
            let at = self.here();
            let name = self.ident("an enum value or '}'")?.to_owned();
            self.expect('=')?;
            let number_at = self.here();
            let number = self.integer("an enum number")?;
            let options = self.bracketed_options()?;
            self.expect(';')?;
            result.constants.push(EnumConstant {
                name,
                at,
                number,
                number_at,
                options,
            });
        }
    }

    pub(super) fn service(&mut self) -> Result<Service, ParseError> {
        let mut service = Service {
            at: self.here(),
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
        let at = self.here();
        let name = self.ident("a method name")?.to_owned();
        let (request, request_at, request_streams) = self.rpc_type()?;
        if !self.eat_word("returns") {
            return Err(self.expected("'returns'"));
        }
        let (response, response_at, response_streams) = self.rpc_type()?;
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
            at,
            request,
            request_at,
            request_streams,
            response,
            response_at,
            response_streams,
            options,
        })
    }

    fn rpc_type(&mut self) -> Result<(String, At, bool), ParseError> {
        self.expect('(')?;
        let streams = self.at_word("stream") && *self.peek_at(1) != TokenKind::Symbol(')');
        if streams {
            self.advance();
        }
        let at = self.here();
        let name = self.qualified_name("a message type")?;
        self.expect(')')?;
        Ok((name, at, streams))
    }

    pub(super) fn reserved(&mut self) -> Result<Vec<ReservedItem>, ParseError> {
        let mut items: Vec<ReservedItem> = Vec::new();
        loop {
            let at = self.here();
            let item = match self.peek() {
                TokenKind::String(_) => {
                    if self.is_edition() {
                        self.object(at, "a reserved name has no quotes in editions");
                    }
                    ReservedItem::Name(self.string("a name")?)
                }
                TokenKind::Ident(_) if self.is_edition() => {
                    ReservedItem::Identifier(self.ident("a name")?.to_owned())
                }
                _ => ReservedItem::Range(self.tag_range()?),
            };
            let is_range = |item: &ReservedItem| matches!(item, ReservedItem::Range(_));
            if items
                .first()
                .is_some_and(|first| is_range(first) != is_range(&item))
            {
                self.object(
                    at,
                    "names and numbers are reserved in statements of their own",
                );
            }
            items.push(item);
            if !self.eat(',') {
                self.expect(';')?;
                return Ok(items);
            }
        }
    }

    pub(super) fn extensions(&mut self) -> Result<Extensions, ParseError> {
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
        let at = self.here();
        let start = self.integer("a number")?;
        if !self.eat_word("to") {
            return Ok(TagRange {
                start,
                end: start,
                spelled_as_range: false,
                at,
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
            at,
        })
    }
}
