//! `.proto` text to tokens.
//!
//! Knows nothing of grammar. Strings come out unescaped; comments are dropped.

use crate::schema::ParseError;

/// Longest text taken; the reference's limit is that of a Kafka record, far below.
pub(super) const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;

/// Most tokens of a text: a mebibyte of fields has some 200,000. Memory follows them, not the bytes.
pub(super) const TOKENS_MAX: usize = 320_000;

/// One token and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    /// 1-based.
    pub(super) line: u32,
    /// 1-based, in characters.
    pub(super) column: u32,
}

/// The kinds of token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'a> {
    Ident(&'a str),
    /// As written: `10`, `0x1F`, `1.5e3`, `10f`. Never signed.
    Number(&'a str),
    /// Unescaped.
    String(String),
    Symbol(char),
    End,
}

impl TokenKind<'_> {
    /// The token as an error message shows it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Ident(name) => format!("'{name}'"),
            Self::Number(number) => format!("'{number}'"),
            Self::String(_) => "a string".to_owned(),
            Self::Symbol(symbol) => format!("'{symbol}'"),
            Self::End => "the end of the file".to_owned(),
        }
    }
}

/// The tokens of a text.
pub(super) struct Tokens<'a> {
    /// The last is [`TokenKind::End`].
    pub(super) tokens: Vec<Token<'a>>,
    /// What `protoc` refuses in the text though its tokens are clear.
    pub(super) objection: Option<ParseError>,
}

/// Splits `text`.
///
/// # Errors
/// On a character or an escape that has no place in a `.proto` file, an unterminated string or
/// comment, and on text past [`MAX_TEXT_BYTES`] or [`TOKENS_MAX`].
pub(super) fn tokenize(text: &str) -> Result<Tokens<'_>, ParseError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(ParseError::new(format!(
            "the text has {} bytes, more than {MAX_TEXT_BYTES}",
            text.len()
        )));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
        column: 1,
        objection: None,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let (line, column) = (lexer.line, lexer.column);
        if tokens.len() >= TOKENS_MAX {
            return Err(lexer.error(format!("more than {TOKENS_MAX} tokens")));
        }
        let kind = lexer.token()?;
        let end = kind == TokenKind::End;
        tokens.push(Token { kind, line, column });
        if end {
            // The tree grows beside the tokens.
            tokens.shrink_to_fit();
            return Ok(Tokens {
                tokens,
                objection: lexer.objection,
            });
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    column: u32,
    objection: Option<ParseError>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        if next == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(next)
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError {
            message: message.into(),
            position: Some((self.line, self.column)),
        }
    }

    /// Moves over the next `length` bytes.
    fn advance(&mut self, length: usize) {
        let passed = self.rest().get(..length).unwrap_or("");
        let last_line = match memchr::memrchr(b'\n', passed.as_bytes()) {
            None => passed,
            Some(end) => {
                let lines = memchr::memchr_iter(b'\n', passed.as_bytes()).count();
                let lines = u32::try_from(lines).unwrap_or(u32::MAX);
                self.line = self.line.saturating_add(lines);
                self.column = 1;
                passed.get(end + 1..).unwrap_or("")
            }
        };
        let columns = u32::try_from(last_line.chars().count()).unwrap_or(u32::MAX);
        self.column = self.column.saturating_add(columns);
        self.at += passed.len();
    }

    fn skip_blank(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = self.rest();
            if rest.starts_with("//") {
                let length = memchr::memchr(b'\n', rest.as_bytes());
                self.advance(length.unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                let unterminated = self.error("comment is not closed");
                self.advance(2);
                let length = self.rest().find("*/").ok_or(unterminated)?;
                self.comment(length);
                self.advance(2);
            } else {
                let is_blank = |c: &u8| matches!(c, b' ' | b'\t' | b'\r' | b'\n' | 0xb | 0xc);
                let length = rest.bytes().take_while(is_blank).count();
                if length == 0 {
                    return Ok(());
                }
                self.advance(length);
            }
        }
    }

    /// Moves over the inside of a block comment.
    fn comment(&mut self, length: usize) {
        let inside = self.rest().get(..length).unwrap_or("");
        // The slash of `*/` may be that of a `/*` before it.
        let begins = if self.objection.is_none() {
            inside.find("/*").or_else(|| {
                let last = inside.ends_with('/').then(|| inside.len() - 1)?;
                Some(last)
            })
        } else {
            None
        };
        if let Some(begins) = begins {
            self.advance(begins);
            let nested = "\"/*\" inside a block comment, which cannot be nested";
            self.objection = Some(self.error(nested));
            self.advance(length - begins);
        } else {
            self.advance(length);
        }
    }

    fn token(&mut self) -> Result<TokenKind<'a>, ParseError> {
        let Some(first) = self.peek() else {
            return Ok(TokenKind::End);
        };
        let second = self.rest().chars().nth(1);
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(TokenKind::Ident(self.take_while(is_word)));
        }
        if first.is_ascii_digit() || (first == '.' && second.is_some_and(|c| c.is_ascii_digit())) {
            return self.number();
        }
        if first == '"' || first == '\'' {
            return self.string(first).map(TokenKind::String);
        }
        if "{}[]()<>;,:=.-+/".contains(first) {
            self.bump();
            return Ok(TokenKind::Symbol(first));
        }
        Err(self.error(format!("unexpected character {first:?}")))
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.advance(length);
        rest.get(..length).unwrap_or("")
    }

    fn number(&mut self) -> Result<TokenKind<'a>, ParseError> {
        let start = self.at;
        if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.bump();
            self.bump();
            if self.take_while(|c| c.is_ascii_hexdigit()).is_empty() {
                return Err(self.error("a hexadecimal number needs digits"));
            }
        } else {
            self.take_while(|c| c.is_ascii_digit());
            if self.peek() == Some('.') {
                self.bump();
                self.take_while(|c| c.is_ascii_digit());
            }
            if matches!(self.peek(), Some('e' | 'E')) {
                self.bump();
                if matches!(self.peek(), Some('+' | '-')) {
                    self.bump();
                }
                if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                    return Err(self.error("an exponent needs digits"));
                }
            }
            if matches!(self.peek(), Some('f' | 'F')) {
                self.bump();
            }
        }
        if self.peek().is_some_and(is_word) {
            return Err(self.error("a number must be followed by a separator"));
        }
        Ok(TokenKind::Number(
            self.text.get(start..self.at).unwrap_or(""),
        ))
    }

    fn string(&mut self, quote: char) -> Result<String, ParseError> {
        let unterminated = self.error("string is not closed");
        self.bump();
        let mut value = String::new();
        loop {
            let Some(next) = self.peek() else {
                return Err(unterminated);
            };
            match next {
                '\n' => return Err(unterminated),
                '\0' => return Err(self.error("a string must escape the character NUL")),
                '\\' => {
                    self.bump();
                    value.push(self.escape()?);
                }
                _ if next == quote => {
                    self.bump();
                    return Ok(value);
                }
                _ => {
                    let plain = |c: char| c != quote && !matches!(c, '\\' | '\n' | '\0');
                    value.push_str(self.take_while(plain));
                }
            }
        }
    }

    /// The character after a backslash. A byte escape becomes the character with that number, as
    /// in the reference's parser.
    fn escape(&mut self) -> Result<char, ParseError> {
        let bad = self.error("unknown escape in a string");
        let Some(first) = self.bump() else {
            return Err(bad);
        };
        let (radix, longest, initial) = match first {
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{b}'),
            '\\' | '\'' | '"' | '?' => return Ok(first),
            'x' | 'X' => (16, 2, None),
            'u' => (16, 4, None),
            'U' => (16, 8, None),
            '0'..='7' => (8, 2, first.to_digit(8)),
            _ => return Err(bad),
        };
        let mut number = initial.unwrap_or(0);
        let mut digits = 0;
        while digits < longest {
            let Some(digit) = self.peek().and_then(|next| next.to_digit(radix)) else {
                break;
            };
            self.bump();
            number = number.saturating_mul(radix).saturating_add(digit);
            digits += 1;
        }
        if digits == 0 && initial.is_none() {
            return Err(bad);
        }
        char::from_u32(number).ok_or(bad)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
