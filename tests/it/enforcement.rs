//! What is refused, and what is not, as producers and operators see it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use broker_core::records::{BatchBuilder, Compression};
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Ran, Server, run};

/// `{"id": 7}` under schema id 1.
const GOOD: &[u8] = b"\0\0\0\0\x01\x0e";
/// The same with a byte too many.
const BAD: &[u8] = b"\0\0\0\0\x01\x0e\x0e";

const INVALID_RECORD: i16 = 87;

/// A server whose topic `orders` has its first schema.
fn with_schema() -> Server {
    let server = Server::start();
    register(&server);
    server.assay(&["topic", "create", "orders"], "").good();
    server
}

fn register(server: &Server) {
    let schema = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}"#;
    let body = json!({ "schema": schema });
    let (status, answer) = server.post_json("/subjects/orders-value/versions", &body);
    assert_eq!((status, &answer["id"]), (200, &json!(1)), "{answer}");
}

fn kcat(server: &Server, topic: &str, arguments: &[&str], input: &str) -> Ran {
    run(
        Command::new("kcat")
            .args(["-b", &server.kafka, "-P", "-t", topic, "-X", "acks=all"])
            .args(arguments),
        input,
    )
}

/// Produces one value with a client that nobody here wrote.
fn produce(server: &Server, topic: &str, value: &[u8]) -> Ran {
    let file = server.data.path().join("value.bin");
    std::fs::write(&file, value).expect("the file is written");
    kcat(server, topic, &[file.to_str().expect("UTF-8")], "")
}

#[track_caller]
fn stores(server: &Server, topic: &str, value: &[u8]) {
    produce(server, topic, value).good();
}

#[track_caller]
fn refuses(server: &Server, topic: &str, value: &[u8]) {
    let before = stored(server, topic);
    let ran = produce(server, topic, value);
    assert!(
        ran.stderr.contains("Broker failed to validate record"),
        "{ran:?}"
    );
    assert_eq!(stored(server, topic), before);
}

/// How many records partition 0 has.
#[track_caller]
fn stored(server: &Server, topic: &str) -> u64 {
    let described = server.assay(&["topic", "describe", topic], "").good();
    described
        .lines()
        .find_map(|line| line.strip_prefix("partition 0\toffsets 0 to "))
        .and_then(|end| end.parse().ok())
        .unwrap_or_else(|| panic!("no offsets in {described}"))
}

#[track_caller]
fn configure(server: &Server, topic: &str, change: &str) {
    server.assay(&["topic", "config", topic, change], "").good();
}

/// Newest first.
fn rejections(server: &Server, topic: &str) -> Vec<Value> {
    let answer = server.get_json(&format!("/v1/topics/{topic}/rejections"));
    answer["rejections"].as_array().expect("a list").clone()
}

#[track_caller]
fn assert_metric(server: &Server, line: &str) {
    let (_, page) = server.get("/metrics");
    assert!(page.lines().any(|found| found == line), "{line}\n{page}");
}

/// A Produce request, version 7, of one value to partition 0.
fn produce_request(
    topic: &str,
    acks: i16,
    value: &[u8],
    headers: &[(&str, Option<&[u8]>)],
) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend(i16::try_from(text.len()).expect("short").to_be_bytes());
        out.extend(text.as_bytes());
    }
    let mut batch = BatchBuilder::new(Compression::None, 0);
    batch.append(0, None, Some(value), headers);
    let batch = batch.build();
    let mut body = Vec::new();
    body.extend([0, 0, 0, 7, 0, 0, 0, 1]);
    text(&mut body, "it");
    body.extend((-1_i16).to_be_bytes());
    body.extend(acks.to_be_bytes());
    body.extend(30_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    text(&mut body, topic);
    body.extend(1_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(i32::try_from(batch.len()).expect("short").to_be_bytes());
    body.extend(&batch[..]);
    let mut frame = i32::try_from(body.len())
        .expect("short")
        .to_be_bytes()
        .to_vec();
    frame.extend(body);
    frame
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.kafka).expect("the Kafka listener answers");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit is set");
    stream
}

/// Produces with acks=all and answers the partition's error code.
fn produce_with(server: &Server, topic: &str, value: &[u8], header: (&str, &[u8])) -> i16 {
    let mut stream = connect(server);
    let request = produce_request(topic, -1, value, &[(header.0, Some(header.1))]);
    stream.write_all(&request).expect("the request is sent");
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("a response");
    let mut response = vec![0; usize::try_from(i32::from_be_bytes(size)).expect("a size")];
    stream.read_exact(&mut response).expect("a whole response");
    // Correlation id, one topic with its name, one partition with its index.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    i16::from_be_bytes([response[at], response[at + 1]])
}

#[test]
fn modes_observe_enforce_and_off() {
    let server = with_schema();
    configure(&server, "orders", "assay.value.validation.mode=observe");
    stores(&server, "orders", BAD);
    let seen = rejections(&server, "orders");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(
        (&seen[0]["observed"], &seen[0]["code"]),
        (&json!(true), &json!("ASY-2301"))
    );
    assert_metric(
        &server,
        r#"assay_records_would_reject_total{topic="orders",part="value",code="ASY-2301",reason="trailing_bytes"} 1"#,
    );

    configure(&server, "orders", "assay.value.validation.mode=enforce");
    refuses(&server, "orders", BAD);
    let seen = rejections(&server, "orders");
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0]["observed"], json!(false));
    stores(&server, "orders", GOOD);

    configure(&server, "orders", "assay.value.validation.mode=off");
    stores(&server, "orders", BAD);
    assert_eq!(stored(&server, "orders"), 3);
    assert_eq!(rejections(&server, "orders").len(), 2);
}

#[test]
fn confluent_validation_closes_a_topic_without_subject() {
    let server = Server::start();
    server.assay(&["topic", "create", "closed"], "").good();
    stores(&server, "closed", GOOD);
    configure(&server, "closed", "confluent.value.schema.validation=true");
    refuses(&server, "closed", GOOD);
    let seen = rejections(&server, "closed");
    assert_eq!(seen[0]["code"], "ASY-2101", "{seen:?}");
}

#[test]
fn names_that_contradict_each_other_are_both_named() {
    let server = Server::start();
    server.assay(&["topic", "create", "orders"], "").good();
    let names = [
        "assay.value.validation.mode",
        "confluent.value.schema.validation",
    ];
    configure(&server, "orders", &format!("{}=off", names[0]));
    let change = format!("{}=true", names[1]);
    let altered = server.assay(&["topic", "config", "orders", &change], "");
    let created = server.assay(
        &[
            "topic",
            "create",
            "new",
            "-c",
            "assay.value.validation.mode=off",
            "-c",
            &change,
        ],
        "",
    );
    for ran in [altered, created] {
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for name in names.into_iter().chain(["INVALID_CONFIG"]) {
            assert!(ran.stderr.contains(name), "{name}: {ran:?}");
        }
    }
}

#[test]
fn tombstones_pass_and_empty_values_do_not() {
    let server = with_schema();
    kcat(&server, "orders", &["-K", ":", "-Z"], "k:\n").good();
    assert_eq!(stored(&server, "orders"), 1);
    let empty = kcat(&server, "orders", &["-K", ":"], "k:\n");
    assert!(
        empty.stderr.contains("Broker failed to validate record"),
        "{empty:?}"
    );
    configure(&server, "orders", "assay.value.null=reject");
    let null = kcat(&server, "orders", &["-K", ":", "-Z"], "k:\n");
    assert!(
        null.stderr.contains("Broker failed to validate record"),
        "{null:?}"
    );
    assert_eq!(stored(&server, "orders"), 1);
}

#[test]
fn a_soft_deleted_schema_passes_and_a_hard_deleted_one_does_not() {
    let server = with_schema();
    // Not `auto`: a topic without live schema would be open.
    configure(&server, "orders", "assay.value.validation.mode=enforce");
    let delete = |arguments: &[&str]| {
        let arguments = [&["schema", "delete", "orders-value"], arguments].concat();
        server.assay(&arguments, "").good();
    };
    delete(&[]);
    stores(&server, "orders", GOOD);
    assert_metric(
        &server,
        r#"assay_records_soft_deleted_total{topic="orders",part="value"} 1"#,
    );
    delete(&["--permanent"]);
    refuses(&server, "orders", GOOD);
}

#[test]
fn a_guid_in_the_header_names_the_schema() {
    let server = with_schema();
    let version = server.get_json("/subjects/orders-value/versions/1");
    let guid = version["guid"].as_str().expect("a guid").replace('-', "");
    let guid = u128::from_str_radix(&guid, 16).expect("hexadecimal");
    let named = |guid: u128| [&[1][..], &guid.to_be_bytes()].concat();
    let payload = &GOOD[5..];
    for (guid, value, error) in [
        (guid, payload, 0),
        (guid, GOOD, INVALID_RECORD),
        (guid ^ 1, payload, INVALID_RECORD),
    ] {
        let header = named(guid);
        let found = produce_with(&server, "orders", value, ("__value_schema_id", &header));
        assert_eq!(found, error, "{guid:032x} {value:?}");
    }
    assert_eq!(stored(&server, "orders"), 1);
}

#[test]
fn without_acks_a_bad_record_closes_the_connection() {
    let server = with_schema();
    let mut stream = connect(&server);
    let good = produce_request("orders", 0, GOOD, &[]);
    let bad = produce_request("orders", 0, BAD, &[]);
    stream.write_all(&good).expect("the request is sent");
    stream.write_all(&bad).expect("the request is sent");
    let mut answer = Vec::new();
    // Closed one way or the other, and in time.
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(answer, b"", "acks=0 is never answered");
    assert_eq!(stored(&server, "orders"), 1, "the good one alone");
    assert_eq!(rejections(&server, "orders").len(), 1);
}

#[test]
fn topic_defaults_reach_enforcement_and_are_checked_at_start() {
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let file = folder.path().join("assay.toml");
    let path = file.to_str().expect("a UTF-8 path");
    let write = |lines: &str| {
        std::fs::write(&file, format!("[topic-defaults]\n{lines}\n")).expect("the file is written");
    };
    write("\"assay.value.validation.mode\" = \"enforce\"");
    let mut server = Server::start_with(&["--config", path]);
    server.assay(&["topic", "create", "silent"], "").good();
    refuses(&server, "silent", GOOD);
    server
        .assay(
            &[
                "topic",
                "create",
                "open",
                "-c",
                "confluent.value.schema.validation=false",
            ],
            "",
        )
        .good();
    stores(&server, "open", GOOD);
    server.terminate();

    let data = server.data.path().join("data");
    for (lines, named) in [
        (
            "\"assay.value.validation.mode\" = \"bananas\"",
            &["assay.value.validation.mode", "bananas"][..],
        ),
        (
            "\"retention.ms\" = \"bananas\"",
            &["retention.ms", "bananas"],
        ),
        ("\"retention.minutes\" = 1", &["retention.minutes"]),
        (
            "\"assay.key.validation.mode\" = \"off\"\n\"confluent.key.schema.validation\" = true",
            &[
                "assay.key.validation.mode",
                "confluent.key.schema.validation",
            ],
        ),
    ] {
        write(lines);
        let ran = run(
            Command::new(env!("CARGO_BIN_EXE_assay"))
                .args(["serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"])
                .args(["--config", path, "--data"])
                .arg(&data),
            "",
        );
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for name in named {
            assert!(ran.stderr.contains(name), "{name}: {ran:?}");
        }
        assert!(
            data.join("clean-shutdown").exists(),
            "a refused start costs no recovery"
        );
    }
}

#[test]
fn every_metric_says_what_it_is() {
    let server = with_schema();
    stores(&server, "orders", GOOD);
    refuses(&server, "orders", BAD);
    let (_, page) = server.get("/metrics");
    let names = |kind: &str| -> Vec<&str> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(kind));
        let mut names: Vec<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
        names.sort_unstable();
        names
    };
    let typed = names("# TYPE ");
    assert!(typed.len() >= 10, "{page}");
    assert_eq!(names("# HELP "), typed, "{page}");
}
