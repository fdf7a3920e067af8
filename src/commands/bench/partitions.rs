//! `assay bench partitions`: a server of many partitions, each written to: how long it takes to make
//! them, to stop, to start, and to be ready after kill -9, in which memory and with how many files.
//!
//! It starts and stops a server of its own, from this very program. Whatever was acknowledged must be
//! there after the kill, or the command fails. Next: [`super::process`] for the server.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_core::records::{BatchBuilder, Compression};
use clap::Args;

use super::Failure;
use super::process::{Folder, Process};
use super::table::{Row, Table};
use crate::client::KafkaClient;
use crate::commands::produce::now_ms;

/// How many partitions, and where.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Partitions, all of one topic
    #[arg(long, default_value_t = 9_990, value_parser = clap::value_parser!(i32).range(1..))]
    pub count: i32,
    /// Connections that write, each with one request at a time
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Folder for the data [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

const TOPIC: &str = "bench-partitions";

/// The orderly stop: ten seconds are promised with requests in flight, and there are none here.
const STOP_MAX: Duration = Duration::from_secs(5);

/// After kill -9 until the first answer.
const READY_MAX: Duration = Duration::from_secs(5);

/// What 10,000 partitions may take.
const MEMORY_MIB_MAX: u64 = 256;

/// Measures and prints.
pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = Folder::make(arguments.folder.as_deref())?;
    let bench = Bench {
        count: arguments.count,
        connections: arguments.connections.max(1),
        data: folder.0.join("data").display().to_string(),
    };
    let mut table = Table::plain()?;
    let mut time = |what: &str, took: Duration, most: Option<Duration>| {
        table.row(Row {
            what,
            store: "",
            figure: format!("{:.2} s", took.as_secs_f64()),
            goal: most.map(|most| (format!("<= {} s", most.as_secs()), took <= most)),
        })
    };

    let server = bench.serve().await?;
    time("start on an empty folder", server.process.ready_after, None)?;
    time("create the partitions", bench.create(&server).await?, None)?;
    time(
        "one record to each, acks=all",
        bench.write(&server, 0).await?,
        None,
    )?;
    let first_use = server.process.uses();
    time("stop", server.stop().await?, Some(STOP_MAX))?;

    let server = bench.serve().await?;
    time("start after that", server.process.ready_after, None)?;
    time("one more to each", bench.write(&server, 1).await?, None)?;
    let second_use = server.process.uses();
    server.process.kill()?;

    let server = bench.serve().await?;
    time(
        "ready after kill -9",
        server.process.ready_after,
        Some(READY_MAX),
    )?;
    let third_use = server.process.uses();
    let found = bench.count_stored(&server, 2).await?;
    time("stop", server.stop().await?, Some(STOP_MAX))?;

    for (what, used) in [
        ("memory, open files: all written", first_use),
        ("  started again, all written", second_use),
        ("  after kill -9", third_use),
    ] {
        let Some((memory_mib, open_files)) = used else {
            continue;
        };
        table.row(Row {
            what,
            store: "",
            figure: format!("{memory_mib} MiB, {open_files}"),
            goal: Some((
                format!("<= {MEMORY_MIB_MAX} MiB"),
                memory_mib <= MEMORY_MIB_MAX,
            )),
        })?;
    }
    table.note(&format!(
        "  {found} of {} partitions have both acknowledged records after kill -9; {} connections wrote",
        bench.count, bench.connections
    ))?;
    table.end()?;
    if i32::try_from(found) == Ok(bench.count) {
        Ok(())
    } else {
        Err("acknowledged records are missing".into())
    }
}

struct Bench {
    count: i32,
    connections: usize,
    data: String,
}

struct Serving {
    process: Process,
    kafka: String,
}

impl Bench {
    async fn serve(&self) -> Result<Serving, Failure> {
        let kafka = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let process = Process::start(|http| {
            [
                "serve", "--log", "warn", "--http", http, "--kafka", &kafka, "--data", &self.data,
            ]
            .map(str::to_owned)
            .to_vec()
        })
        .await?;
        Ok(Serving { process, kafka })
    }

    async fn create(&self, server: &Serving) -> Result<Duration, Failure> {
        let mut client = KafkaClient::connect(&server.kafka).await?;
        let started = Instant::now();
        client.create_topic(TOPIC, self.count, &[]).await?;
        Ok(started.elapsed())
    }

    /// Writes a record to every partition, which has `before` so far.
    async fn write(&self, server: &Serving, before: i64) -> Result<Duration, Failure> {
        // Now, or retention by time would take the records away.
        let now = now_ms();
        let mut builder = BatchBuilder::new(Compression::None, now);
        builder.append(now, None, Some(b"one of many"), &[]);
        let batch: Arc<[u8]> = builder.build().into();
        let started = Instant::now();
        self.each(server, move |mut client, partitions| {
            let batch = Arc::clone(&batch);
            async move {
                for partition in partitions {
                    let answer = client.produce(TOPIC, partition, &batch, -1).await?;
                    if answer.error.is_error() || answer.base_offset != before {
                        return Err(format!(
                            "{TOPIC}-{partition} answered {} at offset {} where {before} is next",
                            answer.error.name(),
                            answer.base_offset
                        )
                        .into());
                    }
                }
                Ok(0)
            }
        })
        .await?;
        Ok(started.elapsed())
    }

    /// How many partitions hold so many records.
    async fn count_stored(&self, server: &Serving, records: i64) -> Result<usize, Failure> {
        self.each(server, move |mut client, partitions| async move {
            let mut found = 0;
            for partition in partitions {
                let end = client.offset(TOPIC, partition, -1).await?;
                found += usize::from(end == records);
            }
            Ok(found)
        })
        .await
    }

    /// Shares the partitions among the connections; answers the sum of what came of them.
    async fn each<F, W>(&self, server: &Serving, work: F) -> Result<usize, Failure>
    where
        F: Fn(KafkaClient, Vec<i32>) -> W,
        W: Future<Output = Result<usize, Failure>> + Send + 'static,
    {
        let mut tasks = Vec::new();
        for first in (0..self.count).take(self.connections) {
            let partitions = (first..self.count).step_by(self.connections).collect();
            let client = KafkaClient::connect(&server.kafka).await?;
            tasks.push(tokio::spawn(work(client, partitions)));
        }
        let mut sum = 0;
        for task in tasks {
            sum += task.await??;
        }
        Ok(sum)
    }
}

impl Serving {
    async fn stop(self) -> Result<Duration, Failure> {
        let started = Instant::now();
        self.process.stop().await?;
        Ok(started.elapsed())
    }
}

impl Process {
    /// Memory in MiB and open files now, where the system tells.
    fn uses(&self) -> Option<(u64, usize)> {
        let (memory_mib, _) = self.memory_mib()?;
        Some((memory_mib, self.open_files()?))
    }
}
