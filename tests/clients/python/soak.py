"""Mixed load through kills of the broker, and an oracle of what was acknowledged.

`soak.py BOOTSTRAP REGISTRY SECONDS WINDOW_SECONDS`: producers raw and validated, a transactional one,
a group of two consumers, and one whose records must be refused. Then everything is read again. One
line of JSON tells what was acknowledged, how long it took, and what is wrong.
"""

import json
import struct
import sys
import threading
import time
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

RAW, VALIDATED, TRANSFERS = "soak-raw", "soak-validated", "soak-transfers"
PARTITIONS = {RAW: 6, VALIDATED: 3, TRANSFERS: 3}
RECORDS_A_SECOND = 300
TRANSFER_RECORDS = 5
# A broker that is killed again and again must not make a client give up.
PATIENCE_MS = 600_000
CONNECTION = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500, "log_level": 2}
PROBLEMS_MAX = 20

problems = []


def problem(text):
    if len(problems) < PROBLEMS_MAX:
        problems.append(text)


class Numbers:
    """An idempotent producer of numbered values, acks=all; remembers what was acknowledged."""

    def __init__(self, bootstrap, topic, encode):
        self.topic, self.encode = topic, encode
        self.offsets = {}
        self.latencies = []
        self.sent = 0
        self.producer = Producer(
            {
                **CONNECTION,
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": PATIENCE_MS,
            }
        )

    def delivered(self, number, error, message):
        if error is not None:
            problem(f"{self.topic}: {number} was given up: {error}")
            return
        self.offsets[number] = message.offset()
        self.latencies.append((time.time(), message.latency()))

    def run(self, until):
        start = time.time()
        while time.time() < until:
            if self.sent > (time.time() - start) * RECORDS_A_SECOND:
                self.producer.poll(0.005)
                continue
            try:
                self.producer.produce(
                    self.topic,
                    self.encode(self.sent),
                    partition=self.sent % PARTITIONS[self.topic],
                    on_delivery=partial(self.delivered, self.sent),
                )
                self.sent += 1
            except BufferError:
                self.producer.poll(0.05)
        if self.producer.flush(120) > 0:
            problem(f"{self.topic}: not everything was acknowledged two minutes after the end")


class Transfers:
    """A transactional producer: every transaction writes to all partitions, one in five is aborted."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.ends = {}

    def begin(self):
        """A new incarnation, which aborts what the one before left open."""
        while True:
            producer = Producer(
                {
                    **CONNECTION,
                    "bootstrap.servers": self.bootstrap,
                    "transactional.id": "soak",
                    "transaction.timeout.ms": 60_000,
                    "message.timeout.ms": 60_000,
                }
            )
            try:
                self.retried(partial(producer.init_transactions, 30))
                return producer
            except KafkaException:
                continue

    def run(self, until):
        producer, number = None, 0
        while time.time() < until:
            producer = producer or self.begin()
            number += 1
            try:
                producer.begin_transaction()
                for record in range(TRANSFER_RECORDS):
                    producer.produce(
                        TRANSFERS,
                        f"{number}/{record}".encode(),
                        partition=record % PARTITIONS[TRANSFERS],
                    )
                self.ends[number] = "aborted"
                if number % 5 == 0:
                    self.retried(partial(producer.abort_transaction, 30))
                else:
                    self.ends[number] = "unknown"
                    self.retried(partial(producer.commit_transaction, 30))
                    self.ends[number] = "committed"
            except KafkaException as failure:
                producer = self.after(producer, failure.args[0], number)

    def after(self, producer, error, number):
        if not error.txn_requires_abort():
            return None
        try:
            self.retried(partial(producer.abort_transaction, 30))
            # Aborting was possible: it was not committed.
            self.ends[number] = "aborted"
            return producer
        except KafkaException:
            return None

    @staticmethod
    def retried(call):
        while True:
            try:
                return call()
            except KafkaException as failure:
                if not failure.args[0].retriable():
                    raise


def refused(bootstrap, until, counts):
    """Sends what breaks its schema; nobody may acknowledge it."""
    producer = Producer(
        {**CONNECTION, "bootstrap.servers": bootstrap, "retries": 0, "message.timeout.ms": 5_000}
    )

    def delivered(error, message):
        if error is None:
            problem(f"a record that breaks its schema is stored at {message.offset()}")
        elif error.code() == KafkaError.INVALID_RECORD:
            counts["refused"] += 1

    while time.time() < until:
        producer.produce(VALIDATED, b"not framed at all", partition=0, on_delivery=delivered)
        producer.poll(0.2)
    producer.flush(30)


class Member:
    """A member of a consumer group: sees every offset of a partition in turn."""

    def __init__(self, bootstrap):
        self.consumer = Consumer(
            {
                **CONNECTION,
                "bootstrap.servers": bootstrap,
                "group.id": "soak",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 45_000,
            }
        )
        self.next = {}
        self.ends = {}
        self.count = 0

    def assigned(self, _consumer, partitions):
        for partition in partitions:
            self.next.pop(partition.partition, None)

    def run(self, stop):
        self.consumer.subscribe([RAW], on_assign=self.assigned)
        while not stop.is_set():
            message = self.consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            partition, offset = message.partition(), message.offset()
            expected = self.next.get(partition, offset)
            if offset != expected:
                problem(f"the group was given offset {offset} of {RAW}-{partition} after {expected - 1}")
            self.next[partition] = offset + 1
            self.ends[partition] = max(self.ends.get(partition, 0), offset + 1)
            self.count += 1
            if self.count % 200 == 0:
                try:
                    self.consumer.commit(asynchronous=True)
                except KafkaException:
                    # It goes on from an older commit after the next rebalance.
                    pass
        self.consumer.close()


def read_all(bootstrap, topic):
    """(partition, offset, value) of everything that a read-committed consumer sees."""
    consumer = Consumer(
        {
            **CONNECTION,
            "bootstrap.servers": bootstrap,
            "group.id": "soak-verify",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, at, 0) for at in range(PARTITIONS[topic])])
    at_end, deadline = set(), time.time() + 600
    while len(at_end) < PARTITIONS[topic] and time.time() < deadline:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is None:
                yield message.partition(), message.offset(), message.value()
            elif message.error().code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition())
    if len(at_end) < PARTITIONS[topic]:
        problem(f"{topic} could not be read to its end")
    consumer.close()


def verify_numbers(bootstrap, numbers, decode):
    stored = {}
    for partition, offset, value in read_all(bootstrap, numbers.topic):
        number = decode(value)
        if number in stored:
            problem(f"{numbers.topic}: {number} is stored twice, at {stored[number]} and {offset}")
        stored[number] = offset
        if number % PARTITIONS[numbers.topic] != partition:
            problem(f"{numbers.topic}: {number} is in partition {partition}")
    for number, offset in numbers.offsets.items():
        if stored.get(number) != offset:
            problem(f"{numbers.topic}: {number} was acknowledged at {offset}, is at {stored.get(number)}")
    return len(stored)


def verify_transfers(bootstrap, transfers):
    seen = {}
    for _, _, value in read_all(bootstrap, TRANSFERS):
        number, record = (int(part) for part in value.decode().split("/"))
        records = seen.setdefault(number, [])
        if record in records:
            problem(f"{TRANSFERS}: record {record} of transaction {number} is there twice")
        records.append(record)
    for number, end in transfers.ends.items():
        count = len(seen.get(number, []))
        if {"committed": count != TRANSFER_RECORDS, "aborted": count > 0}.get(
            end, count not in (0, TRANSFER_RECORDS)
        ):
            problem(f"{TRANSFERS}: {count} records of transaction {number}, which is {end}")
    return len(seen)


def percentile(sorted_values, percent):
    if not sorted_values:
        return 0
    return sorted_values[min(len(sorted_values) - 1, len(sorted_values) * percent // 100)]


def windows(start, seconds, window_seconds, latencies):
    """Acknowledged records, and p50 and p99 in ms, of each window."""
    found = []
    for at in range(0, seconds, window_seconds):
        values = sorted(
            latency * 1_000
            for when, latency in latencies
            if start + at <= when < start + at + window_seconds
        )
        found.append([len(values), round(percentile(values, 50), 1), round(percentile(values, 99), 1)])
    return found


def main():
    bootstrap, registry, seconds, window_seconds = sys.argv[1:]
    seconds, window_seconds = int(seconds), int(window_seconds)
    schema = '{"type":"record","name":"N","fields":[{"name":"n","type":"long"},{"name":"pad","type":"string"}]}'
    client = SchemaRegistryClient({"url": registry})
    schema_id = client.register_schema(f"{VALIDATED}-value", Schema(schema, "AVRO"))

    def long(number):
        number, out = number << 1, bytearray()
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
        return bytes(out)

    def encode_avro(number):
        return struct.pack(">bI", 0, schema_id) + long(number) + long(80) + b"x" * 80

    def decode_avro(value):
        number, shift = 0, 0
        for byte in value[5:]:
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return number >> 1

    raw = Numbers(bootstrap, RAW, lambda number: b"%d " % number + b"x" * 80)
    validated = Numbers(bootstrap, VALIDATED, encode_avro)
    transfers = Transfers(bootstrap)
    members = [Member(bootstrap), Member(bootstrap)]
    counts = {"refused": 0}
    start, stop = time.time(), threading.Event()
    until = start + seconds
    producing = [
        threading.Thread(target=raw.run, args=(until,)),
        threading.Thread(target=validated.run, args=(until,)),
        threading.Thread(target=transfers.run, args=(until,)),
        threading.Thread(target=refused, args=(bootstrap, until, counts)),
    ]
    consuming = [threading.Thread(target=member.run, args=(stop,)) for member in members]
    print("started", flush=True)
    for thread in producing + consuming:
        thread.start()
    for thread in producing:
        thread.join()
    ends = {}
    for number, offset in raw.offsets.items():
        partition = number % PARTITIONS[RAW]
        ends[partition] = max(ends.get(partition, 0), offset + 1)
    deadline = time.time() + 120
    reached = False
    while not reached and time.time() < deadline:
        time.sleep(0.2)
        consumed = [max(member.ends.get(at, 0) for member in members) for at in range(PARTITIONS[RAW])]
        reached = all(consumed[at] >= end for at, end in ends.items())
    stop.set()
    for thread in consuming:
        thread.join()
    if not reached:
        problem(f"the group consumed up to {consumed}, of {ends}")
    raw_stored = verify_numbers(bootstrap, raw, lambda value: int(value.split(b" ")[0]))
    validated_stored = verify_numbers(bootstrap, validated, decode_avro)
    transactions = verify_transfers(bootstrap, transfers)
    ended = list(transfers.ends.values())
    print(
        json.dumps(
            {
                "acknowledged": len(raw.offsets) + len(validated.offsets),
                "stored": raw_stored + validated_stored,
                "committed": ended.count("committed"),
                "aborted": ended.count("aborted"),
                "unknown": ended.count("unknown"),
                "transactions": transactions,
                "refused": counts["refused"],
                "consumed": sum(member.count for member in members),
                "windows": windows(start, seconds, window_seconds, raw.latencies + validated.latencies),
                "problems": problems,
            }
        )
    )


main()
