"""Consumers whose partitions the broker assigns: group.protocol=consumer (KIP-848)."""

import time

from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupType, KafkaError, KafkaException
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

PATIENCE_S = 60


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def create(admin, topic, partitions):
    for future in admin.create_topics([NewTopic(topic, num_partitions=partitions)]).values():
        future.result(15)


def member(bootstrap, group, **more):
    config = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "group.protocol": "consumer",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "topic.metadata.refresh.interval.ms": 1000,
    }
    for name, value in more.items():
        config[name if name == "log_level" else name.replace("_", ".")] = value
    return Consumer(config)


def until(condition, members, seen, text):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        check(time.monotonic() < deadline, f"{text}: {[m.assignment() for m in members]}, seen {seen}")
        for consumer in members:
            message = consumer.poll(0.1)
            if message is not None and not message.error():
                seen.append(message.value().decode())


def produce_round(bootstrap, topic, partitions, letter):
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition in range(partitions):
        producer.produce(topic, value=f"{letter}{partition}".encode(), partition=partition)
    check(producer.flush(10) == 0, "records are still queued")


def describe(admin, group):
    return admin.describe_consumer_groups([group])[group].result(15)


def consumers(bootstrap, _registry_url):
    """Two members share; one leaves; topics grow and match; static members; the other protocol."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    share(bootstrap, admin)
    patterns(bootstrap, admin)
    static_members(bootstrap, admin)
    migrate(bootstrap, admin)


def share(bootstrap, admin):
    topic = "py-consumers"
    create(admin, topic, 4)
    seen = []
    first, second = member(bootstrap, topic), member(bootstrap, topic, group_remote_assignor="range")
    for consumer in (first, second):
        consumer.subscribe([topic])
    sizes = lambda: [len(first.assignment()), len(second.assignment())]
    until(lambda: sizes() == [2, 2], [first, second], seen, "two members never shared")
    produce_round(bootstrap, topic, 4, "v")
    until(lambda: len(seen) == 4, [first, second], seen, "records did not arrive")
    first.commit(asynchronous=False)
    second.commit(asynchronous=False)
    described = describe(admin, topic)
    check(described.type == ConsumerGroupType.CONSUMER, f"type {described.type}")
    check(described.state == ConsumerGroupState.STABLE, f"state {described.state}")
    check(len(described.members) == 2, f"members {described.members}")
    listed = admin.list_consumer_groups(types={ConsumerGroupType.CONSUMER}).result(15).valid
    check(topic in [group.group_id for group in listed], f"listed {listed}")
    second.close()
    until(lambda: len(first.assignment()) == 4, [first], seen, "the member that stayed did not take over")
    produce_round(bootstrap, topic, 4, "w")
    until(lambda: len(seen) >= 8, [first], seen, "records after the rebalance did not arrive")
    check(len(seen) == 8, f"records were delivered again after a commit: {seen}")
    first.commit(asynchronous=False)
    committed = first.committed([TopicPartition(topic, p) for p in range(4)], timeout=10)
    check([c.offset for c in committed] == [2, 2, 2, 2], f"committed {committed}")
    for future in admin.create_partitions([NewPartitions(topic, 6)]).values():
        future.result(15)
    until(lambda: len(first.assignment()) == 6, [first], seen, "new partitions were not assigned")
    first.close()
    for future in admin.delete_consumer_groups([topic]).values():
        future.result(15)


def patterns(bootstrap, admin):
    create(admin, "py-pattern-a", 1)
    create(admin, "not-py-pattern-a", 1)
    consumer = member(bootstrap, "py-pattern")
    consumer.subscribe(["^py-pattern-.*"])
    topics = lambda: {partition.topic for partition in consumer.assignment()}
    until(lambda: topics() == {"py-pattern-a"}, [consumer], [], "the pattern matched otherwise")
    create(admin, "py-pattern-b", 2)
    until(lambda: len(consumer.assignment()) == 3, [consumer], [], "a topic that came later was not assigned")
    consumer.close()


def static_members(bootstrap, admin):
    topic = "py-static"
    create(admin, topic, 4)
    seen = []
    one = member(bootstrap, topic, group_instance_id="one")
    two = member(bootstrap, topic, group_instance_id="two")
    for consumer in (one, two):
        consumer.subscribe([topic])
    sizes = lambda first: [len(first.assignment()), len(two.assignment())]
    until(lambda: sizes(one) == [2, 2], [one, two], seen, "static members never shared")
    before = sorted(partition.partition for partition in one.assignment())
    one.close()
    again = member(bootstrap, topic, group_instance_id="one")
    again.subscribe([topic])
    until(lambda: len(again.assignment()) == 2, [again, two], seen, "it did not come back")
    after = sorted(partition.partition for partition in again.assignment())
    check(after == before, f"{before} became {after}")
    check(len(two.assignment()) == 2, "the other was disturbed")
    again.close()
    two.close()


def migrate(bootstrap, admin):
    """A member of the classic protocol, then one of each, then the classic one alone."""
    topic = "py-migrate"
    create(admin, topic, 4)
    seen = []
    old = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 10000,
            "heartbeat.interval.ms": 500,
        }
    )
    old.subscribe([topic])
    until(lambda: len(old.assignment()) == 4, [old], seen, "the classic member got nothing")
    check(describe(admin, topic).type == ConsumerGroupType.CLASSIC, "not classic at first")
    new = member(bootstrap, topic)
    new.subscribe([topic])
    sizes = lambda: [len(old.assignment()), len(new.assignment())]
    until(lambda: sizes() == [2, 2], [old, new], seen, "members of both protocols never shared")
    check(describe(admin, topic).type == ConsumerGroupType.CONSUMER, "not a consumer group")
    produce_round(bootstrap, topic, 4, "v")
    until(lambda: len(seen) == 4, [old, new], seen, "records did not arrive")
    old.commit(asynchronous=False)
    new.commit(asynchronous=False)
    new.close()
    until(lambda: len(old.assignment()) == 4, [old], seen, "the classic member did not take over")
    check(describe(admin, topic).type == ConsumerGroupType.CLASSIC, "not classic again")
    produce_round(bootstrap, topic, 4, "w")
    until(lambda: len(seen) >= 8, [old], seen, "records after the downgrade did not arrive")
    check(len(seen) == 8, f"records were delivered again after a commit: {seen}")
    old.close()


def follow(bootstrap, topic, count):
    """Two members read a topic and commit, whatever happens to the broker; a line for each commit."""
    # The broker is often away: nothing to be told of.
    members = [member(bootstrap, topic, log_level=0) for _ in range(2)]
    for consumer in members:
        consumer.subscribe([topic])
    seen = []
    deadline = time.monotonic() + 240
    while len(set(seen)) < int(count):
        check(time.monotonic() < deadline, f"read {len(set(seen))} of {count}")
        for consumer in members:
            message = consumer.poll(0.05)
            if message is None or message.error():
                continue
            seen.append(message.value().decode())
            try:
                consumer.commit(asynchronous=False)
                print(f"committed {len(set(seen))}", flush=True)
            except KafkaException as error:
                print(f"not committed {error}", flush=True)
    until(lambda: [len(m.assignment()) for m in members] == [2, 2], members, seen, "the group did not settle")
    for consumer in members:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            # Nothing was read since the last commit.
            check(error.args[0].code() == KafkaError._NO_OFFSET, f"error {error}")
    committed = members[0].committed([TopicPartition(topic, p) for p in range(4)], timeout=10)
    check(sum(max(c.offset, 0) for c in committed) == int(count), f"committed {committed}")
    for consumer in members:
        consumer.close()
