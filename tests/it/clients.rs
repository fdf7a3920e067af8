//! Clients nobody here wrote: each produces valid records in every compression, consumes them,
//! shares partitions in a group, sees a bad record refused and goes on, and loses nothing to a
//! restart or to kill -9. Those with transactions move records exactly once, whoever is killed.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use crate::harness::{PATIENCE, Ran, Server, clients_dir, eventually, run};

/// A program of `tests/clients`; its README says the words they all understand.
#[derive(Clone, Copy)]
enum Client {
    Python,
    Node,
    Java,
    Go,
    Sarama,
    Segmentio,
    KafkaPython,
    AioKafka,
}

impl Client {
    fn command(self) -> Command {
        let folder = clients_dir();
        match self {
            Self::Python => {
                let mut command = Command::new(folder.join(".venv/bin/python"));
                command.arg(folder.join("python/client.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command
                    .arg(folder.join("node/client.js"))
                    .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
                command
            }
            Self::Java => {
                let classpath = std::fs::read_to_string(folder.join("java/target/classpath"))
                    .expect("the Java class path was built");
                let classes = folder.join("java/target/classes");
                let mut command = Command::new("java");
                command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"]);
                command.arg(format!("{}:{}", classes.display(), classpath.trim()));
                command.arg("Client");
                command
            }
            Self::Go => Command::new(folder.join("build/franz-go-client")),
            Self::Sarama | Self::Segmentio => {
                let mut command = Command::new(folder.join("build/go-others"));
                command.arg(self.name());
                command
            }
            Self::KafkaPython | Self::AioKafka => {
                let mut command = Command::new(folder.join(".venv/bin/python"));
                command
                    .arg(folder.join("python/others.py"))
                    .arg(self.name());
                command
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::Node => "js",
            Self::Java => "java",
            Self::Go => "go",
            Self::Sarama => "sarama",
            Self::Segmentio => "segmentio",
            Self::KafkaPython => "kafka-python",
            Self::AioKafka => "aiokafka",
        }
    }

    fn run(self, arguments: &[&str]) -> Ran {
        run(self.command().args(arguments), "")
    }
}

/// Everything one client does, on one server.
fn check(client: Client) {
    let mut server = Server::start();
    let registry = server.registry();

    let printed = client.run(&["roundtrip", &server.kafka, &registry]).good();
    assert!(printed.contains("100 records, 5 compressions"), "{printed}");

    client.run(&["group", &server.kafka, &registry]).good();

    let topic = format!("{}-refused", client.name());
    client
        .run(&["reject", &server.kafka, &registry, &topic])
        .good();
    check_rejection_is_told(&server, &topic);

    // Everything is there after an orderly restart.
    let stored = format!("{}-avro", client.name());
    if !matches!(client, Client::Python) {
        server.terminate();
        server.spawn();
        let values = client
            .run(&["consume", &server.kafka, &stored, "100"])
            .good();
        assert_eq!(
            values
                .lines()
                .filter(|line| line.starts_with("value "))
                .count(),
            100
        );
    } else {
        server.terminate();
        server.spawn();
        assert_eq!(kcat_values(&server, &stored).len(), 100);
    }

    crash_loses_nothing(client, &mut server);
}

/// Most bindings hide the broker's text, so it is always to be had from the API, log and metrics.
fn check_rejection_is_told(server: &Server, topic: &str) {
    let answer = server.get_json(&format!("/v1/topics/{topic}/rejections"));
    let rejections = answer["rejections"]
        .as_array()
        .expect("a list of rejections");
    assert!(!rejections.is_empty(), "no rejection is told of {topic}");
    for rejection in rejections {
        let text = rejection.to_string();
        assert!(text.contains("ASY-22"), "a payload code: {text}");
        assert_eq!(rejection["topic"], topic);
    }
    assert!(server.log().contains("ASY-22"), "the log names the code");
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("assay_records_rejected_total")
                && line.contains(topic)
                && line.contains("ASY-22")),
        "{metrics}"
    );
}

/// kill -9 while the client produces with acks=all: every acknowledged record is there after.
fn crash_loses_nothing(client: Client, server: &mut Server) {
    let topic = format!("{}-crash", client.name());
    let mut producer = client
        .command()
        .args(["produce", &server.kafka, &topic, "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the producer starts");
    let lines = BufReader::new(producer.stdout.take().expect("stdout is piped")).lines();
    let mut acked = HashSet::new();
    for line in lines.map_while(Result::ok) {
        if let Some(value) = line.strip_prefix("acked ") {
            acked.insert(value.to_owned());
        }
        if acked.len() == 300 {
            break;
        }
    }
    assert_eq!(acked.len(), 300, "the producer ended early");
    server.kill();
    producer.kill().expect("SIGKILL is sent");
    producer.wait().expect("the producer ends");
    server.spawn();
    let stored: Vec<String> = kcat_values(server, &topic);
    let unique: HashSet<&String> = stored.iter().collect();
    let lost: Vec<&String> = acked
        .iter()
        .filter(|value| !unique.contains(value))
        .collect();
    assert!(
        lost.is_empty(),
        "{} acknowledged records are missing: {:?}",
        lost.len(),
        &lost[..1]
    );
    // The topic goes on: a record produced now follows the recovered ones.
    kcat_produce(server, &topic, &[], "after\n").good();
    assert_eq!(
        kcat_values(server, &topic).last().map(String::as_str),
        Some("after")
    );
}

/// Registry clients with everything they ask: schemas, references, GUIDs, rules, associations.
#[test]
fn registry_clients_are_served() {
    let server = Server::start();
    for client in [Client::Python, Client::Node, Client::Go] {
        client
            .run(&["registry", &server.kafka, &server.registry()])
            .good();
    }
}

/// Transactions in peace, then a consume-transform-produce application with the broker, and once the
/// application too, killed in the middle of transactions.
fn check_transactions(client: Client) {
    const RECORDS: usize = 400;
    let mut server = Server::start();
    client
        .run(&["transact", &server.kafka, &server.registry()])
        .good();

    let (source, target) = ("transfer-source", "transfer-target");
    let values: Vec<String> = (0..RECORDS).map(|number| number.to_string()).collect();
    kcat_produce(&server, source, &[], &(values.join("\n") + "\n")).good();
    let count = RECORDS.to_string();
    let spawn = |server: &Server| {
        let mut child = client
            .command()
            .args(["transfer", &server.kafka, source, target, &count])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the application starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        (child, lines)
    };
    // A client that says nothing for so long hangs: that is a failure, not a reason to wait.
    let next = |lines: &Receiver<String>| match lines.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("nothing was heard for {PATIENCE:?}"),
    };
    let (mut application, mut lines) = spawn(&server);
    for round in 0..6 {
        // librdkafka may wait for ever for a coordinator that went away while it committed offsets
        // (its issues 5456 and 5511), so there the application goes down with the broker each time.
        let both = round == 3 || matches!(client, Client::Python);
        let commits = std::iter::from_fn(|| next(&lines));
        let commits = commits.filter(|line| line.starts_with("committed"));
        assert_eq!(commits.take(5).count(), 5, "the application ended early");
        server.kill();
        if both {
            application.kill().expect("SIGKILL is sent");
            application.wait().expect("the application ends");
        }
        server.spawn();
        if both {
            (application, lines) = spawn(&server);
        }
    }
    let rest: Vec<String> = std::iter::from_fn(|| next(&lines)).collect();
    let status = application.wait().expect("the application ends");
    assert!(status.success(), "{status}: {rest:?}");
    let committed = ["-X", "isolation.level=read_committed"];
    let moved = kcat(
        &server,
        &[
            &["-C", "-t", target, "-o", "beginning", "-e", "-q"][..],
            &committed,
        ]
        .concat(),
        "",
    )
    .good();
    let moved: Vec<&str> = moved.lines().collect();
    let expected: Vec<String> = values
        .iter()
        .map(|value| format!("moved {value}"))
        .collect();
    assert_eq!(moved, expected);
}

fn kcat(server: &Server, arguments: &[&str], input: &str) -> Ran {
    run(
        Command::new("kcat")
            .args(["-b", &server.kafka])
            .args(arguments),
        input,
    )
}

fn kcat_produce(server: &Server, topic: &str, arguments: &[&str], input: &str) -> Ran {
    kcat(
        server,
        &[&["-P", "-t", topic, "-X", "acks=all"], arguments].concat(),
        input,
    )
}

fn kcat_values(server: &Server, topic: &str) -> Vec<String> {
    let out = kcat(
        server,
        &["-C", "-t", topic, "-o", "beginning", "-e", "-q"],
        "",
    )
    .good();
    out.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn confluent_kafka_python() {
    check(Client::Python);
}

#[test]
fn kafkajs() {
    check(Client::Node);
}

#[test]
fn java_kafka_clients() {
    check(Client::Java);
}

#[test]
fn franz_go() {
    check(Client::Go);
}

#[test]
fn sarama() {
    check(Client::Sarama);
}

#[test]
fn segmentio_kafka_go() {
    check(Client::Segmentio);
}

#[test]
fn kafka_python() {
    check(Client::KafkaPython);
}

#[test]
fn aiokafka() {
    check(Client::AioKafka);
}

#[test]
fn confluent_kafka_python_transactions() {
    check_transactions(Client::Python);
}

#[test]
fn java_transactions() {
    check_transactions(Client::Java);
}

#[test]
fn franz_go_transactions() {
    check_transactions(Client::Go);
}

#[test]
fn kcat_speaks_every_compression_and_its_records_survive() {
    let mut server = Server::start();
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let lines: String = (0..50)
            .map(|number| format!("{codec}-{number}\n"))
            .collect();
        kcat_produce(&server, "kcat", &["-z", codec], &lines).good();
    }
    let check_stored = |server: &Server| {
        let values = kcat_values(server, "kcat");
        assert_eq!(values.len(), 250);
        let expected: Vec<String> = codecs
            .iter()
            .flat_map(|codec| (0..50).map(move |number| format!("{codec}-{number}")))
            .collect();
        assert_eq!(values, expected);
    };
    check_stored(&server);
    server.terminate();
    server.spawn();
    check_stored(&server);
    server.kill();
    server.spawn();
    check_stored(&server);

    let offsets = kcat(&server, &["-Q", "-t", "kcat:0:-1"], "").good();
    assert!(offsets.contains("250"), "{offsets}");
    let metadata = kcat(&server, &["-L"], "").good();
    assert!(
        metadata.contains("topic \"kcat\" with 1 partitions"),
        "{metadata}"
    );
}

#[test]
fn kcat_sees_a_bad_record_refused_and_goes_on() {
    let server = Server::start();
    let schema = serde_json::json!({
        "schema": r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}"#
    });
    let (status, answer) = server.post_json("/subjects/kcat-refused-value/versions", &schema);
    assert_eq!(
        (status, &answer["id"]),
        (200, &serde_json::json!(1)),
        "{answer}"
    );

    let refused = kcat_produce(&server, "kcat-refused", &[], "{\"id\": 1}\n");
    assert!(
        refused.stderr.contains("Broker failed to validate record"),
        "{refused:?}"
    );
    let answer = server.get_json("/v1/topics/kcat-refused/rejections");
    assert!(answer.to_string().contains("ASY-2002"), "{answer}");

    let good = server.data.path().join("good.bin");
    std::fs::write(&good, b"\0\0\0\0\x01\x0e").expect("the file is written");
    let path = good.to_str().expect("a UTF-8 path");
    kcat_produce(&server, "kcat-refused", &[path], "").good();
    let count = kcat(
        &server,
        &["-C", "-t", "kcat-refused", "-e", "-q", "-f", "%S\n"],
        "",
    )
    .good();
    assert_eq!(count, "6\n");
}

#[test]
fn kcat_group_of_two_rebalances_as_one_leaves() {
    let server = Server::start();
    server
        .assay(&["topic", "create", "kcat-group", "--partitions", "4"], "")
        .good();
    let member = || {
        let log = server
            .data
            .path()
            .join(format!("member-{:?}", std::time::Instant::now()));
        let child = Command::new("kcat")
            .args(["-b", &server.kafka, "-G", "kcat-group", "kcat-group"])
            .args([
                "-X",
                "session.timeout.ms=10000",
                "-X",
                "heartbeat.interval.ms=300",
            ])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log file"))
            .spawn()
            .expect("kcat starts");
        (child, log)
    };
    let last_assignment = |log: &std::path::Path| {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        text.lines()
            .rev()
            .find(|line| line.contains("assigned"))
            .map(|line| line.matches("kcat-group [").count())
    };
    let (mut first, first_log) = member();
    let (mut second, second_log) = member();
    eventually("two members share four partitions", || {
        last_assignment(&first_log) == Some(2) && last_assignment(&second_log) == Some(2)
    });
    // SIGTERM: kcat leaves the group as it ends.
    let terminated = Command::new("kill")
        .arg(second.id().to_string())
        .status()
        .expect("kill runs");
    assert!(terminated.success());
    second.wait().expect("kcat ends");
    eventually("the member that stays takes all", || {
        last_assignment(&first_log) == Some(4)
    });
    first.kill().expect("SIGKILL is sent");
    first.wait().expect("kcat ends");
}
