//! Configs of the broker: what it was started with, and what can change while it runs.

use std::sync::Arc;

use kafka_wire::describe_configs_request::DescribeConfigsResource;
use kafka_wire::describe_configs_response::DescribeConfigsResourceResult;
use kafka_wire::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest, alter_configs_request, incremental_alter_configs_request,
};

use super::client::Client;
use super::harness::Server;
use crate::error::ErrorCode;
use crate::validation::NoValidation;
use crate::wire;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

async fn describe(
    client: &mut Client,
    kind: i8,
    name: &str,
    key: Option<&str>,
) -> Result<Vec<DescribeConfigsResourceResult>, i16> {
    let request = wire!(DescribeConfigsRequest {
        resources: vec![wire!(DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: key.map(|key| vec![key.into()]),
        })],
        include_synonyms: true,
        include_documentation: true,
    });
    let mut answer = client.request(4, &request).await.unwrap();
    let result = answer.results.remove(0);
    if result.error_code == 0 {
        Ok(result.configs)
    } else {
        Err(result.error_code)
    }
}

/// `value from source`, with every synonym after it, of one config.
async fn shown(client: &mut Client, kind: i8, name: &str, key: &str) -> Vec<String> {
    let configs = describe(client, kind, name, Some(key)).await.unwrap();
    let Some(config) = configs.first() else {
        return Vec::new();
    };
    let value = config.value.as_ref().unwrap();
    let mut rows = vec![format!("{value} from {}", config.config_source)];
    rows.extend(config.synonyms.iter().map(|synonym| {
        let value = synonym.value.as_ref().unwrap();
        format!("{} {value} from {}", synonym.name, synonym.source)
    }));
    rows
}

async fn set(
    client: &mut Client,
    kind: i8,
    name: &str,
    operations: &[(&str, i8, Option<&str>)],
) -> i16 {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = operations.iter().map(|&(name, config_operation, value)| {
        wire!(AlterableConfig {
            name: name.into(),
            config_operation,
            value: value.map(Into::into),
        })
    });
    let request = wire!(IncrementalAlterConfigsRequest {
        resources: vec![wire!(AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.collect(),
        })],
    });
    let answer = client.request(1, &request).await.unwrap();
    answer.responses[0].error_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_the_start_are_described_and_read_only() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let all = describe(&mut client, BROKER, "1", None).await.unwrap();
    let names: Vec<&str> = all.iter().map(|config| config.name.as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");
    for config in &all {
        assert!(config.documentation.is_some(), "{}", config.name);
        assert_ne!(config.config_type, 0, "{}", config.name);
        let last = config.synonyms.last().map(|synonym| synonym.source);
        assert_eq!(last, Some(5), "{}: the default comes last", config.name);
    }
    let read_only = |name: &str| {
        let found = all.iter().find(|config| config.name.as_str() == name);
        found.map(|config| config.read_only)
    };
    assert_eq!(read_only("num.partitions"), Some(true));
    assert_eq!(read_only("log.retention.ms"), Some(false));
    // The tests' server is started with a limit of its own.
    assert_eq!(
        shown(&mut client, BROKER, "1", "max.connections").await,
        [
            "100 from 4",
            "max.connections 100 from 4",
            "max.connections 10000 from 5"
        ]
    );
    assert_eq!(
        describe(&mut client, BROKER, "", None).await.unwrap().len(),
        0
    );
    for (kind, name) in [(BROKER, "2"), (9, "x")] {
        let refused = describe(&mut client, kind, name, None).await;
        assert_eq!(refused.err(), Some(ErrorCode::INVALID_REQUEST.0));
    }
    let refused = set(
        &mut client,
        BROKER,
        "1",
        &[("num.partitions", 0, Some("3"))],
    )
    .await;
    assert_eq!(refused, ErrorCode::INVALID_CONFIG.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_follow_what_is_set_on_the_broker() {
    const KEY: &str = "log.retention.ms";
    let server = Server::start_configured(Arc::new(NoValidation), |config| {
        let started = ("retention.ms".to_owned(), "1000".to_owned());
        config.topic_defaults.extend([started]);
    })
    .await;
    let mut client = server.with_topic("t", 1).await;
    let in_force = || {
        let topic = server.broker.topics.get("t").unwrap();
        topic.config().retention_ms
    };
    assert_eq!(in_force(), 1000);
    assert_eq!(
        set(&mut client, BROKER, "", &[(KEY, 0, Some("2000"))]).await,
        0
    );
    assert_eq!(in_force(), 2000);
    assert_eq!(
        set(&mut client, BROKER, "1", &[(KEY, 0, Some("3000"))]).await,
        0
    );
    assert_eq!(in_force(), 3000);
    let own = [("retention.ms", 0, Some("4000"))];
    assert_eq!(set(&mut client, TOPIC, "t", &own).await, 0);
    assert_eq!(in_force(), 4000);

    let broker_wide = [
        "log.retention.ms 3000 from 2",
        "log.retention.ms 2000 from 3",
        "log.retention.ms 1000 from 4",
        "log.retention.ms 604800000 from 5",
    ];
    let mut expected = vec!["4000 from 1", "retention.ms 4000 from 1"];
    expected.extend(broker_wide);
    let of_topic = shown(&mut client, TOPIC, "t", "retention.ms").await;
    assert_eq!(of_topic, expected);
    let mut expected = vec!["3000 from 2"];
    expected.extend(broker_wide);
    assert_eq!(shown(&mut client, BROKER, "1", KEY).await, expected);
    assert_eq!(
        shown(&mut client, BROKER, "", KEY).await,
        ["2000 from 3", "log.retention.ms 2000 from 3"]
    );

    // Taken back one after the other.
    assert_eq!(
        set(&mut client, TOPIC, "t", &[("retention.ms", 1, None)]).await,
        0
    );
    assert_eq!(in_force(), 3000);
    let replace = wire!(AlterConfigsRequest {
        resources: vec![wire!(alter_configs_request::AlterConfigsResource {
            resource_type: BROKER,
            resource_name: "1".into(),
            configs: vec![wire!(alter_configs_request::AlterableConfig {
                name: "log.cleanup.policy".into(),
                value: Some("compact".into()),
            })],
        })],
    });
    let answer = client.request(2, &replace).await.unwrap();
    assert_eq!(answer.responses[0].error_code, 0);
    assert_eq!(in_force(), 2000);
    assert!(server.broker.topics.get("t").unwrap().config().compacted);
    assert_eq!(set(&mut client, BROKER, "", &[(KEY, 1, None)]).await, 0);
    assert_eq!(in_force(), 1000);

    for refused in [
        (KEY, 0, Some("-2")),
        ("log.preallocate", 0, Some("true")),
        ("retention.ms", 0, Some("1")),
        (KEY, 2, Some("1")),
    ] {
        let code = set(&mut client, BROKER, "1", &[refused]).await;
        assert_eq!(code, ErrorCode::INVALID_CONFIG.0, "{refused:?}");
    }
    let appended = [("log.cleanup.policy", 2, Some("delete"))];
    assert_eq!(set(&mut client, BROKER, "1", &appended).await, 0);
    assert!(server.broker.topics.get("t").unwrap().config().delete_old);
    server.stop().await;
}

/// Configs of a group are kept, shown with where they come from, and listed while they are set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_have_configs() {
    const SESSION: &str = "consumer.session.timeout.ms";
    const INTERVAL: &str = "consumer.heartbeat.interval.ms";
    let server = Server::start_configured(Arc::new(NoValidation), |config| {
        config.groups.consumer.session_timeout_ms = 50_000;
    })
    .await;
    let mut client = server.client().await;
    let all = describe(&mut client, GROUP, "g", None).await.unwrap();
    let names: Vec<&str> = all.iter().map(|config| config.name.as_str()).collect();
    assert_eq!(names, [INTERVAL, SESSION]);
    let set_to = |value| [(SESSION, 0, Some(value))];
    assert_eq!(set(&mut client, GROUP, "g", &set_to("60000")).await, 0);
    assert_eq!(
        shown(&mut client, GROUP, "g", SESSION).await,
        [
            "60000 from 8",
            "consumer.session.timeout.ms 60000 from 8",
            "group.consumer.session.timeout.ms 50000 from 4",
            "group.consumer.session.timeout.ms 45000 from 5"
        ]
    );
    assert_eq!(
        shown(&mut client, GROUP, "other", SESSION).await[0],
        "50000 from 4"
    );
    let invalid = ErrorCode::INVALID_CONFIG.0;
    for (refused, code) in [
        (set_to("5000"), invalid),
        (set_to("never"), invalid),
        ([("nonsense", 0, Some("1"))], invalid),
        ([(SESSION, 2, Some("1"))], invalid),
        ([(SESSION, 0, None)], ErrorCode::INVALID_REQUEST.0),
    ] {
        let found = set(&mut client, GROUP, "g", &refused).await;
        assert_eq!(found, code, "{refused:?}");
    }
    let unnamed = set(&mut client, GROUP, "", &set_to("60000")).await;
    assert_eq!(unnamed, ErrorCode::INVALID_REQUEST.0);
    let list = wire!(ListConfigResourcesRequest {
        resource_types: vec![GROUP]
    });
    let listed = client.request(1, &list).await.unwrap().config_resources;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].resource_name.as_str(), "g");

    let reset = [(SESSION, 1, None)];
    assert_eq!(set(&mut client, GROUP, "g", &reset).await, 0);
    let listed = client.request(1, &list).await.unwrap().config_resources;
    assert_eq!(listed, []);
    server.stop().await;
}
