//! `assay serve`: run until a signal.

use std::io::Write;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{CommandResult, Outcome, ServeArguments};
use crate::config::ServeOptions;
use crate::server::Server;
use crate::telemetry;

/// Runs the server until SIGTERM or SIGINT; a second signal ends the process at once.
///
/// # Errors
/// When it cannot start, or cannot stop cleanly.
pub async fn run(arguments: ServeArguments) -> CommandResult {
    let file = match &arguments.config {
        Some(path) => ServeOptions::from_file(path)?,
        None => ServeOptions::default(),
    };
    let config = arguments.options.resolve(file)?;
    let mut stdout = std::io::stdout();
    if arguments.print_config {
        stdout.write_all(toml::to_string(&config)?.as_bytes())?;
        return Ok(Outcome::Good);
    }
    telemetry::install_logs(&config.log, config.log_format)?;
    let metrics = telemetry::install_metrics()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

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

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    tokio::select! {
        stopped = server.stop() => stopped?,
        _ = terminate.recv() => return Err("stopped at once by a second signal".into()),
        _ = interrupt.recv() => return Err("stopped at once by a second signal".into()),
    }
    tracing::info!("stopped");
    Ok(Outcome::Good)
}
