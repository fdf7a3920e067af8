//! Metrics as clients push them: OpenTelemetry's `MetricsData`, as far as it is looked at.
//!
//! Field numbers are those of `opentelemetry/proto/metrics/v1/metrics.proto`; the other fields are
//! skipped. Pure.

use std::collections::BTreeMap;

use prost::{DecodeError, Message, Oneof};

/// What was pushed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MetricsData {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(oneof = "Data", tags = "5, 7")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberDataPoint>,
    /// 1 what came since the last push, 2 all since the start.
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct NumberDataPoint {
    #[prost(oneof = "Number", tags = "4, 6")]
    value: Option<Number>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
enum Number {
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(sfixed64, tag = "6")]
    Integer(i64),
}

/// The number of temporality `delta`.
const DELTA: i32 = 1;

/// A metric of a client, its data points (per topic, per partition, per broker) in one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// The largest.
    Gauge(f64),
    /// What came since the last push, in all.
    Delta(f64),
}

/// Every metric that `wanted` lets through, by name. Values that are no numbers, sums since the
/// start, and histograms are left out.
///
/// # Errors
/// When the bytes are not such a message.
pub(super) fn decode(
    bytes: &[u8],
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Value>, DecodeError> {
    let data = MetricsData::decode(bytes)?;
    let mut values = BTreeMap::new();
    let scopes = data.resource_metrics.into_iter();
    let metrics = scopes
        .flat_map(|resource| resource.scope_metrics)
        .flat_map(|scope| scope.metrics);
    for metric in metrics.filter(|metric| wanted(&metric.name)) {
        let value = match &metric.data {
            Some(Data::Gauge(gauge)) => {
                let largest = numbers(&gauge.data_points).reduce(f64::max);
                largest.map(Value::Gauge)
            }
            Some(Data::Sum(sum)) if sum.aggregation_temporality == DELTA => {
                Some(Value::Delta(numbers(&sum.data_points).sum()))
            }
            _ => None,
        };
        if let Some(value) = value {
            values.insert(metric.name, value);
        }
    }
    Ok(values)
}

fn numbers(points: &[NumberDataPoint]) -> impl Iterator<Item = f64> {
    points
        .iter()
        .filter_map(|point| match point.value? {
            Number::Double(number) => Some(number),
            #[expect(clippy::cast_precision_loss, reason = "a metric, not an identifier")]
            Number::Integer(number) => Some(number as f64),
        })
        .filter(|number| number.is_finite())
}

/// A message of one metric for each row: name, whether a gauge, values.
#[cfg(test)]
pub(crate) fn encode(rows: &[(&str, bool, &[f64])]) -> Vec<u8> {
    let metrics = rows.iter().map(|(name, gauge, values)| {
        let data_points = values.iter().map(|value| NumberDataPoint {
            value: Some(Number::Double(*value)),
        });
        let data_points = data_points.collect();
        Metric {
            name: (*name).to_owned(),
            data: Some(if *gauge {
                Data::Gauge(Gauge { data_points })
            } else {
                Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: DELTA,
                })
            }),
        }
    });
    let data = MetricsData {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: metrics.collect(),
            }],
        }],
    };
    data.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_points_become_one_value() {
        let bytes = encode(&[
            ("a.gauge", true, &[1.0, 3.0, 2.0]),
            ("a.sum", false, &[1.0, 3.0, 2.0]),
            ("a.nothing", true, &[f64::NAN]),
            ("b.other", true, &[1.0]),
        ]);
        let found = decode(&bytes, |name| name.starts_with("a.")).unwrap();
        let expected = [
            ("a.gauge".to_owned(), Value::Gauge(3.0)),
            ("a.sum".to_owned(), Value::Delta(6.0)),
        ];
        assert_eq!(found, BTreeMap::from(expected));
    }

    /// Written by hand from the definition: a sum of the integer 5 since the last push, under a
    /// resource, a scope, a description, a unit and a time that are all skipped.
    #[test]
    fn the_wire_format_is_opentelemetrys() {
        let point = [0x19, 9, 0, 0, 0, 0, 0, 0, 0, 0x31, 5, 0, 0, 0, 0, 0, 0, 0];
        let mut sum = vec![0x0a, 18];
        sum.extend_from_slice(&point);
        sum.extend_from_slice(&[0x10, 1, 0x18, 1]);
        let mut metric = vec![0x0a, 1, b'n', 0x12, 1, b'd', 0x1a, 1, b'u', 0x3a, 24];
        metric.extend_from_slice(&sum);
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let mut scope = vec![0x0a, 0, 0x12, length(&metric)];
        scope.extend_from_slice(&metric);
        let mut resource = vec![0x0a, 0, 0x12, length(&scope)];
        resource.extend_from_slice(&scope);
        let mut data = vec![0x0a, length(&resource)];
        data.extend_from_slice(&resource);
        let found = decode(&data, |_| true).unwrap();
        assert_eq!(found, BTreeMap::from([("n".to_owned(), Value::Delta(5.0))]));
        for cut in 1..data.len() {
            assert!(decode(&data[..cut], |_| true).is_err(), "{cut}");
        }
    }
}
