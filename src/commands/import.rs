//! `assay import`: schemas from another registry, its topic, or an export.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use registry::transfer::Facts;

use crate::cli::{CommandResult, Outcome, Servers};
use crate::commands::access::{Access, AccessError};
use crate::commands::http::RegistryClient;
use crate::transfer::{self, api_source, topic_source, tree};

/// What to import.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import schemas with their ids, versions, deletions, settings, modes, contexts and GUIDs
    Schemas(Schemas),
}

/// Where schemas come from.
#[derive(Debug, Args)]
pub struct Schemas {
    /// A registry with Confluent's API (http://… or https://…), or a folder that `assay export schemas`
    /// wrote
    #[arg(long, value_name = "URL|DIR", required_unless_present = "from_topic")]
    from: Option<String>,
    /// A topic of Confluent's registry, on the broker that --bootstrap names
    #[arg(
        long,
        value_name = "TOPIC",
        num_args = 0..=1,
        default_missing_value = "_schemas",
        conflicts_with = "from"
    )]
    from_topic: Option<String>,
    #[command(flatten)]
    access: Access,
    /// Read both sides again afterwards and compare; exit code 3 when anything differs
    #[arg(long)]
    verify: bool,
}

/// Runs the command.
///
/// # Errors
/// When a side cannot be read, or what is imported contradicts what is there.
pub async fn run(servers: &Servers, command: Command) -> CommandResult {
    let Command::Schemas(arguments) = command;
    let registry = Arc::new(RegistryClient::new(&servers.registry)?);
    let source = Source::of(servers, &arguments)?;
    let mut out = std::io::stdout();

    let wanted = source.read(&mut out).await?;
    let mut facts = wanted.clone();
    if let Source::Api(_) = source {
        // Some places answer settings whether or not any are stored: what the registry here answers
        // there too needs no storing.
        let here = api_source::read_always_answered(&registry).await?;
        for scope in api_source::ALWAYS_ANSWERED {
            facts.forget_settings_equal_to(&here, scope);
        }
    }
    let imported = transfer::import(&registry, &facts).await?;
    writeln!(
        out,
        "imported {} versions: {} facts written, {} there already",
        facts.versions_count(),
        imported.written,
        imported.present
    )?;
    if !arguments.verify {
        return Ok(Outcome::Good);
    }
    let wanted = source.read(&mut std::io::sink()).await?;
    let here = match source {
        Source::Api(_) => api_source::read(&registry).await?,
        Source::Topic { .. } | Source::Tree(_) => transfer::export(&registry).await?,
    };
    verify(&mut out, &wanted, &here)
}

fn verify(out: &mut impl Write, wanted: &Facts, here: &Facts) -> CommandResult {
    let missing = wanted.missing_in(here);
    for line in &missing {
        writeln!(out, "differs: {line}")?;
    }
    let more = here.unknown_to(wanted);
    if !more.is_empty() {
        writeln!(
            out,
            "here only: {} facts, for example {}",
            more.len(),
            more[0]
        )?;
    }
    if missing.is_empty() {
        writeln!(out, "verified: {} facts are equal", wanted.len())?;
        return Ok(Outcome::Good);
    }
    writeln!(
        out,
        "not verified: {} of {} facts differ",
        missing.len(),
        wanted.len()
    )?;
    Ok(Outcome::CheckSaidNo)
}

enum Source<'a> {
    Api(Arc<RegistryClient>),
    Topic { bootstrap: &'a str, topic: &'a str },
    Tree(&'a Path),
}

impl<'a> Source<'a> {
    fn of(servers: &'a Servers, arguments: &'a Schemas) -> Result<Self, AccessError> {
        if let Some(topic) = &arguments.from_topic {
            return Ok(Self::Topic {
                bootstrap: &servers.bootstrap,
                topic,
            });
        }
        let from = arguments.from.as_deref().unwrap_or_default();
        if from.contains("://") {
            let client = RegistryClient::with(from, &arguments.access)?;
            Ok(Self::Api(Arc::new(client)))
        } else {
            Ok(Self::Tree(Path::new(from)))
        }
    }

    async fn read(
        &self,
        out: &mut impl Write,
    ) -> Result<Facts, Box<dyn std::error::Error + Send + Sync>> {
        Ok(match self {
            Self::Api(registry) => api_source::read(registry).await?,
            Self::Tree(folder) => tree::read(folder)?,
            Self::Topic { bootstrap, topic } => {
                let read = topic_source::read(bootstrap, topic).await?;
                writeln!(
                    out,
                    "read {} records of {topic}, {} passed over",
                    read.records, read.passed_over
                )?;
                read.facts
            }
        })
    }
}
