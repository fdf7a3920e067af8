//! Groups whose partitions the broker assigns (KIP-848), with clients nobody here wrote.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};

use crate::clients::{Client, kcat_produce};
use crate::harness::{PATIENCE, Server, run};
use crate::stacks::{DUMP_LOG, GROUPS, expect, files, java, tool};

/// Members report often, so that nobody waits long for the others.
const OFTEN: [&str; 2] = ["--group-consumer-heartbeat-interval-ms", "300"];

/// Two members that share a topic, a regular expression, static members, a group that members of
/// both protocols are in, and what administrators see of all that.
fn check_consumers(client: Client) {
    let server = Server::start_with(&OFTEN);
    client
        .run(&["consumers", &server.kafka, &server.registry()])
        .good();
}

/// A group reads and commits on while its broker is stopped in order and killed: nothing is left out,
/// and all is committed in the end.
fn check_restarts(client: Client) {
    const ROUNDS: usize = 6;
    const RECORDS: usize = 40;
    let mut server = Server::start_with(&OFTEN);
    let topic = "followed";
    server
        .assay(&["topic", "create", topic, "--partitions", "4"], "")
        .good();
    let count = (ROUNDS * RECORDS).to_string();
    let mut follower = client
        .command()
        .args(["follow", &server.kafka, topic, &count])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the client starts");
    let stdout = BufReader::new(follower.stdout.take().expect("stdout is piped"));
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    // A client that says nothing for so long hangs: that is a failure, not a reason to wait.
    let next = || match lines.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("nothing was heard for {PATIENCE:?}"),
    };
    for round in 0..ROUNDS {
        let values: String = (0..RECORDS)
            .map(|number| format!("{}\n", round * RECORDS + number))
            .collect();
        kcat_produce(&server, topic, &[], &values).good();
        // Something of this round was read.
        let mut counts = std::iter::from_fn(next).filter_map(|line| {
            let count = line.strip_prefix("committed ")?;
            count.parse::<usize>().ok()
        });
        let read = counts.any(|count| count > round * RECORDS);
        assert!(read, "the client ended early");
        if round + 1 == ROUNDS {
            break;
        }
        if round % 3 == 2 {
            server.terminate();
        } else {
            server.kill();
        }
        server.spawn();
    }
    let rest: Vec<String> = std::iter::from_fn(next).collect();
    let status = follower.wait().expect("the client ends");
    assert!(status.success(), "{status}: {rest:?}");
}

#[test]
fn java_consumers() {
    check_consumers(Client::Java);
}

#[test]
fn confluent_kafka_python_consumers() {
    check_consumers(Client::Python);
}

#[test]
fn java_consumers_outlive_their_broker() {
    check_restarts(Client::Java);
}

#[test]
fn confluent_kafka_python_consumers_outlive_their_broker() {
    check_restarts(Client::Python);
}

/// kafka-consumer-groups shows such a group, and Kafka's decoder of `__consumer_offsets` knows every
/// record of it.
#[test]
fn kafkas_tools_know_the_groups() {
    let mut server = Server::start_with(&OFTEN);
    let topic = "shown";
    server
        .assay(&["topic", "create", topic, "--partitions", "4"], "")
        .good();
    kcat_produce(&server, topic, &[], "0\n1\n2\n").good();
    Client::Python
        .run(&["follow", &server.kafka, topic, "3"])
        .good();
    Client::Python
        .run(&["consumers", &server.kafka, &server.registry()])
        .good();
    let groups = |arguments: &str| tool(&server, GROUPS, arguments, "").good();
    expect(&groups("--list --type consumer --state"), &[topic, "Empty"]);
    let described = groups(&format!("--describe --group {topic} --state"));
    expect(&described, &["uniform", "Empty"]);
    let reset = format!("--reset-offsets --group {topic} --topic {topic} --to-earliest --execute");
    expect(&groups(&reset), &[topic]);
    groups(&format!("--delete --group {topic}"));
    assert!(!groups("--list").contains(topic), "deleted");

    server.terminate();
    let partition = server.data.path().join("data/topics/__consumer_offsets-0");
    let log = files(&partition, &["log"]);
    let dumped = run(
        java(DUMP_LOG, server.data.path()).args(["--offsets-decoder", "--files", &log]),
        "",
    )
    .good();
    let known = [
        "metadataHash",
        "subscribedTopicRegex\":\"(^py-pattern-.*)\"",
        "classicMemberMetadata\":{\"sessionTimeoutMs\":10000",
        "assignmentEpoch",
        "partitionsPendingRevocation\":[{",
        "payload: <DELETE>",
    ];
    expect(&dumped, &known);
    let records = dumped.matches("| offset: ").count();
    let understood = dumped.matches("key: {\"type\":").count();
    assert_eq!(understood, records, "records that Kafka does not know");
}
