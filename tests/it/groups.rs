//! Groups whose partitions the broker assigns (KIP-848), with clients nobody here wrote.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};

use crate::clients::{Client, kcat_produce};
use crate::harness::{PATIENCE, Server};

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
