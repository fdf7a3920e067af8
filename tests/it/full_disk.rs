//! A disk that is full: what cannot be stored is refused so that clients try again, nothing that was
//! acknowledged is missing, everything else goes on, and so do writes once there is space.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use assay::client::KafkaClient;
use broker_core::error::ErrorCode;
use broker_core::records::{BatchBuilder, Compression};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::harness::Server;

/// More than fit; a refusal must come before.
const RECORDS_MAX: usize = 5_000;

/// Bytes of the large records, which find no room in a page that the log has already.
const LARGE: usize = 20_000;

/// A producer that waits for every answer, and remembers what was acknowledged.
struct Producer<'a> {
    server: &'a Server,
    runtime: Runtime,
    topic: &'a str,
    /// Values acknowledged, by partition.
    acknowledged: [Vec<String>; 2],
}

impl<'a> Producer<'a> {
    fn new(server: &'a Server, topic: &'a str) -> Self {
        let mut runtime = Builder::new_current_thread();
        Self {
            server,
            runtime: runtime.enable_all().build().expect("a runtime"),
            topic,
            acknowledged: [Vec::new(), Vec::new()],
        }
    }

    fn create_topic(&self) {
        let arguments = ["topic", "create", self.topic, "--partitions", "2"];
        self.server.assay(&arguments, "").good();
    }

    /// Goes on after a restart of the server.
    fn resume(server: &'a Server, topic: &'a str, acknowledged: [Vec<String>; 2]) -> Self {
        let producer = Self {
            acknowledged,
            ..Self::new(server, topic)
        };
        producer.check_stored();
        producer
    }

    /// Sends one record with acks=all; its offset must be the next.
    fn send(&mut self, partition: usize, bytes: usize) -> Result<(), (ErrorCode, String)> {
        let next = self.acknowledged[partition].len();
        let value = format!("{next:08}{}", "x".repeat(bytes));
        let mut builder = BatchBuilder::new(Compression::None, 0);
        builder.append(0, None, Some(value.as_bytes()), &[]);
        let batch = builder.build();
        let answer = self.runtime.block_on(async {
            let mut client = KafkaClient::connect(&self.server.kafka).await?;
            let index = i32::try_from(partition).expect("two partitions");
            client.produce(self.topic, index, &batch, -1).await
        });
        let answer = answer.expect("the broker answers");
        if answer.error.is_error() {
            return Err((answer.error, answer.error_message.unwrap_or_default()));
        }
        assert_eq!(usize::try_from(answer.base_offset), Ok(next));
        self.acknowledged[partition].push(value);
        Ok(())
    }

    /// Sends until one is refused because of `why`, and that again a few times.
    fn send_until_refused(&mut self, partition: usize, why: &str) {
        let refused = (0..RECORDS_MAX).find_map(|_| self.send(partition, LARGE).err());
        let (code, text) = refused.expect("the disk is full at last");
        assert_eq!(code, ErrorCode::KAFKA_STORAGE_ERROR, "{text}");
        assert!(text.contains(why), "{text}");
        for _ in 0..5 {
            let again = self.send(partition, LARGE).map_err(|(code, _)| code);
            assert_eq!(again, Err(ErrorCode::KAFKA_STORAGE_ERROR));
        }
        self.check_stored();
    }

    /// What is stored is what was acknowledged, in both partitions.
    fn check_stored(&self) {
        for (partition, acknowledged) in self.acknowledged.iter().enumerate() {
            let partition = partition.to_string();
            let arguments = ["consume", self.topic, "--exit", "--partition", &partition];
            let stored = self.server.assay(&arguments, "").good();
            let stored: Vec<String> = stored
                .lines()
                .map(|line| {
                    let record: Value = serde_json::from_str(line).expect("a JSON line");
                    record["value"].as_str().expect("a text").to_owned()
                })
                .collect();
            assert!(
                stored == *acknowledged,
                "partition {partition}: {} stored, {} acknowledged",
                stored.len(),
                acknowledged.len()
            );
        }
    }
}

/// Sets how large a file the process may write.
fn limit_files(server: &Server, bytes: &str) {
    let told = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--fsize={bytes}:"))
        .status()
        .expect("prlimit runs");
    assert!(told.success());
}

#[test]
fn a_partition_that_cannot_grow_is_refused_alone() {
    // The signal that comes with the error would end the process, as it would any that knows no such
    // limit.
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let data = TempDir::new().expect("a temporary directory");
    let mut server = Server::start_by(data, &wrapper);
    let acknowledged = {
        let mut producer = Producer::new(&server, "orders");
        producer.create_topic();
        producer.send(0, 10).expect("stored");
        limit_files(&server, "200000");
        producer.send_until_refused(0, "File too large");
        producer
            .send(1, LARGE)
            .expect("the other partition goes on");
        limit_files(&server, "unlimited");
        producer.send(0, LARGE).expect("there is space again");
        producer.check_stored();
        limit_files(&server, "300000");
        producer.send_until_refused(0, "File too large");
        producer.acknowledged
    };
    server.kill();
    server.spawn();
    let mut producer = Producer::resume(&server, "orders", acknowledged);
    producer.send(0, LARGE).expect("after a restart too");
    producer.check_stored();
}

/// Whether this process may mount without a user namespace of its own.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout == b"0\n"
}

/// A small file system in memory, seen by the processes of one mount namespace, which goes with it.
struct SmallDisk {
    holder: Child,
    wrapper: Vec<String>,
    root: PathBuf,
}

impl SmallDisk {
    /// Mounted at `at`, where this user may do so.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).expect("a directory to mount at");
        let is_root = is_root();
        let unshare: &[&str] = if is_root {
            &["unshare", "--mount"]
        } else {
            &["unshare", "--user", "--map-root-user", "--mount"]
        };
        let script = "mount -t tmpfs -o size=16m tmpfs \"$0\" && echo mounted && exec cat";
        let mut holder = Command::new(unshare[0])
            .args(&unshare[1..])
            .args(["sh", "-c", script])
            .arg(at)
            // It ends with this process, when its input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let mut stdout = BufReader::new(holder.stdout.take().expect("stdout is piped"));
        stdout.read_line(&mut line).expect("the pipe is read");
        if line != "mounted\n" {
            holder.wait().expect("it ended");
            return None;
        }
        let pid = holder.id();
        let mut wrapper = vec![
            "nsenter".to_owned(),
            format!("--target={pid}"),
            "--mount".to_owned(),
        ];
        if !is_root {
            wrapper.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        let inside = at.strip_prefix("/").expect("an absolute path");
        Some(Self {
            holder,
            wrapper,
            root: Path::new("/proc")
                .join(pid.to_string())
                .join("root")
                .join(inside),
        })
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut filler = File::create(self.root.join("filler")).expect("a file");
        for piece in [64 << 10, 512] {
            let piece = vec![0; piece];
            let error = loop {
                if let Err(error) = filler.write_all(&piece) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    }

    /// Gives the space back.
    fn free(&self) {
        std::fs::remove_file(self.root.join("filler")).expect("the file goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone_already = self.holder.kill();
        let _reaped = self.holder.wait();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_serves_the_rest() {
    let data = TempDir::new().expect("a temporary directory");
    let Some(disk) = SmallDisk::mount(&data.path().join("data")) else {
        eprintln!("skipped: this user may not mount a small file system");
        return;
    };
    let wrapper: Vec<&str> = disk.wrapper.iter().map(String::as_str).collect();
    let mut server = Server::start_by(data, &wrapper);
    let schema = |name: &str| {
        let text = json!({ "type": "fixed", "name": name, "size": 4, "doc": "x".repeat(LARGE) });
        json!({ "schema": text.to_string() })
    };
    let register = |server: &Server, name: &str| {
        let path = format!("/subjects/{name}/versions");
        server.post_json(&path, &schema(name)).0
    };
    let acknowledged = {
        let mut producer = Producer::new(&server, "orders");
        producer.create_topic();
        for _ in 0..10 {
            producer.send(0, 100).expect("stored");
            producer.send(1, LARGE).expect("stored");
        }
        assert_eq!(register(&server, "before"), 200);
        disk.fill();
        producer.send_until_refused(0, "No space left on device");
        producer.send_until_refused(1, "No space left on device");
        assert_eq!(server.get("/livez").0, 200);
        assert_eq!(server.get_json("/subjects"), json!(["before"]));
        let refused = register(&server, "meanwhile");
        assert!(refused >= 500, "a schema that cannot be stored: {refused}");
        disk.free();
        producer.send(0, LARGE).expect("there is space again");
        producer.send(1, LARGE).expect("there is space again");
        assert_eq!(register(&server, "after"), 200);
        disk.fill();
        producer.send_until_refused(0, "No space left on device");
        producer.acknowledged
    };
    server.kill();
    disk.free();
    server.spawn();
    let mut producer = Producer::resume(&server, "orders", acknowledged);
    producer.send(0, LARGE).expect("after a restart too");
    producer.check_stored();
    assert_eq!(server.get_json("/subjects"), json!(["after", "before"]));
    server.terminate();
}
