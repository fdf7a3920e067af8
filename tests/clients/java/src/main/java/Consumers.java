import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Consumers whose partitions the broker assigns: {@code group.protocol=consumer} (KIP-848). */
final class Consumers {
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private Consumers() {}

  private static void check(boolean condition, String text) {
    if (!condition) throw new AssertionError(text);
  }

  private static Admin admin(String bootstrap) {
    return Admin.create(Map.of("bootstrap.servers", bootstrap));
  }

  private static void create(Admin admin, String topic, int partitions) throws Exception {
    admin.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()))).all().get();
  }

  private static KafkaConsumer<byte[], byte[]> member(String bootstrap, String group, Map<String, String> more) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("group.id", group);
    properties.put("group.protocol", "consumer");
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("metadata.max.age.ms", "1000");
    properties.putAll(more);
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static void produceRound(String bootstrap, String topic, int partitions, String letter) throws Exception {
    Map<String, Object> properties = Map.of("bootstrap.servers", bootstrap);
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (int partition = 0; partition < partitions; partition++) {
        producer.send(new ProducerRecord<>(topic, partition, null, (letter + partition).getBytes())).get();
      }
    }
  }

  private interface Condition {
    boolean holds() throws Exception;
  }

  private static void poll(Collection<KafkaConsumer<byte[], byte[]>> members, List<String> seen, Condition condition)
      throws Exception {
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.holds()) {
      check(System.nanoTime() < deadline,
          "group did not settle: " + members.stream().map(m -> m.assignment()).toList() + " seen " + seen);
      for (KafkaConsumer<byte[], byte[]> member : members) {
        for (ConsumerRecord<byte[], byte[]> record : member.poll(Duration.ofMillis(100))) {
          seen.add(new String(record.value()));
        }
      }
    }
  }

  private static ConsumerGroupDescription describe(Admin admin, String group) throws Exception {
    return admin.describeConsumerGroups(List.of(group)).all().get().get(group);
  }

  /** Two members share; one leaves; topics grow and match; static members; administration. */
  static void groups(String bootstrap) throws Exception {
    try (Admin admin = admin(bootstrap)) {
      short level = admin.describeFeatures().featureMetadata().get().finalizedFeatures()
          .get("group.version").maxVersionLevel();
      check(level == 1, "group.version " + level);
      share(bootstrap, admin);
      patterns(bootstrap, admin);
      staticMembers(bootstrap, admin);
      migrate(bootstrap, admin, "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
      migrate(bootstrap, admin, "org.apache.kafka.clients.consumer.RangeAssignor");
    }
  }

  private static void share(String bootstrap, Admin admin) throws Exception {
    String topic = "java-consumers";
    create(admin, topic, 4);
    List<String> seen = new ArrayList<>();
    KafkaConsumer<byte[], byte[]> first = member(bootstrap, topic, Map.of());
    KafkaConsumer<byte[], byte[]> second = member(bootstrap, topic, Map.of("group.remote.assignor", "range"));
    first.subscribe(List.of(topic));
    poll(List.of(first), seen, () -> first.assignment().size() == 4);
    second.subscribe(List.of(topic));
    poll(List.of(first, second), seen, () -> first.assignment().size() == 2 && second.assignment().size() == 2);
    produceRound(bootstrap, topic, 4, "v");
    poll(List.of(first, second), seen, () -> seen.size() == 4);
    first.commitSync();
    second.commitSync();

    ConsumerGroupDescription described = describe(admin, topic);
    check(described.type() == GroupType.CONSUMER, "type " + described.type());
    check(described.groupState().toString().equals("Stable"), "state " + described.groupState());
    check(described.partitionAssignor().equals("range"), "assignor " + described.partitionAssignor());
    Set<TopicPartition> all = new HashSet<>();
    described.members().forEach(member -> {
      check(member.assignment().equals(member.targetAssignment().get()), "target of " + member);
      check(member.memberEpoch().get().equals(described.groupEpoch().get()), "epoch of " + member);
      all.addAll(member.assignment().topicPartitions());
    });
    check(all.size() == 4 && described.members().size() == 2, "members " + described.members());
    check(admin.listGroups(ListGroupsOptions.forConsumerGroups()).all().get().stream()
        .anyMatch(group -> group.groupId().equals(topic) && group.type().get() == GroupType.CONSUMER), "not listed");
    check(admin.deleteConsumerGroups(List.of(topic)).all().isCompletedExceptionally()
        || fails(() -> admin.deleteConsumerGroups(List.of(topic)).all().get()), "deleted while in use");

    second.close();
    poll(List.of(first), seen, () -> first.assignment().size() == 4);
    produceRound(bootstrap, topic, 4, "w");
    poll(List.of(first), seen, () -> seen.size() >= 8);
    check(seen.size() == 8, "delivered again after a commit: " + seen);
    first.commitSync();
    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all().get();
    poll(List.of(first), seen, () -> first.assignment().size() == 6);
    first.close();
    admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().forEach((partition, offset) ->
        check(offset.offset() == 2, partition + " committed " + offset));
    admin.deleteConsumerGroups(List.of(topic)).all().get();
  }

  private interface Action {
    void run() throws Exception;
  }

  private static boolean fails(Action action) {
    try {
      action.run();
      return false;
    } catch (Exception expected) {
      return true;
    }
  }

  /** A regular expression of the broker's: topics that come later are assigned too. */
  private static void patterns(String bootstrap, Admin admin) throws Exception {
    create(admin, "java-pattern-a", 1);
    create(admin, "not-java-pattern-a", 1);
    List<String> seen = new ArrayList<>();
    try (KafkaConsumer<byte[], byte[]> consumer = member(bootstrap, "java-pattern", Map.of())) {
      consumer.subscribe(new SubscriptionPattern("java-pattern-.*"));
      poll(List.of(consumer), seen, () -> topics(consumer).equals(Set.of("java-pattern-a")));
      create(admin, "java-pattern-b", 2);
      poll(List.of(consumer), seen, () -> consumer.assignment().size() == 3);
      admin.deleteTopics(List.of("java-pattern-a")).all().get();
      poll(List.of(consumer), seen, () -> topics(consumer).equals(Set.of("java-pattern-b")));
    }
    try (KafkaConsumer<byte[], byte[]> consumer = member(bootstrap, "java-pattern-bad", Map.of())) {
      consumer.subscribe(new SubscriptionPattern("java-(pattern"));
      try {
        poll(List.of(consumer), seen, () -> false);
        throw new AssertionError("a pattern that is none was taken");
      } catch (InvalidRegularExpression refused) {
        check(refused.getMessage().contains("java-(pattern"), refused.getMessage());
      }
    }
  }

  private static Set<String> topics(KafkaConsumer<byte[], byte[]> consumer) {
    Set<String> topics = new TreeSet<>();
    consumer.assignment().forEach(partition -> topics.add(partition.topic()));
    return topics;
  }

  /** A static member that closes keeps its partitions for its next incarnation. */
  private static void staticMembers(String bootstrap, Admin admin) throws Exception {
    String topic = "java-static";
    create(admin, topic, 4);
    List<String> seen = new ArrayList<>();
    Map<String, String> instance = Map.of("group.instance.id", "one");
    KafkaConsumer<byte[], byte[]> one = member(bootstrap, topic, instance);
    KafkaConsumer<byte[], byte[]> two = member(bootstrap, topic, Map.of("group.instance.id", "two"));
    one.subscribe(List.of(topic));
    two.subscribe(List.of(topic));
    poll(List.of(one, two), seen, () -> one.assignment().size() == 2 && two.assignment().size() == 2);
    Set<TopicPartition> before = one.assignment();
    int epoch = describe(admin, topic).groupEpoch().get();
    KafkaConsumer<byte[], byte[]> twin = member(bootstrap, topic, instance);
    twin.subscribe(List.of(topic));
    poll(List.of(one, two), seen, () -> {
      try {
        twin.poll(Duration.ofMillis(100));
        return false;
      } catch (UnreleasedInstanceIdException refused) {
        return true;
      }
    });
    twin.close();
    one.close();
    KafkaConsumer<byte[], byte[]> again = member(bootstrap, topic, instance);
    again.subscribe(List.of(topic));
    poll(List.of(again, two), seen, () -> again.assignment().size() == 2);
    check(again.assignment().equals(before), before + " became " + again.assignment());
    check(two.assignment().size() == 2, "the other was disturbed");
    check(describe(admin, topic).groupEpoch().get() == epoch, "a rebalance for a static member");
    again.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    poll(List.of(two), seen, () -> two.assignment().size() == 4);
    two.close();
  }

  /** A member of the classic protocol, then one of each, then the classic one alone. */
  private static void migrate(String bootstrap, Admin admin, String assignor) throws Exception {
    String topic = "java-migrate-" + assignor.substring(assignor.lastIndexOf('.') + 1);
    create(admin, topic, 4);
    List<String> seen = new ArrayList<>();
    KafkaConsumer<byte[], byte[]> old = member(bootstrap, topic, Map.of(
        "group.protocol", "classic", "partition.assignment.strategy", assignor,
        "session.timeout.ms", "10000", "heartbeat.interval.ms", "500"));
    old.subscribe(List.of(topic));
    poll(List.of(old), seen, () -> old.assignment().size() == 4);
    check(describe(admin, topic).type() == GroupType.CLASSIC, "not classic at first");
    KafkaConsumer<byte[], byte[]> fresh = member(bootstrap, topic, Map.of());
    fresh.subscribe(List.of(topic));
    poll(List.of(old, fresh), seen, () -> old.assignment().size() == 2 && fresh.assignment().size() == 2);
    ConsumerGroupDescription described = describe(admin, topic);
    check(described.type() == GroupType.CONSUMER, "type " + described.type());
    check(described.members().stream().filter(member -> member.upgraded().get()).count() == 1, "upgraded " + described);
    produceRound(bootstrap, topic, 4, "v");
    poll(List.of(old, fresh), seen, () -> seen.size() == 4);
    old.commitSync();
    fresh.commitSync();
    fresh.close();
    poll(List.of(old), seen, () -> old.assignment().size() == 4);
    check(describe(admin, topic).type() == GroupType.CLASSIC, "not classic again");
    produceRound(bootstrap, topic, 4, "w");
    poll(List.of(old), seen, () -> seen.size() >= 8);
    check(seen.size() == 8, "delivered again after a commit: " + seen);
    old.close();
  }

  /**
   * Two members read a topic and commit, whatever happens to the broker: every record at least once,
   * in the end, and a line for each commit.
   */
  static void follow(String bootstrap, String topic, int count) throws Exception {
    List<KafkaConsumer<byte[], byte[]>> members =
        List.of(member(bootstrap, topic, Map.of()), member(bootstrap, topic, Map.of()));
    Set<String> seen = new HashSet<>();
    members.forEach(member -> member.subscribe(List.of(topic)));
    long deadline = System.nanoTime() + Duration.ofSeconds(240).toNanos();
    while (seen.size() < count) {
      check(System.nanoTime() < deadline, "read " + seen.size() + " of " + count);
      for (KafkaConsumer<byte[], byte[]> member : members) {
        for (ConsumerRecord<byte[], byte[]> record : member.poll(Duration.ofMillis(100))) {
          seen.add(new String(record.value()));
        }
        try {
          member.commitSync(Duration.ofSeconds(2));
          System.out.println("committed " + seen.size());
        } catch (org.apache.kafka.common.KafkaException again) {
          System.out.println("not committed " + again);
        }
      }
    }
    List<String> rest = new ArrayList<>();
    poll(members, rest, () -> members.stream().allMatch(member -> member.assignment().size() == 2));
    for (KafkaConsumer<byte[], byte[]> member : members) member.commitSync();
    long committed = 0;
    try (Admin admin = admin(bootstrap)) {
      for (OffsetAndMetadata offset :
          admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().values()) {
        committed += offset.offset();
      }
    }
    check(committed == count, "committed " + committed + " of " + count);
    for (KafkaConsumer<byte[], byte[]> member : members) member.close();
  }
}
