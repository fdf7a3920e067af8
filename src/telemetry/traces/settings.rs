//! OpenTelemetry's standard environment variables, as far as they speak of traces.
//!
//! Source: the specification's "Environment Variable Specification" and "OTLP Exporter Configuration".
//! An empty value counts as unset.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::context::Sampler;

/// Where traces go and how.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// Full URL of the collector's traces.
    pub endpoint: Uri,
    /// Sent with every request; the values may be secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For one request.
    pub timeout: Duration,
    /// PEM file of authorities instead of Mozilla's.
    pub authorities: Option<PathBuf>,
    /// Of this process: `service.name` first.
    pub attributes: Vec<(String, String)>,
    /// Which traces are kept.
    pub sampler: Sampler,
    /// Spans that wait; more are dropped.
    pub queue_max: usize,
    /// Spans in one request.
    pub batch_max: usize,
    /// How long a span waits for others.
    pub delay: Duration,
}

/// Most spans that may be asked to wait.
const QUEUE_MAX: usize = 1 << 20;

impl TraceSettings {
    /// What the environment asks for; nothing where it asks for no traces.
    ///
    /// # Errors
    /// What it asks for and cannot have, by the variable's name.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let environment = Environment { lookup: &lookup };
        let is_disabled = environment.get("OTEL_SDK_DISABLED");
        if is_disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT");
        let exact = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        match environment.get("OTEL_TRACES_EXPORTER").as_deref() {
            Some("none") => return Ok(None),
            Some("otlp") => {}
            None if base.is_some() || exact.is_some() => {}
            None => return Ok(None),
            Some(other) => {
                return Err(format!(
                    "OTEL_TRACES_EXPORTER={other} is not known; say otlp or none"
                ));
            }
        }
        match environment.otlp("PROTOCOL").as_deref() {
            None | Some("http/protobuf") => {}
            Some(other) => {
                return Err(format!(
                    "OTEL_EXPORTER_OTLP_PROTOCOL={other} is not spoken; say http/protobuf (collectors \
                     listen for it on port 4318)"
                ));
            }
        }
        let endpoint = exact.unwrap_or_else(|| {
            let base = base.unwrap_or_else(|| "http://localhost:4318".to_owned());
            format!("{}/v1/traces", base.trim_end_matches('/'))
        });
        let batch_max = environment.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)?;
        let queue_max = environment.number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048)?;
        Ok(Some(Self {
            endpoint: url(&endpoint)?,
            headers: environment.headers()?,
            timeout: milliseconds(match environment.otlp("TIMEOUT") {
                None => 10_000,
                Some(text) => number("OTEL_EXPORTER_OTLP_TIMEOUT", &text)?,
            }),
            authorities: environment.otlp("CERTIFICATE").map(PathBuf::from),
            attributes: environment.attributes()?,
            sampler: environment.sampler()?,
            queue_max: queue_max.clamp(1, QUEUE_MAX),
            batch_max: batch_max.clamp(1, QUEUE_MAX),
            delay: milliseconds(environment.number("OTEL_BSP_SCHEDULE_DELAY", 5_000)?),
        }))
    }
}

struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// A setting of the exporter: that of traces before that of all signals.
    fn otlp(&self, name: &str) -> Option<String> {
        self.get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
            .or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, String> {
        self.get(name)
            .map_or(Ok(default), |text| number(name, &text))
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let text = self.otlp("HEADERS").unwrap_or_default();
        pairs("OTEL_EXPORTER_OTLP_HEADERS", &text)?
            .into_iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok();
                let value = HeaderValue::from_str(&value).ok();
                let (Some(name), Some(mut value)) = (name, value) else {
                    return Err(
                        "OTEL_EXPORTER_OTLP_HEADERS holds what cannot be a header".to_owned()
                    );
                };
                value.set_sensitive(true);
                Ok((name, value))
            })
            .collect()
    }

    fn attributes(&self) -> Result<Vec<(String, String)>, String> {
        const NAME: &str = "service.name";
        let text = self.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let mut named = pairs("OTEL_RESOURCE_ATTRIBUTES", &text)?;
        let in_attributes = named.iter().find(|(name, _)| name == NAME).cloned();
        let service = self
            .get("OTEL_SERVICE_NAME")
            .or_else(|| in_attributes.map(|(_, name)| name))
            .unwrap_or_else(|| "assay".to_owned());
        named.retain(|(name, _)| name != NAME);
        let mut attributes = vec![(NAME.to_owned(), service)];
        if !named.iter().any(|(name, _)| name == "service.version") {
            let version = env!("CARGO_PKG_VERSION").to_owned();
            attributes.push(("service.version".to_owned(), version));
        }
        attributes.extend(named);
        Ok(attributes)
    }

    fn sampler(&self) -> Result<Sampler, String> {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        let name = self.get(NAME);
        let name = name.as_deref().unwrap_or("parentbased_always_on");
        let (follows_parent, own) = match name.strip_prefix("parentbased_") {
            Some(own) => (true, own),
            None => (false, name),
        };
        let ratio = match own {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => {
                const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
                let text = self.get(ARGUMENT).unwrap_or_else(|| "1".to_owned());
                let ratio = text
                    .parse()
                    .ok()
                    .filter(|ratio| (0.0..=1.0).contains(ratio));
                ratio.ok_or_else(|| format!("{ARGUMENT}={text} is not between 0 and 1"))?
            }
            _ => return Err(format!("{NAME}={name} is not known")),
        };
        Ok(Sampler {
            follows_parent,
            ratio,
        })
    }
}

fn url(text: &str) -> Result<Uri, String> {
    let url: Option<Uri> = text.parse().ok();
    let url = url.filter(|url| {
        url.authority().is_some() && matches!(url.scheme_str(), Some("http" | "https"))
    });
    // Not shown: it may hold a password.
    url.ok_or_else(|| "OTEL_EXPORTER_OTLP_ENDPOINT is not an http:// or https:// URL".to_owned())
}

/// `a=1,b=2`; values are percent-encoded.
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("{name} is not a list of NAME=VALUE"))?;
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            Ok((key.trim().to_owned(), value.into_owned()))
        })
        .collect()
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("{name}={text} is not a number"))
}

fn milliseconds(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, String> {
        TraceSettings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");

    #[test]
    fn traces_are_off_until_they_are_asked_for() {
        for (variables, endpoint) in [
            (&[][..], None),
            (&[("OTEL_SERVICE_NAME", "x")], None),
            (&[COLLECTOR], Some("http://c:4318/v1/traces")),
            (&[COLLECTOR, ("OTEL_SDK_DISABLED", "True")], None),
            (&[COLLECTOR, ("OTEL_TRACES_EXPORTER", "none")], None),
            (
                &[("OTEL_TRACES_EXPORTER", "otlp")],
                Some("http://localhost:4318/v1/traces"),
            ),
            (
                &[
                    COLLECTOR,
                    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t/x"),
                ],
                Some("https://t/x"),
            ),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], None),
        ] {
            let settings = read(variables).unwrap();
            let found = settings.map(|settings| settings.endpoint.to_string());
            assert_eq!(found.as_deref(), endpoint, "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_name() {
        for (name, value, wanted) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            (
                "OTEL_TRACES_EXPORTER",
                "zipkin",
                "OTEL_TRACES_EXPORTER=zipkin",
            ),
            ("OTEL_TRACES_SAMPLER", "x", "OTEL_TRACES_SAMPLER=x"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OTEL_BSP_MAX_QUEUE_SIZE"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "u:pw@c",
                "not an http",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "alone", "NAME=VALUE"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c", "cannot be a header"),
        ] {
            let error = read(&[COLLECTOR, (name, value)]).unwrap_err();
            assert!(error.contains(wanted), "{error}");
            assert!(!error.contains("pw"), "{error}");
        }
        let ratio = [
            COLLECTOR,
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ];
        assert!(read(&ratio).unwrap_err().contains("between 0 and 1"));
    }

    #[test]
    fn everything_else_is_read() {
        let settings = read(&[
            COLLECTOR,
            ("OTEL_SERVICE_NAME", "orders"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,team=a%20b"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3%3D, x=y"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ])
        .unwrap()
        .unwrap();
        let attributes: Vec<_> = settings
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(attributes[0], ("service.name", "orders"));
        assert_eq!(attributes[2], ("team", "a b"));
        assert_eq!(attributes.len(), 3);
        assert_eq!(settings.headers[0].1, "s3=");
        assert!(!format!("{settings:?}").contains("s3="), "{settings:?}");
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!(settings.authorities, Some(PathBuf::from("ca.pem")));
        assert!(settings.sampler.follows_parent);
        assert!((settings.sampler.ratio - 0.25).abs() < f64::EPSILON);
        assert_eq!((settings.queue_max, settings.batch_max), (2_048, 512));
        assert_eq!(settings.delay, Duration::from_millis(10));
    }
}
