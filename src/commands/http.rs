//! A small HTTP client for the registry's API.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use thiserror::Error;

use super::access::{Access, AccessError};
use crate::tls;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Larger answers than this are not the registry's.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why a call came to nothing.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Nobody answered.
    #[error("cannot reach the registry at {url}: {reason}")]
    Unreachable {
        /// The URL asked.
        url: String,
        /// Why.
        reason: String,
    },
    /// The answer is not the registry's.
    #[error("{url} did not answer JSON: {reason}")]
    NotJson {
        /// The URL asked.
        url: String,
        /// Why.
        reason: String,
    },
    /// The registry refused.
    #[error("{message} (error {code})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Confluent's error code.
        code: i64,
        /// Its message.
        message: String,
    },
}

/// A registry at a base URL.
#[derive(Debug)]
pub struct RegistryClient {
    base: String,
    authorization: Option<HeaderValue>,
    client: Client<tls::Connector, Full<Bytes>>,
}

impl RegistryClient {
    /// For the registry at `base`, for example `http://127.0.0.1:8081`; a user and password in it are
    /// sent by basic authentication.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn new(base: &str) -> Result<Self, AccessError> {
        Self::with(base, &Access::default())
    }

    /// For a registry that wants to know who calls.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn with(base: &str, access: &Access) -> Result<Self, AccessError> {
        let way = access.way_to(base)?;
        let connector =
            tls::connector(way.authorities.as_deref()).map_err(AccessError::Authorities)?;
        Ok(Self {
            base: way.base.trim_end_matches('/').to_owned(),
            authorization: way.authorization,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Calls `path` (already encoded) and answers the JSON of a 2xx.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, HttpError> {
        let url = format!("{}{path}", self.base);
        let (status, bytes) = self.exchange(method, &url, body).await?;
        let value: Value = match serde_json::from_slice(&bytes) {
            Ok(value) => value,
            // A gateway in front speaks for itself.
            Err(_) if !status.is_success() => Value::Null,
            Err(error) => {
                return Err(HttpError::NotJson {
                    url,
                    reason: error.to_string(),
                });
            }
        };
        if status.is_success() {
            return Ok(value);
        }
        Err(HttpError::Refused {
            status: status.as_u16(),
            code: value["error_code"]
                .as_i64()
                .unwrap_or_else(|| i64::from(status.as_u16())),
            message: match value["message"].as_str() {
                Some(message) => message.to_owned(),
                None => format!("{url} answered {status}"),
            },
        })
    }

    /// GET of plain text.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn get_text(&self, path: &str) -> Result<String, HttpError> {
        let url = format!("{}{path}", self.base);
        let (status, bytes) = self.exchange(Method::GET, &url, None).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status.is_success() {
            return Ok(text);
        }
        let status = status.as_u16();
        Err(HttpError::Refused {
            status,
            code: i64::from(status),
            message: text,
        })
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let unreachable = |reason: String| HttpError::Unreachable {
            url: url.to_owned(),
            reason,
        };
        let uri: Uri = url
            .parse()
            .map_err(|error| unreachable(format!("{error}")))?;
        let mut request = Request::new(Full::new(
            body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string())),
        ));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(authorization) = &self.authorization {
            request
                .headers_mut()
                .insert(AUTHORIZATION, authorization.clone());
        }
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| unreachable(root_cause(&error)))?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), BODY_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| unreachable(error.to_string()))?
            .to_bytes();
        Ok((status, bytes))
    }

    /// GET.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub async fn get(&self, path: &str) -> Result<Value, HttpError> {
        self.call(Method::GET, path, None).await
    }
}

/// One path segment, percent-encoded.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    out
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let mut text = cause.to_string();
    if text.starts_with("invalid peer certificate") {
        text.push_str(" (name its authority with --from-ca)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn segment_encodes_what_a_path_cannot_hold() {
        assert_eq!(segment("orders-value"), "orders-value");
        assert_eq!(segment(":.ctx:a/b c"), "%3A.ctx%3Aa%2Fb%20c");
    }
}
