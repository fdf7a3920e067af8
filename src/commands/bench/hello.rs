//! The yardstick of reads: the least that an axum server does to answer the same bytes.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use clap::Args;
use tokio::net::TcpListener;

use super::Failure;

/// What to answer.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to listen
    #[arg(long)]
    pub listen: SocketAddr,
    /// File with the body of every answer
    #[arg(long)]
    pub body: PathBuf,
}

/// Serves until the process is ended.
pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let body = Bytes::from(tokio::fs::read(&arguments.body).await?);
    let answer = move || {
        let body = body.clone();
        async move {
            let media_type = "application/vnd.schemaregistry.v1+json";
            ([(CONTENT_TYPE, media_type)], body)
        }
    };
    let router = Router::new()
        .route("/schemas/ids/{id}", get(answer))
        .route("/subjects", get(|| async { "[]" }));
    let listener = TcpListener::bind(arguments.listen).await?;
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended at once");
        }
    });
    Ok(axum::serve(listener, router).await?)
}
