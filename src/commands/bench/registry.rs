//! `assay bench registry`: what the registry does on each store, each figure beside its goal.
//!
//! It starts servers of its own, from this very program, so that one run of one command is the whole
//! measurement. Next: [`super::http_load`] for the load, [`super::process`] for the servers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::http_load::{self, Connection, Load, closed_loop, open_loop};
use super::process::{Folder, Process};
use super::table::{Row, Table};
use super::{Failure, median};

/// What to measure, and for how long.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Measure on PostgreSQL too: the URL of an empty database, which is left full
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Which figures
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "start,get,register,check,load"
    )]
    pub parts: Vec<Part>,
    /// Seconds a round
    #[arg(long, default_value_t = 3)]
    pub seconds: u32,
    /// Rounds of reads, in which baseline and stores take turns
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    /// Connections that read, and concurrent writers
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Schemas to load
    #[arg(long, default_value_t = 100_000)]
    pub schemas: u64,
    /// Folder for the data of SQLite [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// One group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// From the start of the process to its first answer, without data
    Start,
    /// Reads by id beside an axum hello-world that answers the same bytes
    Get,
    /// Registrations of new schemas by concurrent writers, and by one
    Register,
    /// Compatibility checks by the clock
    Check,
    /// From the start of the process to its first answer, with many schemas
    Load,
}

/// Where a registry keeps its truth, and how it is started there.
#[derive(Debug)]
struct Store {
    name: &'static str,
    arguments: Vec<String>,
}

impl Store {
    fn sqlite(folder: &Folder, name: &str) -> Self {
        let data = folder.0.join(name).display().to_string();
        let arguments = ["--kafka", "127.0.0.1:0", "--data", &data];
        Self {
            name: "sqlite",
            arguments: arguments.map(str::to_owned).to_vec(),
        }
    }

    fn postgres(url: &str) -> Self {
        let arguments = ["--registry-only", "--registry-url", url];
        Self {
            name: "postgres",
            arguments: arguments.map(str::to_owned).to_vec(),
        }
    }

    async fn serve(&self) -> Result<Process, Failure> {
        Process::start(|http| {
            let mut all: Vec<String> = ["serve", "--log", "warn", "--http", http]
                .map(str::to_owned)
                .to_vec();
            all.extend(self.arguments.iter().cloned());
            all
        })
        .await
    }
}

/// Measures and prints.
pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = Folder::make(arguments.folder.as_deref())?;
    let mut stores = vec![Store::sqlite(&folder, "data")];
    stores.extend(arguments.postgres.as_deref().map(Store::postgres));
    let mut table = Table::with_stores()?;
    let measures = |part| arguments.parts.contains(&part);
    if measures(Part::Start) {
        start(&folder, &stores, &mut table).await?;
    }
    if [Part::Get, Part::Register, Part::Check]
        .into_iter()
        .any(measures)
    {
        let mut servers = Vec::new();
        for store in &stores {
            servers.push((store.name, store.serve().await?));
        }
        if measures(Part::Get) {
            get(arguments, &folder, &servers, &mut table).await?;
        }
        for (store, server) in &servers {
            if measures(Part::Register) {
                register(arguments, store, server, &mut table).await?;
            }
            if measures(Part::Check) {
                check(arguments, store, server, &mut table).await?;
            }
        }
        for (_, server) in servers {
            server.stop().await?;
        }
    }
    if measures(Part::Load) {
        for store in &stores {
            load(arguments, store, &mut table).await?;
        }
    }
    table.end()
}

/// Starts of each kind: a single one says little.
const STARTS_COUNT: usize = 11;

async fn start(folder: &Folder, stores: &[Store], table: &mut Table) -> Result<(), Failure> {
    let mut afters = Vec::new();
    for number in 0..STARTS_COUNT {
        let store = Store::sqlite(folder, &format!("empty-{number}"));
        let server = store.serve().await?;
        afters.push(milliseconds(server.ready_after));
        server.stop().await?;
    }
    table.row(start_row(
        "start on an empty folder",
        "sqlite",
        &afters,
        Some(START_MS_MAX),
    ))?;
    for store in stores {
        let first = store.serve().await?;
        if store.name == "postgres" {
            let after = [milliseconds(first.ready_after)];
            table.row(start_row(
                "start on an empty database",
                store.name,
                &after,
                None,
            ))?;
        }
        first.stop().await?;
        let mut afters = Vec::new();
        for _ in 0..STARTS_COUNT {
            let server = store.serve().await?;
            afters.push(milliseconds(server.ready_after));
            server.stop().await?;
        }
        table.row(start_row(
            "start without schemas",
            store.name,
            &afters,
            Some(START_MS_MAX),
        ))?;
    }
    Ok(())
}

const START_MS_MAX: f64 = 50.0;

fn start_row<'a>(what: &'a str, store: &'a str, afters: &[f64], goal: Option<f64>) -> Row<'a> {
    let middle = median(afters);
    Row {
        what,
        store,
        figure: format!("{middle:.1} ms (median of {})", afters.len()),
        goal: goal.map(|goal| (format!("<= {goal} ms"), middle <= goal)),
    }
}

/// What reads by id must reach of the baseline.
const GET_RATIO_MIN: f64 = 0.8;

/// Schemas in the store that is read, so that its maps are not those of an empty one.
const SCHEMAS_BESIDE: u64 = 1_000;

async fn get(
    arguments: &Arguments,
    folder: &Folder,
    servers: &[(&'static str, Process)],
    table: &mut Table,
) -> Result<(), Failure> {
    let mut body = Vec::new();
    let mut asked = Vec::new();
    for (name, server) in servers {
        let mut connection = Connection::open(&server.http).await?;
        for number in 0..SCHEMAS_BESIDE {
            let subject = format!("beside-{number}");
            connection
                .good(&NewSchema::plain().request(&subject, number))
                .await?;
        }
        let id = registered_id(connection.good(&wide("read", 0)?).await?)?;
        let request = http_load::get(&format!("/schemas/ids/{id}"));
        body = connection.good(&request).await?.to_vec();
        asked.push((*name, server, request));
    }
    let file = folder.0.join("body.json");
    std::fs::write(&file, &body)?;
    let baseline = Process::start(|http| {
        let file = file.display().to_string();
        ["bench", "hello", "--listen", http, "--body", &file]
            .map(str::to_owned)
            .to_vec()
    })
    .await?;
    asked.insert(0, ("hello", &baseline, http_load::get("/schemas/ids/1")));

    let mut rates = vec![Vec::new(); asked.len()];
    let mut costs = vec![Vec::new(); asked.len()];
    // Round 0 warms up and does not count.
    for round in 0..=arguments.rounds {
        for (place, (_, server, request)) in asked.iter().enumerate() {
            let cpu_before = server.cpu_seconds();
            let load = read(arguments, &server.http, request).await?;
            let cpu = server.cpu_seconds().zip(cpu_before);
            if round > 0 {
                rates[place].push(load.per_second());
                costs[place].extend(cpu.map(|(after, before)| cost(&load, after - before)));
            }
        }
    }
    let yardstick = rates.first().map_or(f64::NAN, |rates| median(rates));
    for (place, (name, ..)) in asked.iter().enumerate() {
        let rate = median(&rates[place]);
        let ratio = rate / yardstick;
        let is_baseline = place == 0;
        table.row(Row {
            what: if is_baseline {
                "axum hello-world, same body"
            } else {
                "GET /schemas/ids/{id}"
            },
            store: if is_baseline { "" } else { name },
            figure: format!(
                "{rate:.0}/s, ratio {ratio:.2}, {:.1} us CPU a request",
                median(&costs[place])
            ),
            goal: (!is_baseline)
                .then(|| (format!("ratio >= {GET_RATIO_MIN}"), ratio >= GET_RATIO_MIN)),
        })?;
    }
    table.note(&format!(
        "  {} connections, {} bytes of body, median of {} rounds of {} s",
        arguments.connections,
        body.len(),
        arguments.rounds,
        arguments.seconds
    ))
}

async fn read(arguments: &Arguments, address: &str, request: &[u8]) -> Result<Load, Failure> {
    let until = Instant::now() + Duration::from_secs(u64::from(arguments.seconds));
    closed_loop(address, arguments.connections, |_| {
        let whole = request.to_vec();
        move |request: &mut Vec<u8>| {
            if request.is_empty() {
                request.clone_from(&whole);
            }
            Instant::now() < until
        }
    })
    .await
}

/// The server's CPU time of one request, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn cost(load: &Load, cpu_seconds: f64) -> f64 {
    cpu_seconds * 1e6 / load.answers as f64
}

const REGISTRATIONS_PER_SECOND_MIN: f64 = 2_000.0;

/// Between the numbers of one writer's schemas and the next one's.
const NUMBERS_APART: u64 = 1_000_000_000;

async fn register(
    arguments: &Arguments,
    store: &str,
    server: &Process,
    table: &mut Table,
) -> Result<(), Failure> {
    for writers in [1, arguments.connections] {
        let until = Instant::now() + Duration::from_secs(u64::from(arguments.seconds));
        let cpu_before = server.cpu_seconds();
        let load = closed_loop(&server.http, writers, |writer| {
            // No two registrations of a run share a text, or they would share an id.
            let mut number = NUMBERS_APART * u64::try_from(writers * 1_000 + writer).unwrap_or(0);
            let schema = NewSchema::plain();
            move |request: &mut Vec<u8>| {
                number += 1;
                *request = schema.request(&format!("writer-{number}"), number);
                Instant::now() < until
            }
        })
        .await?;
        let cpu = server.cpu_seconds().zip(cpu_before);
        let cpu = cpu.map_or(f64::NAN, |(after, before)| cost(&load, after - before));
        let rate = load.per_second();
        let what = format!("register new schemas, {writers} writers");
        let goal = format!(">= {REGISTRATIONS_PER_SECOND_MIN}/s");
        table.row(Row {
            what: &what,
            store,
            figure: format!(
                "{rate:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {cpu:.0} us CPU each",
                load.quantile_ms(0.5),
                load.quantile_ms(0.99)
            ),
            goal: (writers > 1).then_some((goal, rate >= REGISTRATIONS_PER_SECOND_MIN)),
        })?;
    }
    Ok(())
}

const CHECKS_PER_SECOND: u32 = 1_000;
const CHECK_P99_MS_MAX: f64 = 1.0;

async fn check(
    arguments: &Arguments,
    store: &str,
    server: &Process,
    table: &mut Table,
) -> Result<(), Failure> {
    let mut connection = Connection::open(&server.http).await?;
    connection.good(&wide("checked", 0)?).await?;
    let body = json!({ "schema": wide_schema(1) }).to_string();
    let path = "/compatibility/subjects/checked/versions/latest";
    let request = http_load::request("POST", path, &body);
    let verdict: Value = serde_json::from_slice(connection.good(&request).await?)?;
    if verdict != json!({ "is_compatible": true }) {
        return Err(format!("the check answered {verdict}").into());
    }
    let address = server.http.clone();
    // A second to warm up, which does not count.
    let seconds = arguments.seconds;
    let load = tokio::task::spawn_blocking(move || {
        open_loop(&address, &request, CHECKS_PER_SECOND, 1)?;
        open_loop(&address, &request, CHECKS_PER_SECOND, seconds * 2)
    })
    .await??;
    let p99 = load.quantile_ms(0.99);
    table.row(Row {
        what: "check a 50-field record, 1,000/s",
        store,
        figure: format!("p50 {:.2} ms, p99 {p99:.2} ms", load.quantile_ms(0.5)),
        goal: Some((
            format!("p99 <= {CHECK_P99_MS_MAX} ms"),
            p99 <= CHECK_P99_MS_MAX,
        )),
    })
}

const LOAD_SECONDS_MAX: f64 = 3.0;
const LOAD_MIB_MAX: u64 = 1024;

/// Concurrent writers while a store is filled.
const FILLERS_COUNT: usize = 256;

/// Above every number that the other parts give to schemas.
const FILLED_FROM: u64 = 1 << 62;

/// Versions of each subject that a store is filled with.
const VERSIONS_COUNT: u64 = 5;

async fn load(arguments: &Arguments, store: &Store, table: &mut Table) -> Result<(), Failure> {
    let server = store.serve().await?;
    let mut connection = Connection::open(&server.http).await?;
    let first = NewSchema::plain().request("filled", FILLED_FROM - 1);
    let before = registered_id(connection.good(&first).await?)?;
    let subjects = arguments
        .schemas
        .saturating_sub(before)
        .div_ceil(VERSIONS_COUNT);
    let next_subject = Arc::new(AtomicU64::new(0));
    let versions: Arc<[NewSchema]> = (0..VERSIONS_COUNT).map(NewSchema::version).collect();
    let filled = closed_loop(&server.http, FILLERS_COUNT, |_| {
        let (next_subject, versions) = (Arc::clone(&next_subject), Arc::clone(&versions));
        let (mut subject, mut version) = (0, 0);
        move |request: &mut Vec<u8>| {
            let schema = versions.get(version).or_else(|| {
                version = 0;
                versions.first()
            });
            if version == 0 {
                subject = next_subject.fetch_add(1, Ordering::Relaxed);
            }
            version += 1;
            *request = schema.map_or_else(Vec::new, |schema| {
                schema.request(&format!("filled-{subject}"), FILLED_FROM + subject)
            });
            subject < subjects
        }
    })
    .await?;
    let schemas = before + filled.answers;
    let while_filling = server.memory_mib().map_or(0, |(_, most)| most);
    server.stop().await?;
    let server = store.serve().await?;
    let seconds = server.ready_after.as_secs_f64();
    let (now, most) = server
        .memory_mib()
        .ok_or("the system does not tell memory")?;
    let mut connection = Connection::open(&server.http).await?;
    let last = http_load::get(&format!("/schemas/ids/{schemas}"));
    let bytes = connection.good(&last).await?.len();
    server.stop().await?;
    let what = format!("load {schemas} schemas");
    table.row(Row {
        what: &what,
        store: store.name,
        figure: format!("{seconds:.2} s to the first answer"),
        goal: Some((
            format!("<= {LOAD_SECONDS_MAX} s"),
            seconds <= LOAD_SECONDS_MAX,
        )),
    })?;
    table.row(Row {
        what: "  memory then",
        store: store.name,
        figure: format!("{now} MiB, at most {most} MiB"),
        goal: Some((format!("<= {LOAD_MIB_MAX} MiB"), most <= LOAD_MIB_MAX)),
    })?;
    table.note(&format!(
        "  {VERSIONS_COUNT} versions a subject, the last answer has {bytes} bytes; filled at {:.0}/s in \
         {while_filling} MiB",
        filled.per_second()
    ))
}

/// The id in the answer to a registration.
fn registered_id(body: &[u8]) -> Result<u64, Failure> {
    let answer: Value = serde_json::from_slice(body)?;
    let id = answer["id"].as_u64();
    id.ok_or_else(|| format!("{answer} has no id").into())
}

/// A schema text as it stands in a request, but for the number in its name.
#[derive(Debug)]
struct NewSchema {
    before: String,
    after: String,
}

/// Where the number goes.
const NUMBER_MARK: &str = "NUMBER";

impl NewSchema {
    /// What a new subject begins with.
    fn plain() -> Self {
        Self::version(0)
    }

    /// The version after so many compatible changes.
    fn version(version: u64) -> Self {
        let mut fields = vec![
            json!({ "name": "id", "type": "long", "doc": "unique in the shop" }),
            json!({ "name": "customer", "type": "string", "doc": "who ordered" }),
            json!({ "name": "status", "type": { "type": "enum", "name": "Status", "symbols": ["NEW", "PAID", "SHIPPED"] } }),
            json!({ "name": "total", "type": "double" }),
            json!({ "name": "paid", "type": "boolean" }),
            json!({ "name": "note", "type": ["null", "string"], "default": null, "doc": "free text of the customer" }),
            json!({ "name": "lines", "type": { "type": "array", "items": { "type": "record", "name": "Line", "fields": [
                { "name": "sku", "type": "string" },
                { "name": "qty", "type": "int" },
                { "name": "price", "type": "double" },
            ] } } }),
            json!({ "name": "attributes", "type": { "type": "map", "values": "string" } }),
        ];
        let added = (1..=version).map(|number| {
            json!({ "name": format!("added{number}"), "type": ["null", "string"], "default": null })
        });
        fields.extend(added);
        let schema = json!({
            "type": "record",
            "name": format!("Order{NUMBER_MARK}"),
            "namespace": "assay.bench",
            "fields": fields,
        });
        let body = json!({ "schema": schema.to_string() }).to_string();
        let (before, after) = body.split_once(NUMBER_MARK).unwrap_or_default();
        Self {
            before: before.to_owned(),
            after: after.to_owned(),
        }
    }

    /// Registers it under a subject.
    fn request(&self, subject: &str, number: u64) -> Vec<u8> {
        let Self { before, after } = self;
        let body = format!("{before}{number}{after}");
        http_load::request("POST", &format!("/subjects/{subject}/versions"), &body)
    }
}

/// A record of 50 fields of every kind, and so many more.
fn wide_schema(more: usize) -> String {
    let kinds = [
        json!("long"),
        json!("string"),
        json!(["null", "string"]),
        json!({ "type": "array", "items": "int" }),
        json!({ "type": "map", "values": "double" }),
    ];
    let fields: Vec<Value> = (0..50)
        .zip(kinds.iter().cycle())
        .map(|(number, kind)| json!({ "name": format!("field{number}"), "type": kind }))
        .chain((0..more).map(|number| {
            json!({ "name": format!("more{number}"), "type": ["null", "long"], "default": null })
        }))
        .collect();
    json!({ "type": "record", "name": "Wide", "fields": fields }).to_string()
}

/// Registers [`wide_schema`].
fn wide(subject: &str, more: usize) -> Result<Vec<u8>, Failure> {
    let body = json!({ "schema": wide_schema(more) }).to_string();
    let path = format!("/subjects/{subject}/versions");
    Ok(http_load::request("POST", &path, &body))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use serde_formats::compatibility::{CompatibilityPolicy, compare};
    use serde_formats::{ParseMode, ParsedSchema, SchemaFormat};

    use super::*;

    fn parse(text: &str) -> ParsedSchema {
        ParsedSchema::parse(SchemaFormat::Avro, text, &[], ParseMode::New).unwrap()
    }

    #[test]
    fn the_load_is_made_of_schemas_that_may_follow_each_other() {
        let text = |version| {
            let request = NewSchema::version(version).request("s", 7);
            let request = String::from_utf8(request).unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            let body: Value = serde_json::from_str(body).unwrap();
            body["schema"].as_str().unwrap().to_owned()
        };
        assert!(text(0).contains("\"Order7\""));
        for version in 0..VERSIONS_COUNT {
            let (old, new) = (parse(&text(version)), parse(&text(version + 1)));
            assert!(compare(&new, &old, CompatibilityPolicy::Strict).is_empty());
        }
        assert_eq!(wide_schema(0).matches(r#""name":"field"#).count(), 50);
        parse(&wide_schema(1));
    }
}
