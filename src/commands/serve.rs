//! `assay serve`: run until a signal.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{CommandResult, Outcome, ServeArguments};
use crate::config::{ServeConfig, ServeOptions};
use crate::server::Server;
use crate::telemetry::traces::Traces;
use crate::telemetry::traces::settings::TraceSettings;
use crate::telemetry::{self, LogControl};

/// Runs the server until SIGTERM or SIGINT; a second signal ends the process at once.
///
/// # Errors
/// When it cannot start, or cannot stop cleanly.
pub async fn run(arguments: ServeArguments) -> CommandResult {
    let file = match &arguments.config {
        Some(path) => ServeOptions::from_file(path)?,
        None => ServeOptions::default(),
    };
    let mut config = arguments.options.clone().resolve(file)?;
    let mut stdout = std::io::stdout();
    if arguments.print_config {
        stdout.write_all(toml::to_string(&config)?.as_bytes())?;
        return Ok(Outcome::Good);
    }
    let metrics = telemetry::install_metrics()?;
    let settings = TraceSettings::read(|name| std::env::var(name).ok());
    let started = settings.and_then(|settings| settings.map(Traces::start).transpose());
    let (traces, spans, no_traces) = match started {
        Ok(Some((traces, spans))) => (Some(traces), Some(spans), None),
        Ok(None) => (None, None, None),
        Err(reason) => (None, None, Some(reason)),
    };
    let logs = telemetry::install_logs(&config.log, config.log_format, spans)?;
    if let Some(reason) = no_traces {
        // Variables of a whole cluster, not ours: no reason not to serve.
        tracing::warn!(reason, "no traces are sent");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let server = Server::start(&config, Some(metrics)).await?;
    // Lines in this form: scripts and test containers wait for the last one.
    let mut ready = "assay ready".to_owned();
    if let Some(kafka) = server.kafka {
        let (host, port) = config.advertised(kafka)?;
        writeln!(stdout, "kafka    {kafka} (clients are told {host}:{port})")?;
        ready.push_str(&format!(" kafka={kafka}"));
    }
    writeln!(stdout, "registry http://{}", server.http)?;
    ready.push_str(&format!(" registry=http://{}", server.http));
    if server.keeps_data() {
        ready.push_str(&format!(" data={}", config.data.display()));
    }
    writeln!(stdout, "{ready}")?;
    stdout.flush()?;

    loop {
        tokio::select! {
            _ = terminate.recv() => {
                tracing::info!("SIGTERM: stopping");
                break;
            }
            _ = interrupt.recv() => {
                tracing::info!("SIGINT: stopping");
                break;
            }
            _ = hangup.recv() => match reload(&arguments, &config, &logs, &server) {
                Ok(new) => config = new,
                Err(error) => tracing::error!(%error, "SIGHUP: nothing was changed"),
            }
        }
    }
    tokio::select! {
        stopped = server.stop() => stopped?,
        _ = terminate.recv() => return Err("stopped at once by a second signal".into()),
        _ = interrupt.recv() => return Err("stopped at once by a second signal".into()),
    }
    if let Some(traces) = traces {
        traces.finish().await;
    }
    tracing::info!("stopped");
    Ok(Outcome::Good)
}

/// Reads the configuration again and puts in force what can be changed while the server runs: the
/// log filter and the limits of HTTP requests. All of it or, when something is wrong, nothing.
fn reload(
    arguments: &ServeArguments,
    running: &ServeConfig,
    logs: &LogControl,
    server: &Server,
) -> Result<ServeConfig, String> {
    let file = match &arguments.config {
        Some(path) => ServeOptions::from_file(path).map_err(|error| error.to_string())?,
        None => ServeOptions::default(),
    };
    let read = arguments.options.clone().resolve(file);
    let read = read.map_err(|error| error.to_string())?;
    logs.set(&read.log)?;
    let mut next = running.clone();
    next.log.clone_from(&read.log);
    let connections = (
        running.http_limits.http_connections_max,
        running.http_limits.http_header_max_ms,
    );
    next.http_limits = read.http_limits;
    (
        next.http_limits.http_connections_max,
        next.http_limits.http_header_max_ms,
    ) = connections;
    server.set_limits(&next);
    tracing::info!(log = next.log, "SIGHUP: log filter and limits are in force");
    let lines = |config: &ServeConfig| toml::to_string(config).unwrap_or_default();
    let (wanted, in_force) = (lines(&read), lines(&next));
    let differ = wanted
        .lines()
        .filter(|line| !in_force.lines().any(|other| other == *line));
    for line in differ {
        // The name alone: a value may be a URL with a password.
        let option = line.split('=').next().unwrap_or_default().trim();
        tracing::warn!(option, "SIGHUP: this option needs a restart");
    }
    Ok(next)
}
