"""What confluent-kafka-python asks of a registry: register, look up, evolve, refer, tag by GUID,
run a CEL rule and a migration rule, associate a topic; each against the broker where records go."""

import json
import uuid

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.schema_registry import (
    Metadata,
    MetadataProperties,
    Rule,
    RuleKind,
    RuleMode,
    RuleSet,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.common.schema_registry_client import (
    AssociationCreateOrUpdateInfo,
    AssociationCreateOrUpdateRequest,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.rules.cel.cel_executor import CelExecutor
from confluent_kafka.schema_registry.rules.jsonata.jsonata_executor import JsonataExecutor
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError


def record(name, *fields):
    return json.dumps(
        {
            "type": "record",
            "name": name,
            "namespace": "shop",
            "fields": [{"name": field, "type": kind, **more} for field, kind, more in fields],
        }
    )


ITEM = record("Item", ("sku", "string", {}))
ORDER = record("Order", ("id", "long", {}), ("item", "shop.Item", {}))
ORDER_2 = record("Order", ("id", "long", {}), ("item", "shop.Item", {}), ("qty", "int", {"default": 1}))
ORDER_BAD = record("Order", ("id", "string", {}), ("item", "shop.Item", {}))


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def expect(status, code, call):
    try:
        call()
    except SchemaRegistryError as error:
        check((error.http_status_code, error.error_code) == (status, code), f"{error}")
    else:
        raise AssertionError(f"no error {code}")


class Broker:
    """Produces and consumes one record at a time."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})

    def produce(self, topic, value, headers=None):
        outcome = []
        self.producer.produce(
            topic, value=value, headers=headers, on_delivery=lambda error, _: outcome.append(error)
        )
        check(self.producer.flush(30) == 0, "a record is still queued")
        return outcome[0]

    def first(self, topic):
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": str(uuid.uuid4()),
                "auto.offset.reset": "earliest",
            }
        )
        consumer.subscribe([topic])
        try:
            for _ in range(60):
                message = consumer.poll(1)
                if message is not None and message.error() is None:
                    return message
        finally:
            consumer.close()
        raise AssertionError(f"nothing in {topic}")


def value_context(topic, headers=None):
    return SerializationContext(topic, MessageField.VALUE, headers)


def schemas(client):
    item = client.register_schema("py-item", Schema(ITEM, "AVRO"))
    check(client.get_schema(item).schema_str == ITEM.replace(", ", ",").replace(": ", ":"), "text by id")
    refers = [SchemaReference("shop.Item", "py-item", 1)]
    order = client.register_schema("py-orders-value", Schema(ORDER, "AVRO", refers))
    check(client.register_schema("py-orders-value", Schema(ORDER, "AVRO", refers)) == order, "same id")
    check(client.get_referenced_by("py-item", 1) == [order], "referenced by")
    newer = Schema(ORDER_2, "AVRO", refers)
    check(client.test_compatibility("py-orders-value", newer), "compatible")
    full = client.register_schema_full_response("py-orders-value", newer)
    check(full.version == 2 and full.guid, f"full answer {full}")
    check(client.get_schema_by_guid(full.guid).references == refers, "by GUID")
    latest = client.get_latest_version("py-orders-value")
    check((latest.version, latest.schema_id) == (2, full.schema_id), f"latest {latest}")
    check(client.lookup_schema("py-orders-value", newer).version == 2, "look-up")
    check(client.get_versions("py-orders-value") == [1, 2], "versions")
    check(not client.test_compatibility("py-orders-value", Schema(ORDER_BAD, "AVRO", refers)), "incompatible")
    expect(409, 40901, lambda: client.register_schema("py-orders-value", Schema(ORDER_BAD, "AVRO", refers)))
    expect(422, 42206, lambda: client.delete_version("py-item", 1))
    expect(404, 40403, lambda: client.get_schema(123456))
    expect(404, 40401, lambda: client.get_latest_version("py-none"))
    client.set_compatibility("py-orders-value", "FULL")
    check(client.get_compatibility("py-orders-value") == "FULL", "level")
    check(client.get_global_mode() == "READWRITE", "mode")
    client.register_schema("py-deleted", Schema('"int"', "AVRO"))
    check(client.delete_subject("py-deleted") == [1], "soft delete")
    check(client.delete_subject("py-deleted", permanent=True) == [1], "permanent delete")
    check("py-deleted" not in client.get_subjects(), "subjects")
    check(client.get_contexts()[0] == ".", "contexts")


def references_and_guids(client, broker):
    refers = [SchemaReference("shop.Item", "py-item", 1)]
    order = Schema(ORDER_2, "AVRO", refers)
    # The deserializer takes fewer than six bytes for no record of a serializer, header or not.
    value = {"id": 7, "item": {"sku": "abcdef"}, "qty": 2}
    by_guid = AvroSerializer(
        client,
        order,
        conf={"schema.id.serializer": header_schema_id_serializer, "auto.register.schemas": False},
    )
    headers = []
    payload = by_guid(value, value_context("py-orders", headers))
    check(headers[0][0] == "__value_schema_id" and len(headers[0][1]) == 17, f"headers {headers}")
    check(broker.produce("py-orders", payload, headers) is None, "a record named by GUID is refused")
    message = broker.first("py-orders")
    read = AvroDeserializer(client)(message.value(), value_context("py-orders", message.headers()))
    check(read == value, f"read {read}")
    cut = broker.produce("py-orders", payload[:-1], headers)
    check(cut is not None and cut.code() == KafkaError.INVALID_RECORD, f"a cut record: {cut}")


def condition_rule(client, broker):
    CelExecutor.register()
    rules = RuleSet(
        migration_rules=None,
        domain_rules=[
            Rule(
                "positive",
                "",
                RuleKind.CONDITION,
                RuleMode.WRITE,
                "CEL",
                None,
                None,
                "message.qty > 0",
                None,
                None,
                False,
            )
        ],
    )
    schema = record("Line", ("qty", "int", {}))
    client.register_schema("py-lines-value", Schema(schema, "AVRO", [], None, rules))
    stored = client.get_latest_version("py-lines-value").schema.rule_set
    check(stored.domain_rules[0].expr == "message.qty > 0", f"stored rules {stored}")
    serializer = AvroSerializer(client, None, conf={"auto.register.schemas": False, "use.latest.version": True})
    good = serializer({"qty": 1}, value_context("py-lines"))
    check(broker.produce("py-lines", good) is None, "a good record is refused")
    try:
        serializer({"qty": 0}, value_context("py-lines"))
    except SerializationError:
        return
    raise AssertionError("the rule did not run")


def migration_rule(client, broker):
    JsonataExecutor.register()
    subject = "py-moved-value"
    client.set_config(subject, ServerConfig(compatibility_group="major"))

    def major(number):
        return Metadata(None, MetadataProperties({"major": number}), None)

    upgrade = Rule(
        "rename",
        "",
        RuleKind.TRANSFORM,
        RuleMode.UPGRADE,
        "JSONATA",
        None,
        None,
        "$merge([$sift($, function($v, $k) {$k != 'state'}), {'status': $.'state'}])",
        None,
        None,
        False,
    )
    old = record("Move", ("state", "string", {}))
    new = record("Move", ("status", "string", {}))
    client.register_schema(subject, Schema(old, "AVRO", [], major("1")))
    writer = AvroSerializer(client, None, conf={"auto.register.schemas": False, "use.latest.version": True})
    check(broker.produce("py-moved", writer({"state": "x"}, value_context("py-moved"))) is None, "old record")
    client.register_schema(subject, Schema(new, "AVRO", [], major("2"), RuleSet([upgrade], None)))
    reader = AvroDeserializer(client, None, conf={"use.latest.with.metadata": {"major": "2"}})
    read = reader(broker.first("py-moved").value(), value_context("py-moved"))
    check(read == {"status": "x"}, f"migrated {read}")


def association(client, broker):
    client.register_schema("py-shared", Schema(ITEM, "AVRO"))
    client.create_association(
        AssociationCreateOrUpdateRequest(
            resource_name="py-associated",
            resource_namespace="cluster",
            resource_id="py-associated-id",
            associations=[AssociationCreateOrUpdateInfo(subject="py-shared", association_type="value")],
        )
    )
    found = client.get_associations_by_resource_name("py-associated", "-", "topic", ["value"])
    check([one.subject for one in found] == ["py-shared"], f"associations {found}")
    serializer = AvroSerializer(
        client,
        ITEM,
        conf={"auto.register.schemas": False, "subject.name.strategy.type": "ASSOCIATED"},
    )
    good = serializer({"sku": "a"}, value_context("py-associated"))
    check(broker.produce("py-associated", good) is None, "a record of the associated subject is refused")
    bad = broker.produce("py-associated", good[:5] + b"\xff")
    check(bad is not None and bad.code() == KafkaError.INVALID_RECORD, f"a bad record: {bad}")
    expect(409, 40904, lambda: client.delete_subject("py-shared"))
    client.delete_associations("py-associated-id", "topic", ["value"])
    check(client.get_associations_by_resource_name("py-associated", "-") == [], "associations are gone")


def registry(bootstrap, url):
    client = SchemaRegistryClient({"url": url})
    broker = Broker(bootstrap)
    schemas(client)
    references_and_guids(client, broker)
    condition_rule(client, broker)
    migration_rule(client, broker)
    association(client, broker)
