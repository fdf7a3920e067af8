//! `assay schema`: the registry from the command line.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use crate::cli::{CommandResult, Outcome, Servers};
use crate::commands::http::{HttpError, RegistryClient, segment};

/// What to do with schemas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register a schema file as a new version of a subject
    Register {
        /// Subject, for example orders-value
        subject: String,
        /// Schema file: .avsc, .json, .proto (or give --type)
        file: PathBuf,
        /// AVRO, JSON or PROTOBUF
        #[arg(long = "type", value_name = "TYPE")]
        schema_type: Option<String>,
        /// A reference as name=subject@version; repeatable
        #[arg(short, long = "reference", value_name = "NAME=SUBJECT@VERSION")]
        references: Vec<String>,
        /// Register the normalised form
        #[arg(long)]
        normalize: bool,
    },
    /// Print a schema: SUBJECT, SUBJECT@VERSION or id:N
    Get {
        /// What
        schema: String,
    },
    /// List subjects
    List,
    /// Is this schema compatible with the subject's versions? Exit code 3 when not
    Check {
        /// Subject
        subject: String,
        /// Schema file
        file: PathBuf,
        /// AVRO, JSON or PROTOBUF
        #[arg(long = "type", value_name = "TYPE")]
        schema_type: Option<String>,
        /// A reference as name=subject@version; repeatable
        #[arg(short, long = "reference", value_name = "NAME=SUBJECT@VERSION")]
        references: Vec<String>,
    },
    /// List the versions of a subject
    Versions {
        /// Subject
        subject: String,
    },
    /// Delete SUBJECT or SUBJECT@VERSION
    Delete {
        /// What
        schema: String,
        /// Delete for good what was deleted before
        #[arg(long)]
        permanent: bool,
    },
}

/// Runs the command against the registry.
///
/// # Errors
/// When a file cannot be read, the registry cannot be reached or refuses.
pub async fn run(servers: &Servers, command: Command) -> CommandResult {
    let registry = RegistryClient::new(&servers.registry)?;
    let mut out = std::io::stdout();
    match command {
        Command::Register {
            subject,
            file,
            schema_type,
            references,
            normalize,
        } => {
            let body = schema_body(&file, schema_type.as_deref(), &references)?;
            let path = format!(
                "/subjects/{}/versions?normalize={normalize}",
                segment(&subject)
            );
            let answer = registry.call(Method::POST, &path, Some(&body)).await?;
            let lookup = format!("/subjects/{}", segment(&subject));
            let version = match answer["version"].as_i64() {
                Some(version) => version,
                None => registry.call(Method::POST, &lookup, Some(&body)).await?["version"]
                    .as_i64()
                    .unwrap_or(0),
            };
            writeln!(out, "{subject} version {version} id {}", answer["id"])?;
        }
        Command::Get { schema } => {
            let path = match schema.strip_prefix("id:") {
                Some(id) => format!("/schemas/ids/{}", segment(id)),
                None => {
                    let (subject, version) = subject_version(&schema);
                    format!(
                        "/subjects/{}/versions/{}",
                        segment(subject),
                        segment(version)
                    )
                }
            };
            let answer = registry.get(&path).await?;
            writeln!(out, "{}", answer["schema"].as_str().unwrap_or_default())?;
        }
        Command::List => print_lines(&mut out, &registry.get("/subjects").await?)?,
        Command::Versions { subject } => {
            let path = format!("/subjects/{}/versions", segment(&subject));
            print_lines(&mut out, &registry.get(&path).await?)?;
        }
        Command::Check {
            subject,
            file,
            schema_type,
            references,
        } => {
            let body = schema_body(&file, schema_type.as_deref(), &references)?;
            let path = format!(
                "/compatibility/subjects/{}/versions?verbose=true",
                segment(&subject)
            );
            let answer = registry.call(Method::POST, &path, Some(&body)).await?;
            if answer["is_compatible"] == json!(true) {
                writeln!(out, "compatible with {subject}")?;
                return Ok(Outcome::Good);
            }
            writeln!(out, "not compatible with {subject}:")?;
            for message in answer["messages"].as_array().into_iter().flatten() {
                writeln!(out, "  {}", message.as_str().unwrap_or_default())?;
            }
            return Ok(Outcome::CheckSaidNo);
        }
        Command::Delete { schema, permanent } => {
            let path = match schema.split_once('@') {
                Some((subject, version)) => format!(
                    "/subjects/{}/versions/{}?permanent={permanent}",
                    segment(subject),
                    segment(version)
                ),
                None => format!("/subjects/{}?permanent={permanent}", segment(&schema)),
            };
            let answer = registry.call(Method::DELETE, &path, None).await?;
            writeln!(out, "deleted {answer}")?;
        }
    }
    Ok(Outcome::Good)
}

/// The latest (or given) version of a subject, or the schema of an id: its registry answer.
///
/// # Errors
/// See [`HttpError`].
pub async fn fetch(registry: &RegistryClient, schema: &str) -> Result<Value, HttpError> {
    match schema.strip_prefix("id:") {
        Some(id) => registry.get(&format!("/schemas/ids/{}", segment(id))).await,
        None => {
            let (subject, version) = subject_version(schema);
            let path = format!(
                "/subjects/{}/versions/{}",
                segment(subject),
                segment(version)
            );
            registry.get(&path).await
        }
    }
}

fn subject_version(schema: &str) -> (&str, &str) {
    schema.split_once('@').unwrap_or((schema, "latest"))
}

fn print_lines(out: &mut impl Write, list: &Value) -> std::io::Result<()> {
    for entry in list.as_array().into_iter().flatten() {
        match entry.as_str() {
            Some(text) => writeln!(out, "{text}")?,
            None => writeln!(out, "{entry}")?,
        }
    }
    Ok(())
}

fn schema_body(
    file: &Path,
    schema_type: Option<&str>,
    references: &[String],
) -> Result<Value, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the schema {}: {error}", file.display()))?;
    let schema_type = match schema_type {
        Some(name) => name.to_ascii_uppercase(),
        None => match file.extension().and_then(|extension| extension.to_str()) {
            Some("avsc") => "AVRO".to_owned(),
            Some("json") => "JSON".to_owned(),
            Some("proto") => "PROTOBUF".to_owned(),
            _ => {
                return Err(format!(
                    "cannot tell the schema type of {}: give --type AVRO, JSON or PROTOBUF",
                    file.display()
                ));
            }
        },
    };
    let references = references
        .iter()
        .map(|reference| reference_body(reference))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "schema": text, "schemaType": schema_type, "references": references }))
}

fn reference_body(reference: &str) -> Result<Value, String> {
    let wrong = || format!("--reference `{reference}` is not NAME=SUBJECT@VERSION");
    let (name, rest) = reference.split_once('=').ok_or_else(wrong)?;
    let (subject, version) = rest.rsplit_once('@').ok_or_else(wrong)?;
    let version: i32 = version.parse().map_err(|_| wrong())?;
    Ok(json!({ "name": name, "subject": subject, "version": version }))
}
