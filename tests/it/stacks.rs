//! Apache Kafka's own programs against Assay: its command-line tools, Kafka Connect, Kafka Streams.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Ran, Server, clients_dir, eventually, free_port, run, try_request};

/// A JVM with a class of the Kafka distribution, on files of `folder`.
pub(crate) fn java(class: &str, folder: &Path) -> Command {
    let kafka = clients_dir().join("kafka/target");
    let classpath = std::fs::read_to_string(kafka.join("classpath"))
        .expect("the class path was built; run `cargo xtask setup` first");
    let mut command = Command::new("java");
    command
        .current_dir(folder)
        .args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .args(["-Dlog4j2.level=OFF", "-Dlog4j2.StatusLogger.level=OFF"])
        .arg("-cp")
        .arg(format!(
            "{}:{}",
            kafka.join("classes").display(),
            classpath.trim()
        ))
        .arg(class);
    command
}

/// One of Kafka's scripts by the class that it starts.
pub(crate) fn tool(server: &Server, class: &str, arguments: &str, input: &str) -> Ran {
    let bootstrap = ["--bootstrap-server", &server.kafka];
    run(
        java(class, server.data.path())
            .args(bootstrap)
            .args(arguments.split_whitespace()),
        input,
    )
}

#[track_caller]
pub(crate) fn expect(printed: &str, words: &[&str]) {
    for word in words {
        assert!(printed.contains(word), "no {word:?} in:\n{printed}");
    }
}

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const CLIENT_METRICS: &str = "org.apache.kafka.tools.ClientMetricsCommand";
pub(crate) const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
pub(crate) const DUMP_LOG: &str = "kafka.tools.DumpLogSegments";

#[test]
fn kafka_topics_and_configs_scripts() {
    let server = Server::start();
    let topics = |arguments: &str| tool(&server, TOPICS, arguments, "");
    let configs = |arguments: &str| tool(&server, CONFIGS, arguments, "");
    topics("--create --topic orders --partitions 3 --config retention.ms=100000").good();
    expect(
        &topics("--describe --topic orders").good(),
        &["PartitionCount: 3", "retention.ms=100000", "Leader: 1"],
    );
    let again = topics("--create --topic orders");
    assert_eq!(again.code, Some(1));
    expect(
        &format!("{}{}", again.stdout, again.stderr),
        &["Topic 'orders' already exists"],
    );
    topics("--alter --topic orders --partitions 5").good();
    expect(&topics("--describe").good(), &["PartitionCount: 5"]);

    let changes = "--alter --entity-type topics --entity-name orders --add-config \
                   cleanup.policy=compact,max.message.bytes=2000000 --delete-config retention.ms";
    configs(changes).good();
    let described = configs("--describe --entity-type topics --entity-name orders").good();
    expect(
        &described,
        &["cleanup.policy=compact", "max.message.bytes=2000000"],
    );
    assert!(!described.contains("retention.ms=100000"), "{described}");
    let wrong = configs(
        "--alter --entity-type topics --entity-name orders --add-config cleanup.policy=sometimes",
    );
    assert_ne!(wrong.code, Some(0));
    expect(
        &format!("{}{}", wrong.stdout, wrong.stderr),
        &["cleanup.policy"],
    );

    topics("--delete --topic orders").good();
    let listed = topics("--list").good();
    assert!(!listed.contains("orders"), "{listed}");
}

/// Quotas and broker configs outlive a kill -9; what only replicas can do is answered truthfully.
#[test]
fn kafka_quota_broker_and_cluster_scripts() {
    let mut server = Server::start();
    tool(
        &server,
        TOPICS,
        "--create --topic orders --partitions 2",
        "",
    )
    .good();
    for change in [
        "--entity-type clients --entity-name app --add-config \
         producer_byte_rate=1000,controller_mutation_rate=2.5",
        "--entity-type clients --entity-default --add-config request_percentage=50",
        "--entity-type ips --entity-name 10.0.0.1 --add-config connection_creation_rate=7",
        "--entity-type groups --entity-name readers --add-config \
         consumer.session.timeout.ms=50000,consumer.heartbeat.interval.ms=2000",
        "--entity-type brokers --entity-name 1 --add-config log.retention.ms=7200000",
    ] {
        tool(&server, CONFIGS, &format!("--alter {change}"), "").good();
    }
    let refused = "--alter --entity-type groups --entity-name readers \
                   --add-config consumer.session.timeout.ms=1000";
    let refused = tool(&server, CONFIGS, refused, "");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    let metrics = "--alter --name m1 --metrics org.apache.kafka.producer. --interval 60000";
    tool(&server, CLIENT_METRICS, metrics, "").good();
    server.kill();
    server.spawn();
    let shown = |class: &str, arguments: &str, words: &[&str]| {
        expect(&tool(&server, class, arguments, "").good(), words);
    };
    shown(
        CONFIGS,
        "--describe --entity-type clients",
        &[
            "for client-id 'app' are",
            "producer_byte_rate=1000.0",
            "controller_mutation_rate=2.5",
            "for the default client-id are request_percentage=50.0",
        ],
    );
    shown(
        CONFIGS,
        "--describe --entity-type ips",
        &["for ip '10.0.0.1' are connection_creation_rate=7.0"],
    );
    shown(
        CONFIGS,
        "--describe --entity-type groups --entity-name readers",
        &[
            "consumer.session.timeout.ms=50000",
            "consumer.heartbeat.interval.ms=2000",
            "DYNAMIC_GROUP_CONFIG:consumer.heartbeat.interval.ms=2000",
        ],
    );
    shown(
        CONFIGS,
        "--describe --entity-type brokers --entity-name 1",
        &["DYNAMIC_BROKER_CONFIG:log.retention.ms=7200000"],
    );
    shown(
        CONFIGS,
        "--describe --entity-type topics --entity-name orders --all",
        &[
            "retention.ms=7200000",
            "DYNAMIC_BROKER_CONFIG:log.retention.ms=7200000",
        ],
    );
    shown(
        CLIENT_METRICS,
        "--describe",
        &["interval.ms=60000", "metrics=org.apache.kafka.producer."],
    );
    tool(&server, CLIENT_METRICS, "--delete --name m1", "").good();
    let listed = tool(&server, CLIENT_METRICS, "--list", "").good();
    assert!(!listed.contains("m1"), "{listed}");
    shown(
        "org.apache.kafka.tools.LogDirsCommand",
        "--describe --topic-list orders",
        &["\"partition\":\"orders-1\"", "\"error\":null"],
    );
    shown(
        "org.apache.kafka.tools.MetadataQuorumCommand",
        "describe --status",
        &["LeaderId:               1", "CurrentObservers:       []"],
    );
    shown(
        "org.apache.kafka.tools.FeatureCommand",
        "describe",
        &["Feature: transaction.version"],
    );
    shown(
        "org.apache.kafka.tools.LeaderElectionCommand",
        "--election-type preferred --topic orders --partition 0",
        &["Valid replica already elected for partitions orders-0"],
    );
    shown(
        "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
        "--list",
        &["No partition reassignments found"],
    );
}

#[test]
fn kafka_console_group_offset_and_dump_scripts() {
    let mut server = Server::start();
    let lines: String = (0..100).map(|n| format!("k{n}:v{n}\n")).collect();
    let keyed = "--topic keyed --property parse.key=true --property key.separator=:";
    tool(
        &server,
        TOPICS,
        "--create --topic keyed --partitions 2 --config segment.bytes=1048576",
        "",
    )
    .good();
    tool(&server, PRODUCER, keyed, &lines).good();
    let read = "--topic keyed --from-beginning --group readers --max-messages 100 \
                --property print.key=true --property key.separator=:";
    let mut seen: Vec<String> = tool(&server, CONSUMER, read, "")
        .good()
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    let mut sent: Vec<&str> = lines.lines().collect();
    seen.sort_unstable();
    sent.sort_unstable();
    assert_eq!(seen, sent);

    let groups = |arguments: &str| tool(&server, GROUPS, arguments, "");
    expect(&groups("--list --state").good(), &["readers", "Empty"]);
    let lag = groups("--describe --group readers").good();
    let rows: Vec<Vec<&str>> = lag
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|row: &Vec<&str>| row.first() == Some(&"readers"))
        .collect();
    assert_eq!(rows.len(), 2, "{lag}");
    assert!(rows.iter().all(|row| row[5] == "0"), "{lag}");
    groups("--reset-offsets --group readers --topic keyed --to-earliest --execute").good();
    let ends = tool(&server, OFFSETS, "--topic keyed", "").good();
    let total: i64 = ends
        .lines()
        .filter_map(|line| line.rsplit(':').next()?.parse::<i64>().ok())
        .sum();
    assert_eq!(total, 100, "{ends}");
    groups("--delete-offsets --group readers --topic keyed").good();
    groups("--delete --group readers").good();
    let listed = groups("--list").good();
    assert!(!listed.contains("readers"), "{listed}");

    let wanted = server.data.path().join("records.json");
    let body =
        json!({"version": 1, "partitions": [{"topic": "keyed", "partition": 0, "offset": 10}]});
    std::fs::write(&wanted, body.to_string()).expect("the file is written");
    let deleted = tool(
        &server,
        DELETE_RECORDS,
        "--offset-json-file records.json",
        "",
    );
    expect(&deleted.good(), &["keyed-0\tlow_watermark: 10"]);
    expect(
        &tool(&server, OFFSETS, "--topic keyed --time -2", "").good(),
        &["keyed:0:10", "keyed:1:0"],
    );
    tool(&server, TRANSACTIONS, "list", "").good();
    expect(
        &tool(
            &server,
            TRANSACTIONS,
            "describe-producers --topic keyed --partition 1",
            "",
        )
        .good(),
        &["ProducerId"],
    );
    server.terminate();
    let partition = server.data.path().join("data/topics/keyed-1");
    let dumped = dump(&server, &files(&partition, &["log", "index", "timeindex"]));
    let records = dumped.matches("| offset: ").count();
    assert!(
        (1..100).contains(&records),
        "{records} records in:\n{dumped}"
    );
}

/// Many segments with indexes, compressed batches, transactions and their markers, compaction: Kafka
/// finds no fault in any file.
#[test]
fn kafka_dump_log_finds_no_fault() {
    let mut server = Server::start();
    let create = "--create --topic rolled --config segment.bytes=1048576 \
                  --config index.interval.bytes=4096";
    tool(&server, TOPICS, create, "").good();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let load = java(
            "org.apache.kafka.tools.ProducerPerformance",
            server.data.path(),
        )
        .args(["--topic", "rolled", "--num-records", "4000"])
        .args(["--record-size", "500", "--throughput", "-1"])
        .args(["--producer-props", "acks=all", "transactional.id=rolled"])
        .arg(format!("bootstrap.servers={}", server.kafka))
        .arg(format!("compression.type={compression}"))
        .args(["--transaction-duration-ms", "200"])
        .stdin(Stdio::null())
        .output()
        .expect("the performance tool runs");
        assert!(load.status.success(), "{load:?}");
    }
    let consumed = tool(
        &server,
        "org.apache.kafka.tools.ConsumerPerformance",
        "--topic rolled --messages 20000",
        "",
    );
    expect(&consumed.good(), &["20000"]);
    server.kill();
    server.spawn();
    server.terminate();
    let partition = server.data.path().join("data/topics/rolled-0");
    let logs = files(&partition, &["log"]);
    assert!(logs.split(',').count() > 3, "too few segments: {logs}");
    let dumped = dump(&server, &logs);
    assert_eq!(
        dumped.matches("| offset: ").count(),
        20_000 + dumped.matches("endTxnMarker: COMMIT").count(),
        "every record and marker"
    );
    let indexes = files(&partition, &["index", "timeindex", "txnindex"]);
    assert!(indexes.contains(".timeindex"), "no index: {indexes}");
    dump(&server, &indexes);
    for internal in ["__consumer_offsets-0", "__transaction_state-0"] {
        let folder = server.data.path().join("data/topics").join(internal);
        if folder.exists() {
            dump(&server, &files(&folder, &["log"]));
        }
    }
}

/// Every file of a folder with one of these endings, as the tool wants them.
pub(crate) fn files(folder: &Path, endings: &[&str]) -> String {
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted))
        })
        .map(|path| path.display().to_string())
        .collect();
    found.sort_unstable();
    found.join(",")
}

fn dump(server: &Server, files: &str) -> String {
    let printed = run(
        java(DUMP_LOG, server.data.path())
            .args(["--deep-iteration", "--files"])
            .arg(files),
        "",
    );
    let text = format!("{}{}", printed.stdout, printed.stderr);
    for fault in [
        "isvalid: false",
        "Exception",
        "Found",
        "Mismatch",
        "Out of order",
        "invalid bytes",
    ] {
        assert!(!text.contains(fault), "{fault:?} in:\n{text}");
    }
    printed.good()
}

/// A program in the background, its lines, killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let errors = File::options().create(true).append(true).open(log);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.expect("a log file"))
            .spawn()
            .expect("java starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that starts so, `count` times.
    fn wait_for(&self, start: &str, count: usize) {
        let mut seen = 0;
        while seen < count {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("no line {start:?}: {error}"));
            seen += usize::from(line.starts_with(start));
        }
    }

    fn kill(&mut self) {
        self.child.kill().expect("SIGKILL is sent");
        self.child.wait().expect("the process ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A stateful word count with the broker killed, the application killed, and its state lost: each count
/// of each word is there once, in order.
#[test]
fn kafka_streams_counts_exactly_once() {
    const WORDS: usize = 16;
    const ROUNDS: usize = 100;
    let mut server = Server::start();
    for (topic, partitions) in [("lines", "2"), ("counts", "1")] {
        server
            .assay(&["topic", "create", topic, "--partitions", partitions], "")
            .good();
    }
    let line: Vec<String> = (0..WORDS).map(|word| format!("word{word}")).collect();
    let input = format!("{}\n", line.join(" ")).repeat(ROUNDS);
    let produce = ["-P", "-t", "lines", "-X", "acks=all", "-X", "linger.ms=0"];
    let batches = ["-X", "batch.num.messages=5"];
    run(
        Command::new("kcat")
            .args(["-b", &server.kafka])
            .args(produce)
            .args(batches),
        &input,
    )
    .good();

    let state = server.data.path().join("state");
    let log = server.data.path().join("streams.log");
    let start = |server: &Server| {
        Running::start(
            java("WordCount", server.data.path())
                .arg(&server.kafka)
                .arg(&state),
            &log,
        )
    };
    let mut application = start(&server);
    for round in 0..4 {
        application.wait_for("counted", 8);
        match round {
            0 | 2 => {
                server.kill();
                server.spawn();
            }
            1 => {
                application.kill();
                application = start(&server);
            }
            _ => {
                application.kill();
                server.kill();
                std::fs::remove_dir_all(&state).expect("the state is lost");
                server.spawn();
                application = start(&server);
            }
        }
    }
    let arguments = ["-C", "-t", "counts", "-o", "beginning", "-e", "-q"];
    let read = |server: &Server| {
        run(
            Command::new("kcat")
                .args(["-b", &server.kafka])
                .args(arguments)
                .args(["-X", "isolation.level=read_committed", "-f", "%k %s\n"]),
            "",
        )
        .good()
    };
    eventually("every word was counted", || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        read(&server).lines().count() >= WORDS * ROUNDS
    });
    let mut counts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in read(&server).lines() {
        let (word, count) = line.split_once(' ').expect("word and count");
        let count = count.parse().expect("a number");
        counts.entry(word.to_owned()).or_default().push(count);
    }
    assert_eq!(counts.len(), WORDS);
    let exact: Vec<usize> = (1..=ROUNDS).collect();
    for (word, seen) in counts {
        assert_eq!(seen, exact, "{word}");
    }
}

/// Connect in distributed mode, from a file to a topic to a file, with exactly-once sources; the broker
/// is killed in between.
#[test]
fn kafka_connect_carries_a_file_through_a_kill() {
    let mut server = Server::start();
    let folder = server.data.path().to_owned();
    let rest = format!("127.0.0.1:{}", free_port());
    let worker = format!(
        "bootstrap.servers={}\nlisteners=http://{rest}\ngroup.id=connect\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         offset.storage.topic=connect-offsets\nconfig.storage.topic=connect-configs\n\
         status.storage.topic=connect-status\noffset.storage.replication.factor=1\n\
         config.storage.replication.factor=1\nstatus.storage.replication.factor=1\n\
         offset.storage.partitions=3\nstatus.storage.partitions=2\noffset.flush.interval.ms=500\n\
         exactly.once.source.support=enabled\n",
        server.kafka
    );
    std::fs::write(folder.join("worker.properties"), worker).expect("the file is written");
    let _worker = Running::start(
        java("org.apache.kafka.connect.cli.ConnectDistributed", &folder).arg("worker.properties"),
        &folder.join("connect.log"),
    );
    let ask = |method: &str, path: &str, body: &str| try_request(&rest, method, path, body).ok();
    eventually("the worker answers", || {
        ask("GET", "/connectors", "").is_some_and(|(status, _)| status == 200)
    });
    let lines = |from: usize, to: usize| -> String {
        (from..to)
            .map(|number| format!("line {number}\n"))
            .collect()
    };
    let source = folder.join("in.txt");
    let sink = folder.join("out.txt");
    std::fs::write(&source, lines(0, 200)).expect("the file is written");
    let connectors = [
        (
            "source",
            json!({"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
                   "tasks.max": "1", "file": source, "topic": "carried"}),
        ),
        (
            "sink",
            json!({"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
                   "tasks.max": "1", "file": sink, "topics": "carried"}),
        ),
    ];
    for (name, config) in &connectors {
        let path = format!("/connectors/{name}/config");
        eventually("the connector is created", || {
            ask("PUT", &path, &config.to_string())
                .is_some_and(|(status, _)| status == 201 || status == 200)
        });
    }
    let carried =
        |expected: &str| std::fs::read_to_string(&sink).is_ok_and(|text| text == expected);
    eventually("the first lines are carried", || carried(&lines(0, 200)));

    server.kill();
    server.spawn();
    let mut more = File::options()
        .append(true)
        .open(&source)
        .expect("the source");
    std::io::Write::write_all(&mut more, lines(200, 400).as_bytes()).expect("lines are written");
    eventually("what came after the kill is carried", || {
        std::fs::read_to_string(&sink).is_ok_and(|text| text.lines().last() == Some("line 399"))
    });
    // The topic holds each line once; the sink, which is at-least-once, may have repeated some.
    let stored = run(
        Command::new("kcat")
            .args(["-b", &server.kafka, "-C", "-t", "carried", "-e", "-q"])
            .args(["-X", "isolation.level=read_committed"]),
        "",
    )
    .good();
    assert_eq!(stored, lines(0, 400));
    let (_, status) = ask("GET", "/connectors/source/status", "").expect("the worker answers");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["connector"]["state"], "RUNNING", "{status}");
    assert_eq!(status["tasks"][0]["state"], "RUNNING", "{status}");
}
