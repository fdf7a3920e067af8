//! Random and mutated requests from the OpenAPI document: no 5xx, and every answer in time.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::Server;

/// Requests of the run in the tests; `ASSAY_SCHEMATHESIS_REQUESTS` asks for more.
const REQUESTS: u64 = 1_000;

/// No 5xx, and answers of the status, media type and shape that the document says.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";

/// An answer that takes longer is a hang.
const ANSWER_SECONDS_MAX: &str = "20";

/// Requests to the registry so far, and those answered 5xx.
fn counted(server: &Server) -> (u64, u64) {
    let metrics = server.get("/metrics").1;
    let mut counts = (0, 0);
    for line in metrics.lines() {
        let Some(labels) = line.strip_prefix("assay_registry_requests_total{") else {
            continue;
        };
        let count: u64 = labels
            .rsplit(' ')
            .next()
            .and_then(|count| count.parse().ok())
            .expect("a count");
        counts.0 += count;
        if labels.contains("code=\"5") {
            counts.1 += count;
        }
    }
    counts
}

#[test]
fn random_and_mutated_requests_meet_no_5xx_and_no_hang() {
    // The phase that tries every boundary alone makes 20,000 requests.
    let (wanted, phases) = match std::env::var("ASSAY_SCHEMATHESIS_REQUESTS") {
        Ok(count) => (
            count.parse().expect("a number"),
            "examples,coverage,fuzzing",
        ),
        Err(_) => (REQUESTS, "examples,fuzzing"),
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients/build/schemathesis/bin/schemathesis");
    assert!(
        program.exists(),
        "schemathesis is not installed: run `cargo xtask setup` first"
    );
    let server = Server::start();
    for subject in ["orders-value", "0", "latest"] {
        let schema = json!({ "schema": r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"# });
        let (status, _) = server.post_json(&format!("/subjects/{subject}/versions"), &schema);
        assert_eq!(status, 200);
    }
    let mut seed = 1;
    let mut examples = 20;
    while counted(&server).0 < wanted {
        let output = Command::new(&program)
            .args(["run", &format!("{}/openapi.json", server.registry())])
            .args(["--checks", CHECKS, "--mode", "all"])
            .args(["--phases", phases])
            .args(["--request-timeout", ANSWER_SECONDS_MAX])
            .args(["--max-examples", &examples.to_string()])
            .args(["--seed", &seed.to_string(), "--generation-database", "none"])
            .args(["--suppress-health-check", "all", "--warnings", "off"])
            .args(["--workers", "1", "--no-color"])
            .current_dir(server.data.path())
            .output()
            .expect("schemathesis runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{told}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        seed += 1;
        examples = 50;
    }
    let (requests, failed) = counted(&server);
    println!("schemathesis: {requests} requests, {failed} answered 5xx");
    assert_eq!(failed, 0);
    assert_eq!(server.get("/livez").0, 200);
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}
