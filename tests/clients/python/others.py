"""Python clients that are not librdkafka: kafka-python and aiokafka, with their defaults.

    others.py kafka-python|aiokafka WORD ...
"""

import asyncio
import json
import os
import struct
import sys
import threading
import time
import urllib.request
import uuid

COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "id", "type": "long"}, {"name": "customer", "type": "string"}],
    }
)
PATIENCE = 60


def register(registry, subject):
    request = urllib.request.Request(
        f"{registry}/subjects/{subject}/versions",
        json.dumps({"schema": SCHEMA}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["id"]


def order(schema_id, number, customer):
    """Confluent's framing and the Avro encoding of {id, customer}; both fit one varint byte here."""
    return struct.pack(">bI", 0, schema_id) + bytes([number << 1, len(customer) << 1]) + customer.encode()


class KafkaPython:
    name = "kafka-python"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.producers = {}

    def after_refusal(self):
        # Its idempotent producer, the default, is done for after any error that it does not know how to retry.
        self.producers.clear()

    def create_topic(self, topic, partitions):
        from kafka.admin import KafkaAdminClient, NewTopic

        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
        admin.close()

    def produce(self, topic, compression, partition, values):
        from kafka import KafkaProducer

        if compression not in self.producers:
            self.producers[compression] = KafkaProducer(
                bootstrap_servers=self.bootstrap,
                acks="all",
                compression_type=None if compression == "none" else compression,
            )
        producer = self.producers[compression]
        for future in [producer.send(topic, value, partition=partition) for value in values]:
            future.get(timeout=PATIENCE)

    def consume(self, topic, count):
        from kafka import KafkaConsumer

        consumer = KafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap,
            group_id=f"reader-{uuid.uuid4()}",
            auto_offset_reset="earliest",
            consumer_timeout_ms=PATIENCE * 1000,
        )
        values = []
        for message in consumer:
            values.append(message.value)
            if len(values) == count:
                break
        consumer.close()
        return values

    def join(self, group, topic, seen):
        from kafka import KafkaConsumer

        consumer = KafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=10000,
            heartbeat_interval_ms=300,
        )
        leaving = threading.Event()

        def work():
            while not leaving.is_set():
                # Long enough to join in: where the timeout of a poll ends between a leader's SyncGroup and
                # its answer, version 3.0.12 loses the assignment and sends no heartbeat any more.
                for messages in consumer.poll(timeout_ms=3000).values():
                    for message in messages:
                        seen(message.partition, message.value)
                    consumer.commit()
            consumer.close()

        thread = threading.Thread(target=work)
        thread.start()

        def leave():
            leaving.set()
            thread.join()

        return leave


class AioKafka:
    """Runs the asyncio client on a loop of its own thread, so that the checks read the same."""

    name = "aiokafka"

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.producers = {}
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def after_refusal(self):
        """Nothing: the producer goes on."""

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def create_topic(self, topic, partitions):
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        async def work():
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            await admin.start()
            await admin.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])
            await admin.close()

        self.wait(work())

    def produce(self, topic, compression, partition, values):
        from aiokafka import AIOKafkaProducer

        async def work():
            if compression not in self.producers:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap,
                    acks="all",
                    compression_type=None if compression == "none" else compression,
                )
                await producer.start()
                self.producers[compression] = producer
            producer = self.producers[compression]
            sent = [await producer.send(topic, value, partition=partition) for value in values]
            for future in sent:
                await future

        self.wait(work())

    def consume(self, topic, count):
        from aiokafka import AIOKafkaConsumer

        async def work():
            consumer = AIOKafkaConsumer(
                topic,
                bootstrap_servers=self.bootstrap,
                group_id=f"reader-{uuid.uuid4()}",
                auto_offset_reset="earliest",
            )
            await consumer.start()
            values = []
            while len(values) < count:
                values.append((await consumer.getone()).value)
            await consumer.stop()
            return values

        return self.wait(work())

    def join(self, group, topic, seen):
        from aiokafka import AIOKafkaConsumer

        consumer = None
        leaving = threading.Event()

        async def work():
            nonlocal consumer
            consumer = AIOKafkaConsumer(
                topic,
                bootstrap_servers=self.bootstrap,
                group_id=group,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=10000,
                heartbeat_interval_ms=300,
            )
            await consumer.start()
            while not leaving.is_set():
                for messages in (await consumer.getmany(timeout_ms=100)).values():
                    for message in messages:
                        seen(message.partition, message.value)
                    await consumer.commit()
            await consumer.stop()

        running = asyncio.run_coroutine_threadsafe(work(), self.loop)

        def leave():
            leaving.set()
            running.result(PATIENCE)

        return leave


def roundtrip(library, registry):
    topic = f"{library.name}-avro"
    schema_id = register(registry, f"{topic}-value")
    for compression in COMPRESSIONS:
        library.produce(topic, compression, None, [order(schema_id, n, "ada") for n in range(20)])
    values = library.consume(topic, 100)
    assert values == [order(schema_id, n % 20, "ada") for n in range(100)], values
    print("avro 100 records, 5 compressions")


def group(library):
    """Two members share four partitions, one leaves, the other takes all and nothing comes twice."""
    topic = f"{library.name}-group"
    library.create_topic(topic, 4)
    seen = []
    holders = [set(), set()]

    def collect(who):
        def record(partition, value):
            if value.startswith(b"probe"):
                holders[who].add(partition)
            else:
                seen.append(value)

        return record

    leave_first = library.join(topic, topic, collect(0))
    leave_second = library.join(topic, topic, collect(1))

    def settled(first, second):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            holders[0].clear()
            holders[1].clear()
            for partition in range(4):
                library.produce(topic, "none", partition, [b"probe"])
            for _ in range(20):
                time.sleep(0.1)
                if (len(holders[0]), len(holders[1])) == (first, second):
                    return
        raise AssertionError(f"the group did not settle: {holders}")

    def everything(letter, total):
        for partition in range(4):
            library.produce(topic, "none", partition, [f"{letter}{partition}".encode()])
        deadline = time.monotonic() + PATIENCE
        while len(set(seen)) < total:
            assert time.monotonic() < deadline, f"{len(seen)} of {total} records came"
            time.sleep(0.05)

    settled(2, 2)
    everything("v", 4)
    leave_second()
    settled(4, 0)
    everything("w", 8)
    leave_first()
    assert len(seen) == len(set(seen)), f"delivered again after a commit: {seen}"


def reject(library, registry, topic):
    schema_id = register(registry, f"{topic}-value")
    good = order(schema_id, 1, "ada")
    bad = struct.pack(">bI", 0, schema_id) + b"garbage"
    library.produce(topic, "none", None, [good])
    try:
        library.produce(topic, "none", None, [bad])
    except Exception as error:  # each library has its own class for error 87
        print("refused", repr(error))
        assert "87" in repr(error) or "InvalidRecord" in repr(error) or "Unknown" in repr(error), repr(error)
    else:
        raise AssertionError("the bad record was accepted")
    library.after_refusal()
    library.produce(topic, "none", None, [good, good])
    assert len(library.consume(topic, 3)) == 3


def produce(library, topic, count):
    for at in range(0, count, 10):
        values = [f"py-{number}" for number in range(at, at + 10)]
        library.produce(topic, "none", None, [value.encode() for value in values])
        for value in values:
            print("acked", value, flush=True)


def consume(library, topic, count):
    for value in library.consume(topic, count):
        print("value", value.decode(errors="replace"))


def main():
    name, word, bootstrap, *rest = sys.argv[1:]
    library = {"kafka-python": KafkaPython, "aiokafka": AioKafka}[name](bootstrap)
    if word == "roundtrip":
        roundtrip(library, rest[0])
    elif word == "group":
        group(library)
    elif word == "reject":
        reject(library, rest[0], rest[1])
    elif word == "produce":
        produce(library, rest[0], int(rest[1]))
    elif word == "consume":
        consume(library, rest[0], int(rest[1]))
    else:
        raise SystemExit(f"unknown word {word}")
    print("ok", word, flush=True)
    # Producers of the libraries have threads that would keep the process.
    os._exit(0)


main()
