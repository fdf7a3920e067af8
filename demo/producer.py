"""An unmodified Confluent producer, as in their documentation, and three that went wrong."""

import os
import sys

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

what = sys.argv[1]
registry = SchemaRegistryClient({"url": os.environ["SCHEMA_REGISTRY_URL"]})
latest = registry.get_latest_version("orders-value")
serialize = AvroSerializer(registry, conf={"auto.register.schemas": False, "use.latest.version": True})
order = {"id": 1, "customer": "ada", "note": "gift", "lines": [{"sku": "tea-01", "qty": 2}]}
framed = serialize(order, SerializationContext("orders", MessageField.VALUE))

values = {
    "order": framed,
    # A valid schema id in front of bytes that are no order.
    "garbage": framed[:5] + b"\xffgarbage",
    # A producer whose serializer was forgotten.
    "json": b'{"id": 1, "customer": "ada"}',
    # New code, old id: the bytes of version 2 stamped as version 1.
    "stamped": b"\x00\x00\x00\x00\x01" + framed[5:],
}


def delivered(error, message):
    if error is None:
        print(f"stored at offset {message.offset()}")
    else:
        print(f"refused: {error.name()}")


producer = Producer({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]})
producer.produce("orders", value=values[what], on_delivery=delivered)
producer.flush()
