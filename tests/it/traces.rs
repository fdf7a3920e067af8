//! Traces: what a collector hears of HTTP and produce requests, and that one which is away harms nobody.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use assay::client::KafkaClient;
use assay::telemetry::traces::otlp::{
    ExportTraceServiceRequest, KIND_SERVER, KeyValue, STATUS_ERROR, Span, Value,
};
use broker_core::records::{BatchBuilder, Compression};
use prost::Message;
use serde_json::json;

use crate::harness::{Server, eventually};

/// Takes OTLP over HTTP, for as long as the process lives.
struct Collector {
    port: u16,
    requests: Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || while take(&stream, &taken).is_some() {});
            }
        });
        Self { port, requests }
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("no panic");
        let of_processes = requests
            .iter()
            .flat_map(|(_, request)| &request.resource_spans);
        let scopes = of_processes.flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Waits for the first span that fits.
    fn span(&self, what: &str, fits: impl Fn(&Span) -> bool) -> Span {
        let mut found = None;
        eventually(what, || {
            found = self.spans().into_iter().find(&fits);
            found.is_some()
        });
        found.expect("it was found")
    }
}

/// One request of a connection: its head and what it sends.
fn take(stream: &TcpStream, taken: &Mutex<Vec<(String, ExportTraceServiceRequest)>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while reader.read_line(&mut head).ok()? > 2 {}
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(&*body).expect("OTLP");
    taken.lock().expect("no panic").push((head, request));
    let mut stream = stream;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .ok()
}

fn serve(endpoint: &str) -> Server {
    Server::start_in(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret"),
            ("OTEL_SERVICE_NAME", "orders"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
        // Spans do not depend on what is logged.
        &["--log", "warn"],
    )
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn text_of<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let attribute = span.attributes.iter().find(|one| one.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_http_request_is_a_span_of_its_callers_trace() {
    let collector = Collector::start();
    let server = serve(&format!("http://127.0.0.1:{}", collector.port));
    let body = json!({ "schema": "\"int\"" }).to_string();
    let mut stream = TcpStream::connect(&server.http).expect("connected");
    write!(
        stream,
        "POST /subjects/orders-value/versions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\ntracestate: a=b\r\nX-Request-ID: r-17\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let span = collector.span("the request is traced", |span| hex(&span.trace_id) == TRACE);
    assert_eq!(span.name, "POST /subjects/{subject}/versions");
    assert_eq!(span.kind, KIND_SERVER);
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert_eq!(span.trace_state, "a=b");
    assert_eq!(text_of(&span, "request_id"), Some("r-17"));
    assert_eq!(
        text_of(&span, "url.path"),
        Some("/subjects/orders-value/versions")
    );
    let status = KeyValue::new("http.response.status_code", Value::Int(200));
    assert!(span.attributes.contains(&status), "{span:?}");
    assert_eq!(span.status, None);

    // Without a caller a request begins a trace.
    server.get("/subjects");
    let root = collector.span("a read is traced", |span| span.name == "GET /subjects");
    assert!(root.parent_span_id.is_empty());

    let requests = collector.requests.lock().expect("no panic");
    let (head, request) = &requests[0];
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf"),
        "{head}"
    );
    assert!(head.contains("x-key: s3cret"), "{head}");
    let resource = request.resource_spans[0]
        .resource
        .as_ref()
        .expect("a resource");
    let service = KeyValue::new("service.name", Value::Text("orders".to_owned()));
    assert!(resource.attributes.contains(&service), "{resource:?}");
}

#[test]
fn a_produce_request_is_linked_to_the_traces_of_its_records() {
    let collector = Collector::start();
    let server = serve(&format!("http://127.0.0.1:{}", collector.port));
    let schema =
        json!({ "schema": r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"# });
    let (status, _) = server.post_json("/subjects/orders-value/versions", &schema);
    assert_eq!(status, 200);
    server.assay(&["topic", "create", "orders"], "").good();
    let context = |span: &str| format!("00-{TRACE}-{span}-01");
    let batch = |values: [&[u8]; 2]| {
        let mut batch = BatchBuilder::new(Compression::Gzip, 1_000);
        for (value, span) in values
            .into_iter()
            .zip(["00000000000000aa", "00000000000000bb"])
        {
            let context = context(span);
            let headers = [("traceparent", Some(context.as_bytes()))];
            batch.append(1_000, None, Some(value), &headers);
        }
        batch.build()
    };
    let (good, bad) = (b"\0\0\0\0\x01\x0e".as_slice(), b"\0\0\0\0\x01".as_slice());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut client = KafkaClient::connect(&server.kafka)
            .await
            .expect("connected");
        for (batch, error) in [(batch([good, good]), 0), (batch([good, bad]), 87)] {
            let answer = client.produce("orders", 0, &batch, -1).await;
            assert_eq!(answer.expect("answered").error.0, error);
        }
    });

    let is_of_orders = |span: &Span| text_of(span, "messaging.destination.name") == Some("orders");
    let stored = collector.span("the batch is traced", |span| {
        is_of_orders(span) && span.status.is_none()
    });
    assert_eq!(stored.name, "batch");
    let linked: Vec<String> = stored.links.iter().map(|link| hex(&link.span_id)).collect();
    assert_eq!(linked, ["00000000000000aa", "00000000000000bb"]);
    for number in [
        KeyValue::new("messaging.batch.message_count", Value::Int(2)),
        KeyValue::new("messaging.kafka.offset", Value::Int(0)),
    ] {
        assert!(stored.attributes.contains(&number), "{stored:?}");
    }
    let request = collector.span("its request is traced", |span| {
        span.span_id == stored.parent_span_id
    });
    assert_eq!(
        (request.name.as_str(), request.kind),
        ("Produce", KIND_SERVER)
    );
    assert_eq!(text_of(&request, "messaging.client.id"), Some("assay-cli"));
    let validated = collector.span("its verdict is traced", |span| {
        span.parent_span_id == stored.span_id
    });
    assert_eq!(validated.name, "validate");
    collector.span("the wait for the disk is traced", |span| {
        span.name == "durable" && span.parent_span_id == request.span_id
    });

    let refused = collector.span("the refused batch is traced", |span| {
        is_of_orders(span) && span.status.is_some()
    });
    assert_eq!(
        refused.status.as_ref().map(|status| status.code),
        Some(STATUS_ERROR)
    );
    let error = text_of(&refused, "error.type").unwrap_or_default();
    assert!(error.contains("INVALID_RECORD"), "{error}");
}

#[test]
fn a_collector_that_is_away_harms_nobody_and_is_told_once() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = nobody.local_addr().expect("its address").port();
    drop(nobody);
    let mut server = serve(&format!("http://127.0.0.1:{port}"));
    for _ in 0..20 {
        assert_eq!(server.get("/subjects").0, 200);
    }
    eventually("the lost spans are counted", || {
        let (_, metrics) = server.get("/metrics");
        metrics
            .lines()
            .filter_map(|line| line.strip_prefix("assay_spans_dropped_total "))
            .any(|count| count != "0")
    });
    let told = server
        .log()
        .matches("the collector did not take spans")
        .count();
    assert_eq!(told, 1, "{}", server.log());
    assert!(!server.log().contains("s3cret"));
    server.terminate();
}

#[test]
fn what_the_environment_asks_for_in_vain_is_told() {
    let server = Server::start_in(
        &[
            ("OTEL_TRACES_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ],
        &[],
    );
    let log = server.log();
    assert!(log.contains("no traces are sent"), "{log}");
    assert!(log.contains("OTEL_EXPORTER_OTLP_PROTOCOL=grpc"), "{log}");
}
