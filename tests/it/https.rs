//! A registry behind TLS and authentication: what `assay import schemas --from https://…` gets through.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Ran, Server, run};

/// The authority that signed the guard's certificate.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");

/// In front of a server: TLS, and nobody passes without the one `Authorization`.
struct Guard {
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Guard {
    fn before(server: &Server, authorization: &'static str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))
            .expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let acceptor = TlsAcceptor::from(Arc::new(certified()));
        let upstream = server.registry();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A client that does not believe the certificate ends here.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| pass(request, &upstream, authorization));
                    let _gone = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            port,
            _runtime: runtime,
        }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

fn certified() -> ServerConfig {
    let read = |name: &str| {
        let path = format!("{}/tests/it/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).expect("a file of this folder")
    };
    let certificate = CertificateDer::from_pem_slice(&read("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&read("server.key")).expect("a key");
    ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key is the certificate's")
}

async fn pass(
    request: Request<Incoming>,
    upstream: &str,
    authorization: &str,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let sent = request.headers().get(AUTHORIZATION);
    if sent.is_none_or(|sent| sent != authorization) {
        let body = json!({ "error_code": 40101, "message": "Unauthorized" }).to_string();
        return Ok(Response::builder().status(401).body(body.into())?);
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let forwarded = Request::builder()
        .method(request.method())
        .uri(format!("{upstream}{path}"))
        .body(Full::new(Bytes::new()))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(forwarded).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(Response::builder().status(status).body(body.into())?)
}

fn furnish(server: &Server) {
    for (subject, schema) in [("a", "\"int\""), ("b", "\"string\"")] {
        let path = format!("/subjects/{subject}/versions");
        let (status, answer) = server.post_json(&path, &json!({ "schema": schema }));
        assert_eq!(status, 200, "{answer}");
    }
}

/// Nothing that the command says holds a secret.
#[track_caller]
fn says_no_secret(ran: &Ran) {
    for secret in ["s3cret", "t0ken", "dXNlcjpzM2NyZXQ="] {
        assert!(!ran.stdout.contains(secret), "{}", ran.stdout);
        assert!(!ran.stderr.contains(secret), "{}", ran.stderr);
    }
}

#[test]
fn schemas_come_over_https_with_a_password_or_a_token() {
    let source = Server::start();
    furnish(&source);
    let by_password = Guard::before(&source, "Basic dXNlcjpzM2NyZXQ=");
    let by_token = Guard::before(&source, "Bearer t0ken");
    let with_user = by_password.url().replace("://", "://user:s3cret@");
    let (password_url, token_url) = (by_password.url(), by_token.url());
    for (url, flags, variables) in [
        (&password_url, vec!["--from-user", "user:s3cret"], vec![]),
        (
            &password_url,
            vec![],
            vec![("ASSAY_FROM_USER", "user:s3cret")],
        ),
        (&with_user, vec![], vec![]),
        (&token_url, vec!["--from-token", "t0ken"], vec![]),
        (&token_url, vec![], vec![("ASSAY_FROM_TOKEN", "t0ken")]),
    ] {
        let target = Server::start();
        let ran = run(
            Command::new(env!("CARGO_BIN_EXE_assay"))
                .args(["import", "schemas", "--from", url, "--verify"])
                .args(["--from-ca", AUTHORITY])
                .args(&flags)
                .envs(variables)
                .env("SCHEMA_REGISTRY_URL", target.registry()),
            "",
        );
        says_no_secret(&ran);
        assert!(ran.good().contains("verified: "));
        let facts = |server: &Server| server.get_json("/v1/export")["facts"].take();
        assert_eq!(facts(&target), facts(&source));
    }
}

#[test]
fn who_is_not_believed_is_named_and_no_secret_is() {
    let source = Server::start();
    let guard = Guard::before(&source, "Basic dXNlcjpzM2NyZXQ=");
    let url = guard.url();
    let with_user = url.replace("://", "://user:s3cret@");
    let missing = format!("{AUTHORITY}.none");
    for (arguments, wanted) in [
        (
            vec![
                "--from",
                &url,
                "--from-ca",
                AUTHORITY,
                "--from-user",
                "x:s3cret",
            ],
            "Unauthorized (error 40101)",
        ),
        (
            vec!["--from", &url, "--from-ca", AUTHORITY],
            "Unauthorized (error 40101)",
        ),
        (
            vec!["--from", &with_user],
            "invalid peer certificate: UnknownIssuer (name its authority with --from-ca)",
        ),
        (
            vec!["--from", &with_user, "--from-ca", &missing],
            "ca.pem.none: ",
        ),
        (
            vec!["--from", &url, "--from-user", "s3cret"],
            "say USER:PASSWORD",
        ),
    ] {
        let mut all = vec!["import", "schemas"];
        all.extend(arguments);
        let ran = source.assay(&all, "");
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
        says_no_secret(&ran);
    }
}
