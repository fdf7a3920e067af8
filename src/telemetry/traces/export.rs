//! Finished spans go out in batches; a collector that is away costs spans, never requests.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use metrics::Counter;
use prost::Message;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::otlp::{
    ExportTraceServiceRequest, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span, Value,
};
use super::settings::TraceSettings;
use crate::tls;

/// Times that a batch is offered to a collector that cannot take it now.
const ATTEMPTS_MAX: u32 = 3;

/// Before the second attempt; twice as long before the third.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Sends spans to one collector.
#[derive(Debug)]
pub struct Exporter {
    settings: TraceSettings,
    resource: Resource,
    client: Client<tls::Connector, Full<Bytes>>,
    sent: Counter,
    dropped: Counter,
    /// Whether the last batch was lost: the first of a row is worth a log line.
    is_failing: bool,
}

impl Exporter {
    /// For the collector of the settings.
    ///
    /// # Errors
    /// When the authorities of its certificate cannot be read.
    pub fn new(settings: TraceSettings) -> Result<Self, String> {
        let connector = tls::connector(settings.authorities.as_deref())
            .map_err(|reason| format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {reason}"))?;
        let attributes = settings.attributes.iter();
        let attributes =
            attributes.map(|(key, value)| KeyValue::new(key, Value::Text(value.clone())));
        Ok(Self {
            resource: Resource {
                attributes: attributes.collect(),
            },
            client: Client::builder(TokioExecutor::new()).build(connector),
            sent: metrics::counter!("assay_spans_sent_total"),
            dropped: metrics::counter!("assay_spans_dropped_total"),
            is_failing: false,
            settings,
        })
    }

    /// Sends until `stop`, then what is left.
    pub async fn run(mut self, mut spans: Receiver<Span>, stop: CancellationToken) {
        let mut is_open = true;
        while is_open {
            let mut batch = Vec::new();
            let until = Instant::now() + self.settings.delay;
            while batch.len() < self.settings.batch_max {
                let room = self.settings.batch_max - batch.len();
                let taken = tokio::select! {
                    taken = timeout_at(until, spans.recv_many(&mut batch, room)) => taken,
                    () = stop.cancelled(), if !spans.is_closed() => {
                        // What is in the queue can still be taken.
                        spans.close();
                        continue;
                    }
                };
                match taken {
                    Ok(0) => {
                        is_open = false;
                        break;
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let body = Bytes::from(self.request(spans).encode_to_vec());
        let mut wait = RETRY_AFTER;
        for attempt in 1..=ATTEMPTS_MAX {
            match timeout(self.settings.timeout, self.post(body.clone())).await {
                Ok(Ok(())) => {
                    self.sent.increment(count);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("the collector takes spans again");
                    }
                    return;
                }
                Ok(Err(Refusal::Later(_))) | Err(_) if attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Ok(Err(Refusal::Later(reason) | Refusal::Never(reason))) => {
                    return self.lost(count, &reason);
                }
                Err(_) => return self.lost(count, "it does not answer in time"),
            }
        }
    }

    fn lost(&mut self, count: u64, reason: &str) {
        self.dropped.increment(count);
        if !std::mem::replace(&mut self.is_failing, true) {
            let collector = self.settings.endpoint.host().unwrap_or_default();
            tracing::warn!(collector, count, reason, "the collector did not take spans");
        }
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans,
                }],
            }],
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), Refusal> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.endpoint.clone();
        let headers = request.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| Refusal::Later(error.to_string()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => Err(Refusal::Later(status.to_string())),
            status => Err(Refusal::Never(status.to_string())),
        }
    }
}

/// Why a batch was not taken, and whether it may be later.
enum Refusal {
    Later(String),
    Never(String),
}
