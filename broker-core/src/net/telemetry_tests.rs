//! Metrics that clients push, over a socket: offered when someone wants them, and taken in.

use kafka_wire::{
    ApiVersionsRequest, DescribeConfigsRequest, GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    PushTelemetryRequest, describe_configs_request, incremental_alter_configs_request,
};

use super::client::Client;
use super::harness::Server;
use crate::client_metrics::otlp;
use crate::error::ErrorCode;
use crate::wire;

const CLIENT_METRICS: i8 = 16;

async fn set(client: &mut Client, name: &str, configs: &[(&str, Option<&str>)]) -> i16 {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = configs.iter().map(|(key, value)| {
        wire!(AlterableConfig {
            name: (*key).into(),
            config_operation: i8::from(value.is_none()),
            value: value.map(Into::into),
        })
    });
    let request = wire!(IncrementalAlterConfigsRequest {
        resources: vec![wire!(AlterConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: name.into(),
            configs: configs.collect(),
        })],
    });
    let answer = client.request(1, &request).await.unwrap();
    answer.responses[0].error_code
}

async fn is_offered(client: &mut Client) -> bool {
    let request = ApiVersionsRequest::default();
    let answer = client.request(2, &request).await.unwrap();
    let keys: Vec<i16> = answer.api_keys.iter().map(|api| api.api_key).collect();
    assert_eq!(keys.contains(&71), keys.contains(&72));
    keys.contains(&71)
}

async fn ask(client: &mut Client) -> GetTelemetrySubscriptionsResponse {
    let request = GetTelemetrySubscriptionsRequest::default();
    client.request(0, &request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_asked_for_as_long_as_someone_wants_them() {
    let server = Server::start().await;
    let mut client = server.client().await;
    assert!(!is_offered(&mut client).await);
    // Those that were told before go on asking, and are asked for nothing.
    let nothing = ask(&mut client).await;
    assert_eq!(
        (nothing.error_code, nothing.requested_metrics.len()),
        (0, 0)
    );

    let wanted = [
        ("metrics", Some("org.apache.kafka.producer.")),
        ("interval.ms", Some("1000")),
        ("match", Some("client_id=test")),
    ];
    assert_eq!(set(&mut client, "producers", &wanted).await, 0);
    assert!(is_offered(&mut client).await);
    let asked = ask(&mut client).await;
    let metrics: Vec<&str> = asked
        .requested_metrics
        .iter()
        .map(|one| one.as_str())
        .collect();
    assert_eq!(metrics, ["org.apache.kafka.producer."]);
    assert_eq!(asked.push_interval_ms, 1000);
    assert_eq!(asked.accepted_compression_types, [4, 3, 1, 2]);
    assert!(asked.delta_temporality && !asked.client_instance_id.is_zero());
    let mut other = Client::connect(server.address, "other").await.unwrap();
    assert_eq!(ask(&mut other).await.requested_metrics.len(), 0);

    let name = "org.apache.kafka.producer.record.count";
    let push = |subscription_id, metrics: Vec<u8>| {
        wire!(PushTelemetryRequest {
            client_instance_id: asked.client_instance_id,
            subscription_id,
            metrics: metrics.into(),
        })
    };
    let some = otlp::encode(&[(name, false, &[5.0])]);
    let pushed = push(asked.subscription_id, some.clone());
    assert_eq!(client.request(0, &pushed).await.unwrap().error_code, 0);
    // Too early, then for what is not in force any more.
    let again = client.request(0, &pushed).await.unwrap();
    assert_eq!(again.error_code, ErrorCode::THROTTLING_QUOTA_EXCEEDED.0);
    let gone = wanted.map(|(name, _)| (name, None));
    assert_eq!(set(&mut client, "producers", &gone).await, 0);
    assert!(!is_offered(&mut client).await);
    let mut late = push(asked.subscription_id, some);
    late.terminating = true;
    let late = client.request(0, &late).await.unwrap();
    assert_eq!(late.error_code, ErrorCode::UNKNOWN_SUBSCRIPTION_ID.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_configs() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for refused in [
        ("interval.ms", "1"),
        ("match", "client_id=("),
        ("nonsense", "1"),
    ] {
        let code = set(&mut client, "a", &[(refused.0, Some(refused.1))]).await;
        assert_eq!(code, ErrorCode::INVALID_CONFIG.0, "{refused:?}");
    }
    let unnamed = set(&mut client, "", &[("metrics", Some("*"))]).await;
    assert_eq!(unnamed, ErrorCode::INVALID_REQUEST.0);
    assert_eq!(set(&mut client, "a", &[("metrics", Some("*"))]).await, 0);
    for version in 0..=1 {
        let request = wire!(ListConfigResourcesRequest {
            resource_types: if version == 0 {
                vec![]
            } else {
                vec![CLIENT_METRICS]
            },
        });
        let listed = client.request(version, &request).await.unwrap();
        let names: Vec<&str> = listed
            .config_resources
            .iter()
            .map(|one| one.resource_name.as_str())
            .collect();
        assert_eq!(names, ["a"], "v{version}");
    }
    let request = wire!(DescribeConfigsRequest {
        resources: vec![wire!(describe_configs_request::DescribeConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: "a".into(),
            configuration_keys: None,
        })],
    });
    let answer = client.request(4, &request).await.unwrap();
    let found: Vec<(&str, &str, i8)> = answer.results[0]
        .configs
        .iter()
        .map(|config| {
            let value = config.value.as_ref().map_or("", |value| value.as_str());
            (config.name.as_str(), value, config.config_source)
        })
        .collect();
    let expected = [
        ("interval.ms", "300000", 5),
        ("match", "", 5),
        ("metrics", "*", 7),
    ];
    assert_eq!(found, expected);
    server.stop().await;
}
