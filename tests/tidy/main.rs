//! The architecture, held by tests: who may depend on whom, and what ARCHITECTURE.md promises.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Own crates, and crates with one owner: who may name them in a manifest.
const ALLOWED: &[(&str, &[&str])] = &[
    ("broker-core", &["assay"]),
    ("registry", &["assay"]),
    ("serde-formats", &["assay", "registry"]),
    ("sqlx", &["registry"]),
    ("kafka-wire", &["broker-core"]),
    ("kafka-wire-core", &["broker-core"]),
    ("kafka-protocol", &["broker-core"]),
    ("axum", &["assay", "registry"]),
    ("apache-avro", &["serde-formats"]),
    ("jsonschema", &["serde-formats"]),
    ("regex", &["broker-core"]),
    ("prost-reflect", &["serde-formats"]),
    ("protox", &["serde-formats"]),
    ("tokio", &["assay", "broker-core", "registry"]),
    ("clap", &["assay"]),
    ("hyper-rustls", &["assay"]),
    ("rustls", &["assay"]),
];

const PACKAGES: &[(&str, &str)] = &[
    ("assay", "."),
    ("broker-core", "broker-core"),
    ("registry", "registry"),
    ("serde-formats", "serde-formats"),
    ("xtask", "xtask"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of the crates that a manifest depends on, dev-dependencies included.
fn dependencies(folder: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for (package, folder) in PACKAGES {
        for dependency in dependencies(folder) {
            if let Some(owners) = allowed.get(dependency.as_str()) {
                assert!(
                    owners.contains(package),
                    "{package} must not depend on {dependency}; only {owners:?} may"
                );
            }
        }
    }
}

#[test]
fn every_member_of_the_workspace_has_a_rule() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    let members = manifest["workspace"]["members"]
        .as_array()
        .expect("members");
    for member in members {
        let member = member.as_str().expect("a path");
        assert!(
            PACKAGES.iter().any(|(_, folder)| *folder == member),
            "{member} has no rule in tests/tidy"
        );
    }
}

#[test]
fn modules_that_must_be_pure_name_no_io_and_no_clock() {
    let pure = [
        "serde-formats/src",
        "broker-core/src/protocol",
        "broker-core/src/records",
        "broker-core/src/ids.rs",
        "broker-core/src/error.rs",
        "broker-core/src/groups/classic",
        "broker-core/src/groups/consumer",
        "broker-core/src/groups/group.rs",
        "broker-core/src/quotas",
        "broker-core/src/api/fetch/session.rs",
        "broker-core/src/client_metrics/instances.rs",
        "broker-core/src/client_metrics/otlp.rs",
        "broker-core/src/log/producer_state.rs",
        "registry/src/model.rs",
    ];
    let forbidden = [
        "tokio::",
        "std::fs",
        "std::net",
        "Instant::now",
        "SystemTime::now",
    ];
    for path in pure {
        for file in rust_files(&root().join(path)) {
            let text = fs::read_to_string(&file).expect("a source file");
            // Tests may read recorded cases.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let name = file.to_string_lossy();
            if name.contains("test") || name.contains("conformance") {
                continue;
            }
            for (number, line) in code.lines().enumerate() {
                let is_comment = line.trim_start().starts_with("//");
                for word in forbidden {
                    assert!(
                        is_comment || !line.contains(word),
                        "{}:{}: a pure module names {word}",
                        file.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

#[test]
fn architecture_names_every_module() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for folder in [
        "src",
        "broker-core/src",
        "registry/src",
        "serde-formats/src",
    ] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a UTF-8 name");
            if name == "lib" || name == "main" || name == "tests" {
                continue;
            }
            assert!(
                architecture.contains(&format!("`{name}`"))
                    || architecture.contains(&format!("`{name}/`"))
                    || architecture.contains(&format!("`{name}.rs`")),
                "ARCHITECTURE.md does not name {folder}/{name}"
            );
        }
    }
}

/// `UPDATE_DOCS=1 cargo test --test tidy` writes the table anew.
#[test]
fn api_table_in_docs_is_the_codes() {
    use std::fmt::Write as _;
    let mut table = String::new();
    for api in broker_core::protocol::APIS {
        writeln!(
            table,
            "| {} | {} | {} to {} |",
            api.key, api.name, api.advertised_min, api.max
        )
        .expect("a string takes everything");
    }
    let path = root().join("docs/compatibility.md");
    let text = fs::read_to_string(&path).expect("docs/compatibility.md");
    let (before, rest) = text
        .split_once("<!-- apis -->\n")
        .expect("the opening mark");
    let (shown, after) = rest.split_once("<!-- /apis -->").expect("the closing mark");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}<!-- apis -->\n{table}<!-- /apis -->{after}");
        fs::write(&path, text).expect("docs/compatibility.md is written");
    } else {
        assert_eq!(shown, table, "run UPDATE_DOCS=1 cargo test --test tidy");
    }
}

#[test]
fn nothing_committed_names_a_machine_path() {
    let marks = [
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["/ho", "me/"].concat(),
    ];
    for folder in [
        "src",
        "broker-core",
        "registry",
        "serde-formats",
        "docs",
        "tests",
        "xtask",
        "demo",
    ] {
        for file in files(&root().join(folder)) {
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            for mark in &marks {
                assert!(
                    !text.contains(mark.as_str()),
                    "{} names {mark}",
                    file.display()
                );
            }
        }
    }
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    files(path)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let skipped = ["target", "node_modules", ".venv", "build", "__pycache__"];
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten() {
        let entry = entry.expect("an entry").path();
        let name = entry
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if !skipped.contains(&name) {
            found.extend(files(&entry));
        }
    }
    found
}
