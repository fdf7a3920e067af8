"""What confluent-kafka-python's AdminClient asks of a broker beyond topics and groups."""

import time
import urllib.request

from confluent_kafka import ElectionType, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

TOPIC = "py-admin"


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def only(futures):
    """The outcome of the one thing that was asked for."""
    (future,) = futures.values()
    return future.result(timeout=30)


def administer(bootstrap, _registry):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    only(admin.create_topics([NewTopic(TOPIC, num_partitions=3)]))
    cluster = admin.describe_cluster(include_authorized_operations=True).result(timeout=30)
    check(len(cluster.nodes) == 1 and cluster.controller.id == 1, f"cluster {cluster.nodes}")
    check(len(cluster.authorized_operations) == 7, f"operations {cluster.authorized_operations}")

    partitions = [TopicPartition(TOPIC, 0)]
    elected = admin.elect_leaders(ElectionType.PREFERRED, partitions).result(timeout=30)
    (error,) = elected.values()
    check(error.code() == KafkaError.ELECTION_NOT_NEEDED, f"election {error}")

    broker = ConfigResource(ResourceType.BROKER, "1")
    broker.add_incremental_config(
        ConfigEntry("log.segment.bytes", "2000000", incremental_operation=AlterConfigOpType.SET)
    )
    only(admin.incremental_alter_configs([broker]))
    configs = only(admin.describe_configs([ConfigResource(ResourceType.BROKER, "1")]))
    altered = configs["log.segment.bytes"]
    check(altered.value == "2000000" and not altered.is_read_only, f"{altered}")
    check(altered.source == ConfigSource.DYNAMIC_BROKER_CONFIG.value, f"source {altered.source}")
    check(configs["num.partitions"].is_read_only, "a setting of the start can be altered")
    of_topic = only(admin.describe_configs([ConfigResource(ResourceType.TOPIC, TOPIC)]))
    inherited = of_topic["segment.bytes"]
    check(inherited.value == "2000000", f"{inherited}")
    names = set(inherited.synonyms)
    check(names == {"log.segment.bytes"}, f"synonyms {names}")


def telemetry(bootstrap, registry):
    """librdkafka pushes metrics by default, if someone subscribed to its own (client ids that end in
    -telemetry, of the Java program)."""
    for client_id, wanted in [("librdkafka-other", False), ("librdkafka-telemetry", True)]:
        producer = Producer({"bootstrap.servers": bootstrap, "client.id": client_id})
        series = f'client_id="{client_id}"'
        deadline = time.monotonic() + (60 if wanted else 3)
        shown = False
        while not shown and time.monotonic() < deadline:
            producer.produce(TOPIC, b"x", partition=0)
            check(producer.flush(30) == 0, "records still queued after 30 s")
            with urllib.request.urlopen(f"{registry}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            shown = any(line.startswith("assay_client_metric") and series in line for line in lines)
            time.sleep(0.05)
        check(shown == wanted, f"{client_id}: metrics shown: {shown}")
