//! The composition root: builds registry, enforcement and broker, opens the listeners, and stops
//! everything in reverse.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker_core::clock::Clock;
use broker_core::{Broker, BrokerConfig};
use metrics_exporter_prometheus::PrometheusHandle;
use registry::Registry;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, ServeConfig};
use crate::enforcement::{Enforcement, Rejections};
use crate::http::health::Health;
use crate::http::listener::{self, ConnectionLimits, CurrentRouter};
use crate::http::routes;
use crate::telemetry;
use crate::usage::TopicUsage;

/// In-flight requests get this long after SIGTERM; the rest of the ten seconds promised is for
/// syncing and closing.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Why the server did not start, or did not stop cleanly.
#[derive(Debug, Error)]
pub enum ServeError {
    /// An option makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port cannot be had.
    #[error("cannot listen on {address} for {what}: {reason}; choose another with {flag}")]
    Listen {
        /// `Kafka` or `HTTP`.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        reason: String,
        /// The flag that changes it.
        flag: &'static str,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {reason}")]
    Data {
        /// The directory.
        path: String,
        /// Why.
        reason: String,
    },
    /// The registry's store does not open.
    #[error("cannot open the registry: {0}")]
    Registry(String),
    /// The log does not open, or does not close.
    #[error("{0}")]
    Broker(String),
    /// Logs or metrics cannot be installed.
    #[error("{0}")]
    Telemetry(String),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where the Kafka listener really is; none when the registry is served alone.
    pub kafka: Option<SocketAddr>,
    /// Where the HTTP listener really is.
    pub http: SocketAddr,
    log: Option<Log>,
    registry: Registry,
    health: Health,
    stop: CancellationToken,
    http_task: JoinHandle<()>,
    /// None where nothing is kept in the data directory.
    lock: Option<DirectoryLock>,
}

/// The broker and what runs it.
#[derive(Debug)]
struct Log {
    broker: Arc<Broker>,
    kafka_task: JoinHandle<()>,
    groups_task: JoinHandle<()>,
    transactions_task: JoinHandle<()>,
}

impl Server {
    /// Starts everything; when it returns, both listeners answer.
    ///
    /// # Errors
    /// See [`ServeError`]; nothing is left running.
    pub async fn start(
        config: &ServeConfig,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, ServeError> {
        // Ports first: they fail fastest and touch nothing on disk.
        let kafka_listener = if config.registry_only {
            None
        } else {
            Some(listen("Kafka", "--kafka", config.kafka).await?)
        };
        let http_listener = listen("HTTP", "--http", config.http).await?;
        let kafka = kafka_listener
            .as_ref()
            .map(|listener| local_address("Kafka", "--kafka", config.kafka, listener))
            .transpose()?;
        let http = local_address("HTTP", "--http", config.http, &http_listener)?;
        let keeps_data = !config.registry_only || config.registry_url.is_empty();
        let lock = if keeps_data {
            create_data_dir(&config.data)?;
            // Guards registry.db as well as the log, so it is taken before either is opened.
            Some(DirectoryLock::take(&config.data)?)
        } else {
            None
        };

        // Probes are answered while the data is opened, which may take long after a crash.
        let health = Health::default();
        let router = CurrentRouter::new(routes::starting(&health, metrics.clone()));
        let stop = CancellationToken::new();
        // Whatever fails below ends the HTTP task with it.
        let unfinished = stop.clone().drop_guard();
        if let Some(metrics) = metrics.clone() {
            tokio::spawn(telemetry::keep_up(metrics, stop.clone()));
        }
        let http_task = tokio::spawn(listener::serve(
            http_listener,
            router.clone(),
            ConnectionLimits {
                connections_max: config.http_limits.http_connections_max,
                header_max: milliseconds(config.http_limits.http_header_max_ms),
            },
            stop.clone(),
        ));

        let registry = Registry::open(config.registry())
            .await
            .map_err(|error| ServeError::Registry(error.to_string()))?;
        registry.limits().set(config.http_limits.registry());
        let rejections = Arc::new(Rejections::new(config.rejections_kept));
        let log = match (kafka_listener, kafka) {
            (Some(listener), Some(address)) => {
                let enforcement = Arc::new(
                    Enforcement::new(registry.clone(), Arc::clone(&rejections), Clock::System)
                        .with_topic_defaults(config.topic_defaults.clone()),
                );
                let opened = config.broker(address)?;
                let log = Log::start(opened, Arc::clone(&enforcement), listener, &stop).await?;
                registry.set_usage(Arc::new(TopicUsage::new(&log.broker, &enforcement)));
                Some(log)
            }
            _ => None,
        };
        router.replace(routes::serving(&registry, rejections, &health, metrics));
        health.ready(registry.clone());
        unfinished.disarm();
        Ok(Self {
            kafka,
            http,
            log,
            registry,
            health,
            stop,
            http_task,
            lock,
        })
    }

    /// Changes the limits that can be changed while the server runs.
    pub fn set_limits(&self, config: &ServeConfig) {
        self.registry.limits().set(config.http_limits.registry());
    }

    /// Whether anything is kept in the data directory: not by a registry alone on PostgreSQL.
    #[must_use]
    pub fn keeps_data(&self) -> bool {
        self.lock.is_some()
    }

    /// Stops accepting, finishes what is in flight, syncs, closes.
    ///
    /// # Errors
    /// When the log cannot be synced or closed.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.health.stopping();
        self.stop.cancel();
        let mut broker = None;
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            if let Some(log) = self.log {
                broker = Some(log.broker);
                let _kafka = log.kafka_task.await;
                let _groups = log.groups_task.await;
                let _transactions = log.transactions_task.await;
            }
            let _http = self.http_task.await;
        })
        .await;
        if drained.is_err() {
            tracing::warn!("requests were still in flight after {DRAIN_MAX:?}: closing");
        }
        let closed = match broker {
            Some(broker) => tokio::task::spawn_blocking(move || broker.close())
                .await
                .map_err(|error| ServeError::Broker(error.to_string()))?,
            None => Ok(()),
        };
        self.registry.close().await;
        drop(self.lock);
        closed.map_err(|error| ServeError::Broker(error.to_string()))
    }
}

impl Log {
    async fn start(
        config: BrokerConfig,
        enforcement: Arc<Enforcement>,
        listener: TcpListener,
        stop: &CancellationToken,
    ) -> Result<Self, ServeError> {
        let broker = tokio::task::spawn_blocking(move || Broker::open(config, enforcement))
            .await
            .map_err(|error| ServeError::Broker(error.to_string()))?
            .map_err(|error| ServeError::Broker(error.to_string()))?;
        let groups_task = tokio::spawn(Arc::clone(&broker.groups).run(stop.clone()));
        let transactions_task = tokio::spawn(Arc::clone(&broker.transactions).run(stop.clone()));
        let kafka_task = tokio::spawn(broker_core::net::serve(
            Arc::clone(&broker),
            listener,
            stop.clone(),
        ));
        Ok(Self {
            broker,
            kafka_task,
            groups_task,
            transactions_task,
        })
    }
}

fn milliseconds(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(u64::MAX))
}

async fn listen(
    what: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::AddrInUse => "the port is taken by another process".to_owned(),
            _ => error.to_string(),
        };
        ServeError::Listen {
            what,
            address,
            reason,
            flag,
        }
    })
}

fn local_address(
    what: &'static str,
    flag: &'static str,
    address: SocketAddr,
    listener: &TcpListener,
) -> Result<SocketAddr, ServeError> {
    listener.local_addr().map_err(|error| ServeError::Listen {
        what,
        address,
        reason: error.to_string(),
        flag,
    })
}

fn create_data_dir(path: &Path) -> Result<(), ServeError> {
    let data_error = |reason: String| ServeError::Data {
        path: path.display().to_string(),
        reason,
    };
    std::fs::create_dir_all(path).map_err(|error| data_error(error.to_string()))?;
    let probe = path.join(".writable");
    std::fs::write(&probe, b"").map_err(|error| data_error(format!("not writable: {error}")))?;
    std::fs::remove_file(&probe).map_err(|error| data_error(error.to_string()))
}

/// Keeps two processes off one data directory. The kernel drops it with the process, however
/// that ends.
#[derive(Debug)]
struct DirectoryLock {
    _file: std::fs::File,
}

impl DirectoryLock {
    fn take(data: &Path) -> Result<Self, ServeError> {
        let data_error = |reason: String| ServeError::Data {
            path: data.display().to_string(),
            reason,
        };
        let file = std::fs::File::create(data.join("assay.lock"))
            .map_err(|error| data_error(error.to_string()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(data_error(
                "another assay process is using it; stop that one or choose another with --data"
                    .to_owned(),
            )),
            Err(std::fs::TryLockError::Error(error)) => Err(data_error(error.to_string())),
        }
    }
}
