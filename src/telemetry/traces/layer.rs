//! Spans of `tracing` become spans of OpenTelemetry when they close.
//!
//! Fields become attributes, but for those of the table:
//!
//! | field | what |
//! |---|---|
//! | `otel.kind` | `server`; internal otherwise |
//! | `otel.name` | the span's name, when it is known later only |
//! | `otel.parent` | W3C `traceparent` of the caller |
//! | `otel.tracestate` | W3C `tracestate` of the caller |
//! | `otel.links` | `traceparent`s of other traces, separated by spaces |
//! | `otel.failed` | true: the operation failed |

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use metrics::Counter;
use tokio::sync::mpsc::Sender;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::context::{Sampler, TraceContext};
use super::otlp::{KIND_INTERNAL, KIND_SERVER, KeyValue, Link, STATUS_ERROR, Span, Status, Value};

/// Longest text of an attribute, in characters.
const TEXT_CHARS_MAX: usize = 1_024;

/// Links of one span.
pub const LINKS_MAX: usize = 32;

/// Hands finished spans to the exporter; never waits for it.
pub struct SpanLayer {
    finished: Sender<Span>,
    sampler: Sampler,
    dropped: Counter,
}

impl fmt::Debug for SpanLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanLayer")
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

impl SpanLayer {
    /// Finished spans go to `finished` while it has room.
    #[must_use]
    pub fn new(finished: Sender<Span>, sampler: Sampler) -> Self {
        Self {
            finished,
            sampler,
            dropped: metrics::counter!("assay_spans_dropped_total"),
        }
    }

    /// The place of a new span: below its parent here, else below the caller, else a new trace.
    fn place(&self, parent: Option<TraceContext>, caller: Option<TraceContext>) -> TraceContext {
        if let Some(parent) = parent {
            return parent.child();
        }
        let mut place = caller.map_or_else(TraceContext::root, |caller| caller.child());
        let asked = caller.map(|caller| caller.is_sampled);
        place.is_sampled = self.sampler.keeps(place.trace_id, asked);
        place
    }
}

/// What an open span knows.
struct Open {
    place: TraceContext,
    started: Instant,
    span: Span,
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut told = Told::default();
        attributes.record(&mut told);
        let parent = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Open>().map(|open| open.place)
        });
        let above = parent.or(told.caller);
        let place = self.place(parent, told.caller);
        let mut open = Open {
            place,
            started: Instant::now(),
            span: Span {
                trace_id: place.trace_id.to_vec(),
                span_id: place.span_id.to_vec(),
                parent_span_id: above.map_or_else(Vec::new, |above| above.span_id.to_vec()),
                name: attributes.metadata().name().to_owned(),
                kind: KIND_INTERNAL,
                start_time_unix_nano: now_ns(),
                ..Span::default()
            },
        };
        told.add_to(&mut open.span);
        span.extensions_mut().insert(open);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        if let Some(open) = span.extensions_mut().get_mut::<Open>()
            && open.place.is_sampled
        {
            let mut told = Told::default();
            values.record(&mut told);
            told.add_to(&mut open.span);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let Some(Open {
            place,
            started,
            span: mut finished,
        }) = span.extensions_mut().remove::<Open>()
        else {
            return;
        };
        if !place.is_sampled {
            return;
        }
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        finished.end_time_unix_nano = finished.start_time_unix_nano.saturating_add(took);
        if self.finished.try_send(finished).is_err() {
            self.dropped.increment(1);
        }
    }
}

fn now_ns() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// What fields say.
#[derive(Default)]
struct Told {
    name: Option<String>,
    is_server: bool,
    has_failed: bool,
    caller: Option<TraceContext>,
    state: Option<String>,
    links: Vec<Link>,
    attributes: Vec<KeyValue>,
}

impl Told {
    fn add_to(self, span: &mut Span) {
        if let Some(name) = self.name {
            span.name = name;
        }
        if self.is_server {
            span.kind = KIND_SERVER;
        }
        if self.has_failed {
            span.status = Some(Status { code: STATUS_ERROR });
        }
        if let Some(state) = self.state {
            span.trace_state = state;
        }
        span.links.extend(self.links);
        span.attributes.extend(self.attributes);
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "otel.name" => self.name = Some(text),
            "otel.kind" => self.is_server = text == "server",
            "otel.parent" => self.caller = TraceContext::parse(&text),
            "otel.tracestate" => self.state = Some(text),
            "otel.links" => {
                let contexts = text.split(' ').filter_map(TraceContext::parse);
                let links = contexts.map(|context| Link {
                    trace_id: context.trace_id.to_vec(),
                    span_id: context.span_id.to_vec(),
                });
                self.links.extend(links.take(LINKS_MAX));
            }
            name => {
                let text = match text.char_indices().nth(TEXT_CHARS_MAX) {
                    Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
                    None => text,
                };
                self.attributes.push(KeyValue::new(name, Value::Text(text)));
            }
        }
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "otel.failed" => self.has_failed = value,
            name => self
                .attributes
                .push(KeyValue::new(name, Value::Bool(value))),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes
            .push(KeyValue::new(field.name(), Value::Int(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.record_i64(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes
            .push(KeyValue::new(field.name(), Value::Double(value)));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tracing::field::Empty;
    use tracing_subscriber::prelude::*;

    use super::super::TARGET;
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn spans_of(sampler: Sampler, queue: usize, work: impl FnOnce()) -> Vec<Span> {
        let (sender, mut finished) = mpsc::channel(queue);
        let layer = SpanLayer::new(sender, sampler);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, work);
        std::iter::from_fn(|| finished.try_recv().ok()).collect()
    }

    const ALL: Sampler = Sampler {
        follows_parent: true,
        ratio: 1.0,
    };

    #[test]
    fn a_request_below_its_caller_with_what_is_below_it() {
        let spans = spans_of(ALL, 10, || {
            let outer = tracing::trace_span!(
                target: TARGET, "http", otel.kind = "server",
                otel.parent = %format!("00-{TRACE}-b7ad6b7169203331-01"),
                otel.tracestate = "a=b", n = 7, otel.name = Empty, otel.failed = Empty
            );
            outer.in_scope(|| {
                let links = format!("x 00-{TRACE}-00000000000000aa-01");
                drop(tracing::trace_span!(target: TARGET, "inner", otel.links = links.as_str()));
            });
            outer.record("otel.name", "GET /x");
            outer.record("otel.failed", true);
        });
        let [inner, outer] = &spans[..] else {
            panic!("{spans:?}");
        };
        assert_eq!((outer.name.as_str(), outer.kind), ("GET /x", KIND_SERVER));
        assert_eq!(outer.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(
            outer.parent_span_id,
            [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
        );
        assert_eq!(outer.trace_state, "a=b");
        assert_eq!(outer.status, Some(Status { code: STATUS_ERROR }));
        assert_eq!(outer.attributes, [KeyValue::new("n", Value::Int(7))]);
        assert_eq!(inner.parent_span_id, outer.span_id);
        assert_eq!(inner.trace_id, outer.trace_id);
        assert_eq!(inner.links.len(), 1);
        assert!(outer.end_time_unix_nano >= inner.end_time_unix_nano);
    }

    #[test]
    fn callers_decide_what_is_kept_and_a_full_queue_drops() {
        let one = |flags: &str| {
            let caller = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
            drop(tracing::trace_span!(target: TARGET, "x", otel.parent = caller.as_str()));
        };
        assert_eq!(spans_of(ALL, 10, || one("00")).len(), 0);
        assert_eq!(spans_of(ALL, 10, || one("01")).len(), 1);
        let three = || (0..3).for_each(|_| one("01"));
        assert_eq!(spans_of(ALL, 2, three).len(), 2);
        let none = Sampler {
            follows_parent: false,
            ratio: 0.0,
        };
        assert_eq!(spans_of(none, 10, || one("01")).len(), 0);
    }

    #[test]
    fn long_texts_are_cut() {
        let text = "é".repeat(TEXT_CHARS_MAX + 1);
        let spans = spans_of(ALL, 10, || {
            drop(tracing::trace_span!(target: TARGET, "x", t = text.as_str()));
        });
        let cut = Value::Text("é".repeat(TEXT_CHARS_MAX));
        assert_eq!(spans[0].attributes, [KeyValue::new("t", cut)]);
    }
}
