//! `assay topic`: topics from the command line.

use std::io::Write;

use clap::Subcommand;

use crate::cli::{CommandResult, Outcome, Servers};
use crate::client::{ConfigChange, KafkaClient};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List topics with their partitions
    List,
    /// Create a topic
    Create {
        /// Its name
        topic: String,
        /// Partitions; the broker's default when absent
        #[arg(short, long, default_value_t = -1, hide_default_value = true)]
        partitions: i32,
        /// A config as name=value; repeatable
        #[arg(short, long = "config", value_name = "NAME=VALUE")]
        configs: Vec<String>,
    },
    /// Show partitions, offsets and the configs that are set
    Describe {
        /// Its name
        topic: String,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        topic: String,
    },
    /// Show the configs of a topic, or set them: name=value, or name= for the default
    Config {
        /// Its name
        topic: String,
        /// Changes
        #[arg(value_name = "NAME=VALUE")]
        changes: Vec<String>,
    },
}

/// Where a dynamic topic config comes from, in DescribeConfigs.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;

/// Runs the command against the broker.
///
/// # Errors
/// When the broker cannot be reached or refuses.
pub async fn run(servers: &Servers, command: Command) -> CommandResult {
    let mut broker = KafkaClient::connect(&servers.bootstrap).await?;
    let mut out = std::io::stdout();
    match command {
        Command::List => {
            let mut topics = broker.metadata(None).await?;
            topics.retain(|topic| !topic.is_internal);
            topics.sort_by(|a, b| a.name.as_deref().cmp(&b.name.as_deref()));
            for topic in topics {
                let name = topic.name.as_deref().unwrap_or_default();
                writeln!(out, "{name}\t{} partitions", topic.partitions.len())?;
            }
        }
        Command::Create {
            topic,
            partitions,
            configs,
        } => {
            broker
                .create_topic(&topic, partitions, &parse_changes(&configs)?)
                .await?;
            writeln!(out, "created {topic}")?;
        }
        Command::Describe { topic } => {
            for partition in broker.partitions(&topic).await? {
                let earliest = broker.offset(&topic, partition, -2).await?;
                let latest = broker.offset(&topic, partition, -1).await?;
                writeln!(out, "partition {partition}\toffsets {earliest} to {latest}")?;
            }
            for config in broker.topic_configs(&topic).await? {
                if config.config_source == DYNAMIC_TOPIC_CONFIG {
                    let value = config.value.as_deref().unwrap_or_default();
                    writeln!(out, "config {}={value}", config.name)?;
                }
            }
        }
        Command::Delete { topic } => {
            broker.delete_topic(&topic).await?;
            writeln!(out, "deleted {topic}")?;
        }
        Command::Config { topic, changes } if changes.is_empty() => {
            for config in broker.topic_configs(&topic).await? {
                let value = config.value.as_deref().unwrap_or_default();
                let set = if config.config_source == DYNAMIC_TOPIC_CONFIG {
                    "\tset"
                } else {
                    ""
                };
                writeln!(out, "{}={value}{set}", config.name)?;
            }
        }
        Command::Config { topic, changes } => {
            broker
                .alter_topic_configs(&topic, &parse_changes(&changes)?)
                .await?;
            writeln!(out, "changed {topic}")?;
        }
    }
    Ok(Outcome::Good)
}

fn parse_changes(changes: &[String]) -> Result<Vec<ConfigChange>, String> {
    changes
        .iter()
        .map(|change| {
            let (name, value) = change
                .split_once('=')
                .ok_or_else(|| format!("`{change}` is not NAME=VALUE"))?;
            Ok(ConfigChange {
                name: name.to_owned(),
                value: (!value.is_empty()).then(|| value.to_owned()),
            })
        })
        .collect()
}
