"""confluent-kafka-python with its Avro, JSON Schema and Protobuf serializers, unmodified."""

import json
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from administer import administer, telemetry
from consumers import consumers, follow
from registry import registry

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]

ORDER_AVRO = json.dumps(
    {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "customer", "type": "string"},
            {
                "name": "lines",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Line",
                        "fields": [
                            {"name": "sku", "type": "string"},
                            {"name": "qty", "type": "int"},
                        ],
                    },
                },
            },
            {"name": "note", "type": ["null", "string"], "default": None},
        ],
    }
)

ORDER_JSON = json.dumps(
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Order",
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "customer": {"type": "string", "minLength": 1},
            "total": {"type": "number", "minimum": 0},
        },
        "required": ["id", "customer"],
        "additionalProperties": False,
    }
)


def order_message():
    """A Protobuf message type built at run time, as generated code would build it."""
    file = descriptor_pb2.FileDescriptorProto(name="shop/order.proto", package="shop", syntax="proto3")
    line = file.message_type.add(name="Line")
    line.field.add(name="sku", number=1, type=9, label=1, json_name="sku")
    line.field.add(name="qty", number=2, type=5, label=1, json_name="qty")
    order = file.message_type.add(name="Order")
    order.field.add(name="id", number=1, type=3, label=1, json_name="id")
    order.field.add(name="customer", number=2, type=9, label=1, json_name="customer")
    order.field.add(name="lines", number=3, type=11, label=3, type_name=".shop.Line", json_name="lines")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return (
        message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order")),
        message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Line")),
    )


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def produce_all(producer, topic, values, key=None):
    """Produces and waits; raises the first delivery error."""
    errors = []

    def delivered(error, _message):
        if error is not None:
            errors.append(error)

    for value in values:
        producer.produce(topic, value=value, key=key, on_delivery=delivered)
        producer.poll(0)
    check(producer.flush(30) == 0, "records still queued after 30 s")
    return errors


def consume_all(bootstrap, topic, count, seconds=30):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    messages = []
    deadline = time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        messages.append(message)
    consumer.close()
    check(len(messages) == count, f"{topic}: {len(messages)} of {count} records in {seconds} s")
    return messages


def roundtrip(bootstrap, registry_url):
    registry = SchemaRegistryClient({"url": registry_url})
    # Consumers have a client of their own; this library's cache answers what was registered
    # through it whatever format is asked for.
    reader = SchemaRegistryClient({"url": registry_url})
    order, line = order_message()
    avro_value = {"id": 7, "customer": "ada", "lines": [{"sku": "a-1", "qty": 2}], "note": None}
    json_value = {"id": 7, "customer": "ada", "total": 9.5}
    proto_value = order(id=7, customer="ada", lines=[line(sku="a-1", qty=2)])
    formats = {
        "avro": (AvroSerializer(registry, ORDER_AVRO), AvroDeserializer(reader), avro_value),
        "json": (
            JSONSerializer(ORDER_JSON, registry),
            JSONDeserializer(ORDER_JSON, schema_registry_client=reader),
            json_value,
        ),
        "protobuf": (
            ProtobufSerializer(order, registry),
            ProtobufDeserializer(order, schema_registry_client=reader),
            proto_value,
        ),
    }
    for name, (serialize, deserialize, value) in formats.items():
        topic = f"py-{name}"
        context = SerializationContext(topic, MessageField.VALUE)
        count = 0
        for compression in COMPRESSIONS:
            producer = Producer(
                {
                    "bootstrap.servers": bootstrap,
                    "compression.type": compression,
                    "enable.idempotence": True,
                    "linger.ms": 20,
                }
            )
            payload = serialize(value, context)
            errors = produce_all(producer, topic, [payload] * 20)
            check(not errors, f"{name} {compression}: {errors[:1]}")
            count += 20
        for message in consume_all(bootstrap, topic, count):
            check(deserialize(message.value(), context) == value, f"{name}: value changed")
        print(f"{name} {count} records, {len(COMPRESSIONS)} compressions")


def group(bootstrap, _registry_url):
    topic = "py-group"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # All topics: librdkafka's frame for it has three bytes too many.
    check("__consumer_offsets" in admin.list_topics(timeout=10).topics, "topics are not listed")
    for future in admin.create_topics([NewTopic(topic, num_partitions=4)]).values():
        future.result(15)

    def member():
        consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "py-group",
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 10000,
                "heartbeat.interval.ms": 500,
            }
        )
        # A pattern, so that the client asks for all topics again and again.
        consumer.subscribe([f"^{topic}$"])
        return consumer

    def until(condition, members, text):
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            for consumer in members:
                message = consumer.poll(0.1)
                if message is not None and not message.error():
                    seen.append(message.value())
            if condition():
                return
        raise AssertionError(f"{text}: {[len(m.assignment()) for m in members]}")

    seen = []
    first, second = member(), member()
    until(
        lambda: len(first.assignment()) == 2 and len(second.assignment()) == 2,
        [first, second],
        "two members never shared four partitions",
    )
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition in range(4):
        producer.produce(topic, value=f"v{partition}".encode(), partition=partition)
    producer.flush(10)
    until(lambda: len(seen) == 4, [first, second], "records did not arrive")
    first.commit(asynchronous=False)
    second.commit(asynchronous=False)
    second.close()
    until(lambda: len(first.assignment()) == 4, [first], "the member that stayed did not take over")
    for partition in range(4):
        producer.produce(topic, value=f"w{partition}".encode(), partition=partition)
    producer.flush(10)
    until(lambda: len(seen) >= 8, [first], "records after the rebalance did not arrive")
    check(len(seen) == 8, f"records were delivered again after a commit: {seen}")
    first.commit(asynchronous=False)
    committed = first.committed([TopicPartition(topic, p) for p in range(4)], timeout=10)
    check([c.offset for c in committed] == [2, 2, 2, 2], f"committed {committed}")
    first.close()


def reject(bootstrap, registry_url, topic):
    registry = SchemaRegistryClient({"url": registry_url})
    subject = f"{topic}-value"
    schema_id = registry.register_schema(subject, Schema(ORDER_AVRO, "AVRO"))
    serialize = AvroSerializer(registry, ORDER_AVRO)
    good = serialize(
        {"id": 1, "customer": "ada", "lines": [], "note": None},
        SerializationContext(topic, MessageField.VALUE),
    )
    bad = b"\x00" + schema_id.to_bytes(4, "big") + b"garbage"
    for idempotent in (True, False):
        producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": idempotent, "linger.ms": 0}
        )
        errors = produce_all(producer, topic, [good])
        check(not errors, f"good record refused: {errors}")
        errors = produce_all(producer, topic, [bad])
        check(len(errors) == 1, "the bad record was accepted")
        check(errors[0].code() == KafkaError.INVALID_RECORD, f"error {errors[0]}")
        check(not errors[0].retriable() and not errors[0].fatal(), f"error {errors[0]}")
        errors = produce_all(producer, topic, [good, good])
        check(not errors, f"the producer did not go on: {errors}")
    check(len(consume_all(bootstrap, topic, 6)) == 6, "stored records")


def transactional(bootstrap, transactional_id):
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 60000,
            "linger.ms": 0,
        }
    )
    producer.init_transactions(60)
    return producer


def transact(bootstrap, _registry_url):
    topic = "py-transact"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(topic, num_partitions=3)]).values():
        future.result(15)
    producer = transactional(bootstrap, "py-transact")
    committed = set()
    for number in range(12):
        producer.begin_transaction()
        values = [f"{number}-{at}" for at in range(6)]
        for at, value in enumerate(values):
            producer.produce(topic, value=value.encode(), partition=at % 3)
        if number % 3 == 2:
            producer.flush(10)
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
            committed.update(values)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    seen, ended = [], set()
    deadline = time.monotonic() + 30
    while len(ended) < 3 and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            check(message.error().code() == KafkaError._PARTITION_EOF, str(message.error()))
            ended.add(message.partition())
            continue
        seen.append(message.value().decode())
    consumer.close()
    check(len(ended) == 3, "the end was not reached")
    check(len(seen) == len(committed) and set(seen) == committed, f"read {len(seen)}: {seen}")
    # Another producer of the same id fences the first.
    producer.begin_transaction()
    producer.produce(topic, value=b"zombie", partition=0)
    producer.flush(10)
    successor = transactional(bootstrap, "py-transact")
    try:
        producer.commit_transaction(30)
        raise AssertionError("the first producer was not fenced")
    except KafkaException as error:
        check(error.args[0].fatal(), f"fenced with {error}")
    successor.begin_transaction()
    successor.produce(topic, value=b"after", partition=0)
    successor.commit_transaction(30)


def until_done(call):
    """Calls again as long as the error says so."""
    while True:
        try:
            return call()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            print(f"waiting {error}", flush=True)


def transfer(bootstrap, source, target, count):
    """Consume, transform, produce: each record of the source once in the target, whatever happens."""
    producer = transactional(bootstrap, f"transfer-{target}")
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"transfer-{target}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )

    def rewind():
        while True:
            try:
                found = consumer.committed([TopicPartition(source, 0)], timeout=10)[0].offset
                break
            except KafkaException as error:
                print(f"waiting {error}", flush=True)
        consumer.assign([TopicPartition(source, 0, max(found, 0))])
        return max(found, 0)

    position = rewind()
    rounds = 0
    while position < int(count):
        messages = [m for m in consumer.consume(7, timeout=0.5) if not m.error()]
        if not messages:
            continue
        rounds += 1
        try:
            producer.begin_transaction()
            for message in messages:
                producer.produce(target, value=b"moved " + message.value())
            after = messages[-1].offset() + 1
            offsets = [TopicPartition(source, 0, after)]
            metadata = consumer.consumer_group_metadata()
            until_done(lambda: producer.send_offsets_to_transaction(offsets, metadata, 30))
            if rounds % 5 == 0:
                producer.flush(10)
                until_done(lambda: producer.abort_transaction(60))
                position = rewind()
                continue
            until_done(lambda: producer.commit_transaction(60))
            position = after
            print(f"committed {position}", flush=True)
        except KafkaException as error:
            print(f"aborting {error}", flush=True)
            if error.args[0].fatal():
                raise
            until_done(lambda: producer.abort_transaction(60))
            position = rewind()
    consumer.close()


def produce(bootstrap, topic, count):
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 1})

    def delivered(error, message):
        if error is None:
            print(f"acked {message.value().decode()}", flush=True)

    for number in range(int(count)):
        producer.produce(topic, value=f"py-{number}".encode(), on_delivery=delivered)
        producer.poll(0.001)
    check(producer.flush(60) == 0, "records still queued after 60 s")


def consume(bootstrap, topic, count):
    for message in consume_all(bootstrap, topic, int(count)):
        print(f"value {message.value().decode()}")


if __name__ == "__main__":
    word = sys.argv[1]
    words = {
        "roundtrip": roundtrip,
        "group": group,
        "consumers": consumers,
        "follow": follow,
        "reject": reject,
        "registry": registry,
        "produce": produce,
        "consume": consume,
        "administer": administer,
        "telemetry": telemetry,
        "transact": transact,
        "transfer": transfer,
    }
    words[word](*sys.argv[2:])
    print(f"ok {word}")
