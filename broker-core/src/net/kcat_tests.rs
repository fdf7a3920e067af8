//! kcat (librdkafka) against a whole broker; skipped with a line when kcat is not installed.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use super::harness::Server;
use crate::records::BatchHeader;

/// Runs kcat with `input` on its standard input; `None` when it is not installed.
async fn kcat(address: SocketAddr, arguments: &[&str], input: &str) -> Option<Output> {
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || {
        let started = Command::new("timeout")
            .args(["40", "kcat", "-b", &address.to_string()])
            .args(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.ok()?;
        let mut stdin = child.stdin.take()?;
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        // 127: timeout did not find kcat.
        (output.status.code() != Some(127)).then_some(output)
    })
    .await
    .unwrap()
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_lists_produces_consumes_and_queries() {
    let server = Server::start().await;
    let address = server.address;
    let Some(listing) = kcat(address, &["-L"], "").await else {
        {
            println!("skipped: kcat is not installed");
        }
        server.stop().await;
        return;
    };
    assert!(text(&listing).contains(&format!("broker 1 at {address}")));

    let lines: String = (0..200)
        .map(|n| format!("key:value number {n}\n"))
        .collect();
    let run = async |arguments: &[&str], input: &str| {
        text(&kcat(address, arguments, input).await.unwrap())
    };
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("kcat-{codec}");
        run(
            &[
                "-P",
                "-t",
                &topic,
                "-K:",
                "-z",
                codec,
                "-X",
                "linger.ms=200",
                "-X",
                "acks=all",
            ],
            &lines,
        )
        .await;
        let consumed = run(&["-C", "-t", &topic, "-K:", "-e", "-q"], "").await;
        assert_eq!(consumed, lines, "{codec}");
        let mut client = server.client().await;
        let request = super::harness::fetch_from(&topic, 0, 0);
        let answer = super::harness::fetch(&mut client, &request).await;
        let header = BatchHeader::parse(&answer.records.concat()).unwrap();
        // Old librdkafka sends uncompressed to a broker that does not advertise Produce 0.
        assert_eq!(header.compression().unwrap().name(), codec);
    }

    run(
        &["-P", "-t", "kcat-once", "-X", "enable.idempotence=true"],
        "a\nb\nc\n",
    )
    .await;
    for (place, offset) in [("-1", 3), ("-2", 0)] {
        let offsets = run(&["-Q", "-t", &format!("kcat-once:0:{place}")], "").await;
        assert_eq!(offsets.trim(), format!("kcat-once [0] offset {offset}"));
    }
    let grouped = run(
        &[
            "-G",
            "group",
            "kcat-once",
            "-X",
            "auto.offset.reset=earliest",
            "-e",
            "-q",
        ],
        "",
    )
    .await;
    assert_eq!(grouped, "a\nb\nc\n");
    // The offsets were committed: nothing is left for the group.
    run(&["-P", "-t", "kcat-once"], "d\n").await;
    let grouped = run(
        &[
            "-G",
            "group",
            "kcat-once",
            "-X",
            "auto.offset.reset=earliest",
            "-e",
            "-q",
        ],
        "",
    )
    .await;
    assert_eq!(grouped, "d\n");
    server.stop().await;
}
