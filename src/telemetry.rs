//! Logs to standard error, metrics to `GET /metrics`.

use std::io::IsTerminal;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Changes the log filter of a running process.
pub struct LogControl {
    reload: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

impl std::fmt::Debug for LogControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogControl").finish_non_exhaustive()
    }
}

impl LogControl {
    /// Logs by `filter` from now on.
    ///
    /// # Errors
    /// When it is not a log filter; the old one stays.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        (self.reload)(parse_filter(filter)?)
    }
}

fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| format!("--log: {error}"))
}

/// Installs the log subscriber.
///
/// # Errors
/// When `filter` is not a log filter.
pub fn install_logs(filter: &str, format: LogFormat) -> Result<LogControl, String> {
    let filter = parse_filter(filter)?;
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr);
    // A second call (tests that start several servers in one process) keeps the first subscriber.
    macro_rules! install {
        ($builder:expr) => {{
            let builder = $builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            let _already_installed = builder.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }};
    }
    Ok(LogControl {
        reload: match format {
            LogFormat::Text => install!(builder.with_ansi(std::io::stderr().is_terminal())),
            LogFormat::Json => install!(builder.json()),
        },
    })
}

/// Installs the metrics recorder and answers the handle that renders it.
///
/// # Errors
/// When a recorder is already installed.
pub fn install_metrics() -> Result<PrometheusHandle, String> {
    // Base units, buckets wide enough for an fsync on a slow disk.
    let handle = PrometheusBuilder::new()
        .set_buckets(&[
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0,
        ])
        .map_err(|error| error.to_string())?
        .install_recorder()
        .map_err(|error| error.to_string())?;
    describe_metrics();
    Ok(handle)
}

/// Tells the recorder what every metric of the process means.
fn describe_metrics() {
    crate::enforcement::describe_metrics();
    describe_counter!(
        "assay_kafka_requests_total",
        "Kafka requests answered, by API and first error"
    );
    describe_histogram!(
        "assay_kafka_request_duration_seconds",
        Unit::Seconds,
        "Time from a Kafka request read to its answer made, by API"
    );
    describe_counter!(
        "assay_kafka_bytes_total",
        Unit::Bytes,
        "Bytes read from and written to Kafka clients, by direction"
    );
    describe_gauge!("assay_connections", "Kafka connections open now");
    describe_gauge!("assay_fetch_sessions", "Fetch sessions that consumers have");
    describe_gauge!(
        "assay_client_metric",
        "Gauges that clients pushed last, by metric and client id"
    );
    describe_counter!(
        "assay_client_metric_total",
        "Sums that clients pushed, by metric and client id"
    );
    describe_histogram!(
        "assay_throttle_duration_seconds",
        Unit::Seconds,
        "Waits of clients beyond a quota"
    );
    describe_counter!(
        "assay_registry_requests_total",
        "Requests to the registry API, by route, method and status"
    );
    describe_histogram!(
        "assay_registry_request_duration_seconds",
        Unit::Seconds,
        "Time from a registry request to its answer, by route"
    );
    describe_gauge!("assay_http_connections", "HTTP connections open now");
    describe_counter!(
        "assay_http_connections_refused_total",
        "HTTP connections answered 503 because too many were open"
    );
    describe_gauge!("assay_build_info", "Always 1; the version is a label");
    metrics::gauge!("assay_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// `process_*` metrics under their standard names; empty where `/proc` does not tell.
#[must_use]
pub fn process_metrics() -> String {
    let cpu = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| cpu_seconds(&stat));
    let memory = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| resident_bytes(&statm));
    let mut text = String::new();
    if let Some(seconds) = cpu {
        text.push_str("# HELP process_cpu_seconds_total User and system CPU time in seconds\n");
        text.push_str("# TYPE process_cpu_seconds_total counter\n");
        text.push_str(&format!("process_cpu_seconds_total {seconds}\n"));
    }
    if let Some(bytes) = memory {
        text.push_str("# HELP process_resident_memory_bytes Resident memory in bytes\n");
        text.push_str("# TYPE process_resident_memory_bytes gauge\n");
        text.push_str(&format!("process_resident_memory_bytes {bytes}\n"));
    }
    text
}

/// User and system time, fields 14 and 15 of proc(5) stat in ticks of 10 ms; the command name in
/// field 2 may hold spaces, so fields are counted from its closing parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(f64::from(user + system) / 100.0)
}

/// Resident set, field 2 of proc(5) statm in pages of 4 KiB.
fn resident_bytes(statm: &str) -> Option<u64> {
    statm
        .split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|pages| pages * 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_figures_are_read_from_proc_lines() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("garbage"), None);
        assert_eq!(resident_bytes("10 3 1"), Some(12_288));
    }
}
