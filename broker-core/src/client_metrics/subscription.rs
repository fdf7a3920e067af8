//! What is asked of which clients: a client metrics resource of Kafka (KIP-714), compiled. Pure.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

/// Prefixes of the metrics asked for, separated by commas; `*` is all.
pub(crate) const METRICS: &str = "metrics";
/// How often they are asked for, in ms.
pub(crate) const INTERVAL_MS: &str = "interval.ms";
/// Which clients are asked: `selector=regular expression`, separated by commas.
pub(crate) const MATCH: &str = "match";

/// How often when nothing is said, in ms.
pub(crate) const INTERVAL_DEFAULT_MS: i32 = 300_000;

/// Legal intervals, in ms.
const INTERVALS_MS: std::ops::RangeInclusive<i32> = 100..=3_600_000;

/// Memory that one compiled expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// All metrics.
pub(crate) const ALL: &str = "*";

/// What a subscription may know of a client.
#[derive(Debug, Clone, Copy)]
pub struct ClientIdentity<'a> {
    /// `client.id`.
    pub client_id: &'a str,
    /// Software and version as `name/version`; empty when not sent.
    pub software: &'a str,
    /// The peer.
    pub address: std::net::SocketAddr,
}

impl ClientIdentity<'_> {
    fn fits(&self, instance_id: uuid::Uuid, (selector, wanted): &(Selector, Regex)) -> bool {
        let (name, version) = self.software.split_once('/').unwrap_or_default();
        match selector {
            Selector::InstanceId => wanted.is_match(&instance_id.to_string()),
            Selector::Id => wanted.is_match(self.client_id),
            Selector::SoftwareName => wanted.is_match(name),
            Selector::SoftwareVersion => wanted.is_match(version),
            Selector::SourceAddress => wanted.is_match(&self.address.ip().to_string()),
            Selector::SourcePort => wanted.is_match(&self.address.port().to_string()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selector {
    InstanceId,
    Id,
    SoftwareName,
    SoftwareVersion,
    SourceAddress,
    SourcePort,
}

/// Kafka's names of them.
const SELECTORS: &[(&str, Selector)] = &[
    ("client_instance_id", Selector::InstanceId),
    ("client_id", Selector::Id),
    ("client_software_name", Selector::SoftwareName),
    ("client_software_version", Selector::SoftwareVersion),
    ("client_source_address", Selector::SourceAddress),
    ("client_source_port", Selector::SourcePort),
];

/// One subscription.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    metrics: Vec<String>,
    interval_ms: i32,
    /// All must fit.
    matches: Vec<(Selector, Regex)>,
}

impl Subscription {
    /// What the configs say.
    ///
    /// # Errors
    /// A text naming the config that makes no sense.
    pub(crate) fn parse(configs: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut subscription = Self {
            metrics: Vec::new(),
            interval_ms: INTERVAL_DEFAULT_MS,
            matches: Vec::new(),
        };
        for (name, value) in configs {
            let items = || {
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
            };
            match name.as_str() {
                METRICS => subscription.metrics = items().map(ToOwned::to_owned).collect(),
                INTERVAL_MS => {
                    let interval_ms = value.trim().parse().ok();
                    subscription.interval_ms = interval_ms
                        .filter(|interval_ms| INTERVALS_MS.contains(interval_ms))
                        .ok_or_else(|| {
                            format!("{name} {value:?} is no integer from 100 to 3600000")
                        })?;
                }
                MATCH => {
                    let matches: Result<_, _> = items().map(parse_match).collect();
                    subscription.matches = matches?;
                }
                other => return Err(format!("unknown client metrics config name: {other}")),
            }
        }
        Ok(subscription)
    }
}

fn parse_match(item: &str) -> Result<(Selector, Regex), String> {
    let (name, pattern) = item
        .split_once('=')
        .ok_or_else(|| format!("match {item:?} is not selector=expression"))?;
    let found = SELECTORS.iter().find(|(known, _)| *known == name.trim());
    let (_, selector) = found.ok_or_else(|| format!("match selector {name:?} is unknown"))?;
    // The whole of it must fit, as with Java's matches().
    let whole = format!("^(?:{})$", pattern.trim());
    let compiled = RegexBuilder::new(&whole)
        .size_limit(REGEX_BYTES_MAX)
        .build();
    let regex = compiled.map_err(|error| format!("match expression {pattern:?}: {error}"))?;
    Ok((*selector, regex))
}

/// What a client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Prefixes, sorted; none when nothing is.
    pub(crate) metrics: Vec<String>,
    pub(crate) interval_ms: i32,
}

impl Wanted {
    /// All that the subscriptions that fit a client ask of it.
    pub(crate) fn of<'a>(
        subscriptions: impl IntoIterator<Item = &'a Subscription>,
        instance_id: uuid::Uuid,
        client: ClientIdentity<'_>,
    ) -> Self {
        let mut wanted = Self {
            metrics: Vec::new(),
            interval_ms: INTERVAL_DEFAULT_MS,
        };
        for subscription in subscriptions {
            let mut matches = subscription.matches.iter();
            if matches.all(|one| client.fits(instance_id, one)) {
                wanted.metrics.extend(subscription.metrics.iter().cloned());
                wanted.interval_ms = wanted.interval_ms.min(subscription.interval_ms);
            }
        }
        if wanted.metrics.iter().any(|metric| metric == ALL) {
            wanted.metrics = vec![ALL.to_owned()];
        }
        wanted.metrics.sort_unstable();
        wanted.metrics.dedup();
        wanted
    }

    /// Whether a metric was asked for.
    pub(crate) fn includes(&self, name: &str) -> bool {
        let prefixes = &mut self.metrics.iter();
        prefixes.any(|prefix| prefix == ALL || name.starts_with(prefix.as_str()))
    }

    /// The same for the same wishes, another for others, as far as 32 bits go.
    pub(crate) fn id(&self, instance_id: uuid::Uuid) -> i32 {
        let text = format!("{instance_id} {} {:?}", self.interval_ms, self.metrics);
        let digest = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, text.as_bytes());
        let [.., a, b, c, d] = digest.to_be_bytes();
        i32::from_be_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    const ID: uuid::Uuid = uuid::Uuid::from_u128(7);

    fn client() -> ClientIdentity<'static> {
        ClientIdentity {
            client_id: "orders-1",
            software: "apache-kafka-java/4.1.1",
            address: "10.0.0.7:4711".parse().unwrap(),
        }
    }

    #[test]
    fn clients_are_asked_for_what_fits_them() {
        let subscription = |pairs: &[(&str, &str)]| Subscription::parse(&configs(pairs)).unwrap();
        for (matches, fits) in [
            ("", true),
            ("client_id=orders-.*", true),
            ("client_id=orders", false),
            (
                "client_software_name=apache-kafka-java, client_software_version=4\\..*",
                true,
            ),
            ("client_id=orders-.*,client_software_version=3\\..*", false),
            ("client_source_address=10\\.0\\..*", true),
            ("client_source_port=4711", true),
            ("client_instance_id=.*-000000000007", true),
        ] {
            let one = subscription(&[(METRICS, "org.apache.kafka.producer."), (MATCH, matches)]);
            let wanted = Wanted::of([&one], ID, client());
            assert_eq!(
                wanted.includes("org.apache.kafka.producer.record"),
                fits,
                "{matches}"
            );
            assert!(!wanted.includes("org.apache.kafka.consumer.poll"));
        }
        let some = subscription(&[(METRICS, "b,a"), (INTERVAL_MS, "1000")]);
        let more = subscription(&[(METRICS, "a, c")]);
        let wanted = Wanted::of([&some, &more], ID, client());
        assert_eq!(wanted.metrics, ["a", "b", "c"]);
        assert_eq!(wanted.interval_ms, 1000);
        let all = subscription(&[(METRICS, "*")]);
        let every = Wanted::of([&some, &all], ID, client());
        assert_eq!(every.metrics, [ALL]);
        assert!(every.includes("anything"));
        assert_ne!(every.id(ID), wanted.id(ID));
        let again = Wanted::of([&more, &some], ID, client());
        assert_eq!(wanted.id(ID), again.id(ID), "whatever the order");
        assert_ne!(wanted.id(ID), wanted.id(uuid::Uuid::from_u128(8)));
        let none = Wanted::of([], ID, client());
        assert_eq!(
            (none.metrics.len(), none.interval_ms),
            (0, INTERVAL_DEFAULT_MS)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [
            (INTERVAL_MS, "99"),
            (INTERVAL_MS, "soon"),
            (MATCH, "client_id"),
            (MATCH, "colour=red"),
            (MATCH, "client_id=("),
            (MATCH, "client_id=(a{1000}){1000}"),
            ("nonsense", "1"),
        ] {
            let refused = Subscription::parse(&configs(&[(name, value)]));
            assert!(refused.is_err(), "{name}={value}");
        }
    }
}
