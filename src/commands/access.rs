//! How another registry lets us in: its certificate, a user with a password, or a token.
//!
//! Secrets come by flag, by environment or in the URL; they are in no message and no `Debug`.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// What opens another registry.
#[derive(Debug, Clone, Default, Args)]
pub struct Access {
    /// User and password for --from, by basic authentication; its URL may hold them as well
    #[arg(
        long,
        env = "ASSAY_FROM_USER",
        value_name = "USER:PASSWORD",
        hide_env_values = true
    )]
    from_user: Option<Secret>,
    /// Bearer token for --from
    #[arg(
        long,
        env = "ASSAY_FROM_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        conflicts_with = "from_user"
    )]
    from_token: Option<Secret>,
    /// PEM file of the authorities that --from's certificate is checked against [default: those that
    /// Mozilla trusts]
    #[arg(long, env = "ASSAY_FROM_CA", value_name = "FILE")]
    from_ca: Option<PathBuf>,
}

/// Why a registry cannot be called as was said.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Neither `USER:PASSWORD` nor a token that a header can hold.
    #[error("{0}")]
    Credentials(&'static str),
    /// The authorities cannot be read.
    #[error("--from-ca {0}")]
    Authorities(String),
}

/// A base URL without credentials, and what is sent beside.
#[derive(Debug)]
pub struct Way {
    /// The URL to call.
    pub base: String,
    /// Value of `Authorization`, marked as sensitive.
    pub authorization: Option<HeaderValue>,
    /// PEM file of authorities.
    pub authorities: Option<PathBuf>,
}

impl Access {
    /// How to call the registry at `url`.
    ///
    /// # Errors
    /// When the credentials cannot be sent.
    pub fn way_to(&self, url: &str) -> Result<Way, AccessError> {
        let (base, in_url) = without_user(url);
        let authorization = match (&self.from_user, &self.from_token, in_url) {
            (Some(user), ..) => Some(basic(&user.0)?),
            (None, Some(token), _) => Some(header(&format!("Bearer {}", token.0))?),
            (None, None, Some(user)) => Some(basic(&user)?),
            (None, None, None) => None,
        };
        Ok(Way {
            base,
            authorization,
            authorities: self.from_ca.clone(),
        })
    }
}

/// `scheme://user:password@rest` in two: the URL without it, and the decoded user and password.
fn without_user(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.to_owned(), None);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return (url.to_owned(), None);
    };
    let user = percent_decode_str(&rest[..at]).decode_utf8_lossy();
    let base = format!("{scheme}://{}", &rest[at + 1..]);
    (base, Some(user.into_owned()))
}

fn basic(user: &str) -> Result<HeaderValue, AccessError> {
    if !user.contains(':') {
        return Err(AccessError::Credentials(
            "the user for --from has no password: say USER:PASSWORD",
        ));
    }
    header(&format!("Basic {}", STANDARD.encode(user)))
}

fn header(text: &str) -> Result<HeaderValue, AccessError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        AccessError::Credentials("the token for --from holds characters that a header cannot")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret(text.to_owned()))
    }

    #[test]
    fn credentials_come_by_flag_or_in_the_url_and_are_not_shown() {
        for (url, user, token, base, sent) in [
            ("http://r:8081", None, None, "http://r:8081", None),
            (
                "https://r/x@y",
                secret("u:p"),
                None,
                "https://r/x@y",
                Some("Basic dTpw"),
            ),
            (
                "https://r",
                None,
                secret("t.0-1"),
                "https://r",
                Some("Bearer t.0-1"),
            ),
            (
                "https://u:p%40%3A@r:1/a",
                None,
                None,
                "https://r:1/a",
                Some("Basic dTpwQDo="),
            ),
            (
                "https://u:p@r",
                None,
                secret("t"),
                "https://r",
                Some("Bearer t"),
            ),
        ] {
            let access = Access {
                from_user: user,
                from_token: token,
                from_ca: None,
            };
            let way = access.way_to(url).unwrap();
            assert_eq!(way.base, base);
            let value = way.authorization.as_ref();
            assert_eq!(value.map(|value| value.to_str().unwrap()), sent, "{url}");
            let shown = format!("{way:?} {access:?}");
            for word in ["dTpw", "t.0-1", "u:p"] {
                assert!(!shown.contains(word), "{shown}");
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_being_shown() {
        for (user, token) in [(secret("alone"), None), (None, secret("a\nb"))] {
            let access = Access {
                from_user: user,
                from_token: token,
                from_ca: None,
            };
            let error = access.way_to("https://r").unwrap_err().to_string();
            assert!(error.contains("--from"), "{error}");
            assert!(!error.contains("alone") && !error.contains("a\nb"));
        }
    }
}
