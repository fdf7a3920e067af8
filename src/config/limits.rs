//! What HTTP clients may cost, and who may reach the listeners.

use registry::LimitValues;
use registry::limits::{JSON_DEPTH_MAX, SCHEMA_BYTES_MAX};
use serde::Serialize;

use super::{ConfigError, ServeConfig, ServeOptions};

/// Limits of the HTTP listener. All but the number of connections change on SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HttpLimits {
    /// Connections.
    pub http_connections_max: usize,
    /// Milliseconds for the head of a request, and for an idle connection.
    pub http_header_max_ms: usize,
    /// Milliseconds for a whole body.
    pub http_body_max_ms: usize,
    /// Bytes.
    pub http_body_max_bytes: usize,
    /// Levels.
    pub json_depth_max: usize,
    /// Bytes.
    pub schema_max_bytes: usize,
    /// Requests.
    pub schema_parses_max: usize,
}

impl HttpLimits {
    /// Flags before file before defaults.
    pub(super) fn resolve(flags: &ServeOptions, file: &ServeOptions) -> Self {
        let usual = LimitValues::default();
        let pick =
            |flag: Option<usize>, file: Option<usize>, usual: usize| flag.or(file).unwrap_or(usual);
        Self {
            http_connections_max: pick(
                flags.http_connections_max,
                file.http_connections_max,
                10_000,
            ),
            http_header_max_ms: pick(flags.http_header_max_ms, file.http_header_max_ms, 30_000),
            http_body_max_ms: pick(
                flags.http_body_max_ms,
                file.http_body_max_ms,
                usual.body_ms_max,
            ),
            http_body_max_bytes: pick(
                flags.http_body_max_bytes,
                file.http_body_max_bytes,
                usual.body_bytes_max,
            ),
            json_depth_max: pick(
                flags.json_depth_max,
                file.json_depth_max,
                usual.json_depth_max,
            ),
            schema_max_bytes: pick(
                flags.schema_max_bytes,
                file.schema_max_bytes,
                usual.schema_bytes_max,
            ),
            schema_parses_max: pick(
                flags.schema_parses_max,
                file.schema_parses_max,
                usual.parses_max,
            ),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let least = |option: &'static str, value: usize, least: usize| {
            if value < least {
                let reason = format!("{value} is less than {least}");
                return Err(ConfigError::Value { option, reason });
            }
            Ok(())
        };
        least("--http-connections-max", self.http_connections_max, 1)?;
        least("--http-header-max-ms", self.http_header_max_ms, 100)?;
        least("--http-body-max-ms", self.http_body_max_ms, 100)?;
        least("--http-body-max-bytes", self.http_body_max_bytes, 1024)?;
        least("--json-depth-max", self.json_depth_max, 2)?;
        least("--schema-max-bytes", self.schema_max_bytes, 1024)?;
        least("--schema-parses-max", self.schema_parses_max, 1)?;
        for (option, value, most) in [
            ("--json-depth-max", self.json_depth_max, JSON_DEPTH_MAX),
            (
                "--schema-max-bytes",
                self.schema_max_bytes,
                SCHEMA_BYTES_MAX,
            ),
        ] {
            if value > most {
                let reason = format!("{value} is more than {most}");
                return Err(ConfigError::Value { option, reason });
            }
        }
        Ok(())
    }

    /// The registry's part.
    #[must_use]
    pub const fn registry(&self) -> LimitValues {
        LimitValues {
            body_bytes_max: self.http_body_max_bytes,
            json_depth_max: self.json_depth_max,
            schema_bytes_max: self.schema_max_bytes,
            parses_max: self.schema_parses_max,
            body_ms_max: self.http_body_max_ms,
        }
    }
}

impl ServeConfig {
    /// Nobody authenticates, so a listener that other machines reach must be asked for aloud.
    pub(super) fn check_exposure(&self) -> Result<(), ConfigError> {
        if self.insecure {
            return Ok(());
        }
        for (option, address) in [("--kafka", self.kafka), ("--http", self.http)] {
            let is_served = option == "--http" || !self.registry_only;
            if is_served && !address.ip().is_loopback() {
                return Err(ConfigError::Value {
                    option,
                    reason: format!(
                        "{address} can be reached by other machines, and nothing authenticates \
                         them; listen on 127.0.0.1, or say --insecure"
                    ),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, expected: Result<(), &str>) {
        let file: ServeOptions = toml::from_str(file).unwrap();
        let shown = format!("{file:?}");
        let found = ServeOptions::default().resolve(file).map(drop);
        let found = found.map_err(|error| error.to_string());
        match expected {
            Ok(()) => assert_eq!(found, Ok(()), "{shown}"),
            Err(start) => assert!(found.unwrap_err().starts_with(start), "{shown}"),
        }
    }

    #[test]
    fn only_loopback_is_open_without_saying_so() {
        check("kafka = '127.0.0.1:0'", Ok(()));
        check("kafka = '[::1]:0'", Ok(()));
        check("kafka = '0.0.0.0:0'", Err("--kafka: 0.0.0.0:0"));
        check("http = '0.0.0.0:0'", Err("--http: 0.0.0.0:0"));
        check("http = '192.0.2.1:0'", Err("--http"));
        check("kafka = '0.0.0.0:0'\nregistry-only = true", Ok(()));
        check("http = '[::]:0'\ninsecure = true", Ok(()));
    }

    #[test]
    fn limits_that_would_serve_nobody_are_refused() {
        check("http-connections-max = 0", Err("--http-connections-max"));
        check("http-header-max-ms = 1", Err("--http-header-max-ms"));
        check("http-body-max-ms = 1", Err("--http-body-max-ms"));
        check("json-depth-max = 1", Err("--json-depth-max"));
        check("json-depth-max = 128", Err("--json-depth-max"));
        check("schema-max-bytes = 1", Err("--schema-max-bytes"));
        check("schema-max-bytes = 8388609", Err("--schema-max-bytes"));
        check("schema-parses-max = 0", Err("--schema-parses-max"));
    }
}
