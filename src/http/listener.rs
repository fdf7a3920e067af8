//! The HTTP listener: takes connections up to a limit, cuts off the slow, ends gracefully.
//!
//! The router behind it may be replaced while it runs: before the data is open it answers only
//! that the server is starting.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A router that can be replaced; clones share it.
#[derive(Debug, Clone)]
pub struct CurrentRouter {
    router: Arc<ArcSwap<Router>>,
}

impl CurrentRouter {
    /// Begins with `router`.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self {
            router: Arc::new(ArcSwap::from_pointee(router)),
        }
    }

    /// Requests that come from now on go to `router`.
    pub fn replace(&self, router: Router) {
        self.router.store(Arc::new(router));
    }
}

impl Service<Request<Incoming>> for CurrentRouter {
    type Response = Response<axum::body::Body>;
    type Error = Infallible;
    type Future = TowerToHyperServiceFuture<Router, Request<Incoming>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        TowerToHyperService::new(Router::clone(&self.router.load())).call(request)
    }
}

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Served at once.
    pub connections_max: usize,
    /// For the head of a request, and for silence between requests.
    pub header_max: Duration,
}

/// Requests of one HTTP/2 connection that run at once.
const STREAMS_MAX: u32 = 128;

/// Serves until `stop`, then lets what is in flight finish.
pub async fn serve(
    listener: TcpListener,
    router: CurrentRouter,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(limits.header_max)
        .keep_alive_timeout(limits.header_max);
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let open = metrics::gauge!("assay_http_connections");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                accept_failed(&error, &stop).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics::counter!("assay_http_connections_refused_total").increment(1);
            tokio::spawn(refuse(stream));
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "an http connection ended at once");
            continue;
        }
        let watcher = graceful.watcher();
        let (builder, router, open) = (Arc::clone(&builder), router.clone(), open.clone());
        tokio::spawn(async move {
            open.increment(1.0);
            let connection = builder.serve_connection(TokioIo::new(stream), router);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "an http connection ended");
            }
            open.decrement(1.0);
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Out of file descriptors, or memory: waiting is all that helps.
async fn accept_failed(error: &std::io::Error, stop: &CancellationToken) {
    tracing::warn!(%error, "an http connection was not accepted");
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
        () = stop.cancelled() => {}
    }
}

/// Says why, without looking at what was asked.
async fn refuse(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
        Content-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n\
        Content-Length: 60\r\n\r\n\
        {\"error_code\":503,\"message\":\"too many connections are open\"}";
    let told = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        // Closing on unread bytes would reset the connection and take the answer with it.
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    if !matches!(tokio::time::timeout(REFUSAL_MAX, told).await, Ok(Ok(()))) {
        tracing::debug!("a refused http connection did not take its answer");
    }
}

/// Longer than this nobody is told why.
const REFUSAL_MAX: Duration = Duration::from_secs(1);
