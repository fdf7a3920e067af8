//! The last refused records, for people: a bounded ring in memory, and its HTTP view.
//!
//! Most client libraries hide the text that the broker sends with INVALID_RECORD, so it must be
//! found here. Holds no payload. Lost on restart; the log line and the metrics are not.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Serialize;

/// One refused part of a record, as HTTP shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedRecord {
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// Index of the record in its batch.
    pub batch_index: i32,
    /// `key` or `value`.
    pub part: &'static str,
    /// `ASY-2202`; see the table of codes.
    pub code: &'static str,
    /// The code's name.
    pub reason: &'static str,
    /// Where in the decoded value, when the payload was at fault.
    pub path: Option<String>,
    /// From the first byte of the part as sent, prefix included.
    pub byte_offset: Option<usize>,
    /// The schema claimed, where it is known.
    pub schema_id: Option<i32>,
    /// Its language.
    pub format: Option<&'static str>,
    /// A subject that holds it.
    pub subject: Option<String>,
    /// Its version there.
    pub version: Option<i32>,
    /// `client.id` of the producer.
    pub client_id: String,
    /// Client library and version, where it told (KIP-511).
    pub client_software: String,
    /// Address of the producer.
    pub client_address: String,
    /// The text that the producer got.
    pub message: String,
    /// What probably went wrong.
    pub likely_cause: Option<String>,
    /// Only counted, and accepted: the topic observes.
    pub observed: bool,
}

/// Ring of the last refused records.
#[derive(Debug)]
pub struct Rejections {
    ring: Mutex<VecDeque<Arc<RejectedRecord>>>,
    records_max: usize,
}

impl Default for Rejections {
    fn default() -> Self {
        Self::new(RECORDS_MAX_DEFAULT)
    }
}

impl Rejections {
    /// Keeps the last `records_max` records.
    #[must_use]
    pub fn new(records_max: usize) -> Self {
        Self {
            ring: Mutex::new(VecDeque::new()),
            records_max,
        }
    }

    /// Adds records in order, dropping the oldest ones past the limit.
    pub fn push(&self, records: impl IntoIterator<Item = RejectedRecord>) {
        let mut ring = self.ring.lock();
        for record in records {
            if ring.len() >= self.records_max {
                ring.pop_front();
            }
            if self.records_max > 0 {
                ring.push_back(Arc::new(record));
            }
        }
    }

    /// The newest `limit` records, newest first; of one topic, or of all.
    #[must_use]
    pub fn newest(&self, topic: Option<&str>, limit: usize) -> Vec<Arc<RejectedRecord>> {
        self.ring
            .lock()
            .iter()
            .rev()
            .filter(|record| topic.is_none_or(|topic| record.topic == topic))
            .take(limit)
            .cloned()
            .collect()
    }
}

/// `GET /v1/rejections` and `GET /v1/topics/{topic}/rejections`, both with `?limit=N`.
pub fn routes(rejections: Arc<Rejections>) -> Router {
    Router::new()
        .route("/v1/rejections", get(all))
        .route("/v1/topics/{topic}/rejections", get(of_topic))
        .with_state(rejections)
}

/// Query parameters in their order; one given twice is no error, the first counts.
type Parameters = Vec<(String, String)>;

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    rejections: Vec<&'a RejectedRecord>,
}

async fn all(
    State(rejections): State<Arc<Rejections>>,
    Query(query): Query<Parameters>,
) -> Response {
    answer(&rejections, None, &query)
}

async fn of_topic(
    State(rejections): State<Arc<Rejections>>,
    Path(topic): Path<String>,
    Query(query): Query<Parameters>,
) -> Response {
    answer(&rejections, Some(&topic), &query)
}

fn answer(rejections: &Rejections, topic: Option<&str>, query: &Parameters) -> Response {
    let limit = query.iter().find(|(name, _)| name == "limit");
    let limit = match limit.map(|(_, text)| text) {
        None => LIMIT_DEFAULT,
        Some(text) => match text.parse::<usize>() {
            Ok(limit) => limit.min(LIMIT_MAX),
            Err(_) => {
                let body = serde_json::json!({
                    "error_code": 400,
                    "message": format!("limit must be a number, not {text}"),
                });
                return (StatusCode::BAD_REQUEST, Json(body)).into_response();
            }
        },
    };
    let found = rejections.newest(topic, limit);
    Json(Answer {
        topic,
        rejections: found.iter().map(AsRef::as_ref).collect(),
    })
    .into_response()
}

/// Records kept unless told otherwise; a few megabytes at worst.
pub const RECORDS_MAX_DEFAULT: usize = 1_000;
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    /// Sends one request to a router: status and body.
    pub(in crate::enforcement) async fn send(
        router: Router,
        request: Request<Body>,
    ) -> (StatusCode, serde_json::Value) {
        let response = TowerToHyperService::new(router)
            .call(request)
            .await
            .expect("infallible");
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("body")
            .to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn record(topic: &str, batch_index: i32) -> RejectedRecord {
        RejectedRecord {
            time_ms: 1,
            topic: topic.to_owned(),
            partition: 0,
            batch_index,
            part: "value",
            code: "ASY-2001",
            reason: "empty",
            path: None,
            byte_offset: None,
            schema_id: None,
            format: None,
            subject: None,
            version: None,
            client_id: "c".to_owned(),
            client_software: String::new(),
            client_address: "127.0.0.1:1".to_owned(),
            message: "ASY-2001 value is empty".to_owned(),
            likely_cause: None,
            observed: false,
        }
    }

    fn indexes(records: &[Arc<RejectedRecord>]) -> Vec<i32> {
        records.iter().map(|record| record.batch_index).collect()
    }

    #[test]
    fn ring_keeps_the_newest() {
        let ring = Rejections::new(3);
        ring.push((0..5).map(|index| record(if index == 3 { "b" } else { "a" }, index)));
        assert_eq!(indexes(&ring.newest(None, 10)), [4, 3, 2]);
        assert_eq!(indexes(&ring.newest(Some("a"), 10)), [4, 2]);
        assert_eq!(indexes(&ring.newest(Some("a"), 1)), [4]);
        assert_eq!(indexes(&ring.newest(Some("c"), 1)), [0; 0]);
    }

    #[tokio::test]
    async fn http_view() {
        let rejections = Arc::new(Rejections::default());
        rejections.push([record("a", 0), record("b", 1), record("a", 2)]);
        for (path, status, expected) in [
            ("/v1/topics/a/rejections", 200, vec![2, 0]),
            ("/v1/topics/a/rejections?limit=1", 200, vec![2]),
            ("/v1/topics/none/rejections", 200, vec![]),
            ("/v1/rejections?limit=2", 200, vec![2, 1]),
            ("/v1/rejections?limit=x", 400, vec![]),
        ] {
            let request = Request::get(path).body(Body::empty()).expect("request");
            let (found, body) = send(routes(Arc::clone(&rejections)), request).await;
            assert_eq!(found.as_u16(), status, "{path}");
            let indexes: Vec<i64> = body["rejections"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|record| record["batch_index"].as_i64())
                .collect();
            assert_eq!(indexes, expected, "{path}");
        }
    }
}
