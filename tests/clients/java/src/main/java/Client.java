import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's Java clients with their defaults: the idempotent producer among them. */
public final class Client {
  private static final List<String> COMPRESSIONS = List.of("none", "gzip", "snappy", "lz4", "zstd");
  private static final String SCHEMA =
      "{\"type\":\"record\",\"name\":\"Order\",\"namespace\":\"shop\",\"fields\":["
          + "{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"customer\",\"type\":\"string\"}]}";

  public static void main(String[] arguments) throws Exception {
    String[] rest = Arrays.copyOfRange(arguments, 1, arguments.length);
    switch (arguments[0]) {
      case "roundtrip" -> roundtrip(rest[0], rest[1]);
      case "group" -> group(rest[0]);
      case "consumers" -> Consumers.groups(rest[0]);
      case "follow" -> Consumers.follow(rest[0], rest[1], Integer.parseInt(rest[2]));
      case "reject" -> reject(rest[0], rest[1], rest[2]);
      case "registry" -> ConfluentRegistry.run(rest[0], rest[1]);
      case "produce" -> produce(rest[0], rest[1], Integer.parseInt(rest[2]));
      case "consume" -> consume(rest[0], rest[1], Integer.parseInt(rest[2]));
      case "administer" -> Administration.run(rest[0], rest[1]);
      case "transact" -> transact(rest[0]);
      case "transfer" -> transfer(rest[0], rest[1], rest[2], Integer.parseInt(rest[3]));
      default -> throw new IllegalArgumentException(arguments[0]);
    }
    System.out.println("ok " + arguments[0]);
    System.exit(0);
  }

  private static void check(boolean condition, String text) {
    if (!condition) throw new AssertionError(text);
  }

  private static KafkaProducer<byte[], byte[]> producer(String bootstrap, String compression) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("compression.type", compression);
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap, String group) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("group.id", group);
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("session.timeout.ms", "10000");
    properties.put("heartbeat.interval.ms", "500");
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static int register(String registry, String subject) throws Exception {
    String body = "{\"schema\":\"" + SCHEMA.replace("\"", "\\\"") + "\"}";
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(registry + "/subjects/" + subject + "/versions"))
            .header("Content-Type", "application/vnd.schemaregistry.v1+json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    HttpResponse<String> response =
        HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    Matcher id = Pattern.compile("\"id\":(\\d+)").matcher(response.body());
    check(id.find(), "no id in " + response.body());
    return Integer.parseInt(id.group(1));
  }

  /** Confluent framing and the Avro encoding of {id, customer}; both fit one varint byte here. */
  private static byte[] order(int schemaId, int id, String customer) {
    byte[] text = customer.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(7 + text.length)
        .put((byte) 0)
        .putInt(schemaId)
        .put((byte) (id << 1))
        .put((byte) (text.length << 1))
        .put(text)
        .array();
  }

  private static List<byte[]> consumeAll(String bootstrap, String topic, int count) {
    List<byte[]> values = new ArrayList<>();
    try (KafkaConsumer<byte[], byte[]> consumer = consumer(bootstrap, "reader-" + UUID.randomUUID())) {
      consumer.subscribe(List.of(topic));
      long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
      while (values.size() < count && System.nanoTime() < deadline) {
        consumer.poll(Duration.ofMillis(200)).forEach(record -> values.add(record.value()));
      }
    }
    check(values.size() == count, topic + ": " + values.size() + " of " + count + " records");
    return values;
  }

  private static void roundtrip(String bootstrap, String registry) throws Exception {
    String topic = "java-avro";
    int schemaId = register(registry, topic + "-value");
    int count = 0;
    for (String compression : COMPRESSIONS) {
      try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, compression)) {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int number = 0; number < 20; number++) {
          sent.add(producer.send(new ProducerRecord<>(topic, order(schemaId, number, "ada"))));
          count++;
        }
        for (Future<RecordMetadata> metadata : sent) metadata.get();
      }
    }
    for (byte[] value : consumeAll(bootstrap, topic, count)) {
      check(Arrays.equals(value, order(schemaId, value[5] >> 1, "ada")), "value changed");
    }
    System.out.println("avro " + count + " records, " + COMPRESSIONS.size() + " compressions");
    administer(bootstrap, topic);
  }

  /** What UIs and tools ask of a broker. */
  private static void administer(String bootstrap, String topic) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      check(admin.describeCluster().nodes().get().size() == 1, "nodes");
      check(admin.listTopics().names().get().contains(topic), "topic not listed");
      check(
          admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 1,
          "partitions");
      ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
      check(
          admin.describeConfigs(List.of(resource)).all().get().get(resource).get("cleanup.policy")
              .value().equals("delete"),
          "cleanup.policy");
    }
  }

  private static void group(String bootstrap) throws Exception {
    String topic = "java-group";
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(List.of(new NewTopic(topic, Optional.of(4), Optional.empty()))).all().get();
    }
    KafkaConsumer<byte[], byte[]> first = consumer(bootstrap, "java-group");
    KafkaConsumer<byte[], byte[]> second = consumer(bootstrap, "java-group");
    first.subscribe(List.of(topic));
    second.subscribe(List.of(topic));
    List<String> seen = new ArrayList<>();
    poll(List.of(first, second), seen, () -> first.assignment().size() == 2 && second.assignment().size() == 2);
    produceRound(bootstrap, topic, "v");
    poll(List.of(first, second), seen, () -> seen.size() == 4);
    first.commitSync();
    second.commitSync();
    second.close();
    poll(List.of(first), seen, () -> first.assignment().size() == 4);
    produceRound(bootstrap, topic, "w");
    poll(List.of(first), seen, () -> seen.size() >= 8);
    check(seen.size() == 8, "delivered again after a commit: " + seen);
    first.commitSync();
    Set<TopicPartition> partitions = first.assignment();
    first.committed(partitions).forEach((partition, offset) ->
        check(offset != null && offset.offset() == 2, partition + " committed " + offset));
    first.close();
  }

  private static void produceRound(String bootstrap, String topic, String letter) throws Exception {
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "none")) {
      for (int partition = 0; partition < 4; partition++) {
        producer.send(new ProducerRecord<>(topic, partition, null, (letter + partition).getBytes())).get();
      }
    }
  }

  private interface Condition {
    boolean holds();
  }

  private static void poll(
      Collection<KafkaConsumer<byte[], byte[]>> members, List<String> seen, Condition condition) {
    long deadline = System.nanoTime() + Duration.ofSeconds(40).toNanos();
    while (!condition.holds()) {
      check(System.nanoTime() < deadline,
          "group did not settle: " + members.stream().map(m -> m.assignment().size()).toList() + " seen " + seen);
      for (KafkaConsumer<byte[], byte[]> member : members) {
        member.poll(Duration.ofMillis(100)).forEach(record -> seen.add(new String(record.value())));
      }
    }
  }

  private static void reject(String bootstrap, String registry, String topic) throws Exception {
    int schemaId = register(registry, topic + "-value");
    byte[] good = order(schemaId, 1, "ada");
    byte[] bad = ByteBuffer.allocate(12).put((byte) 0).putInt(schemaId).put("garbage".getBytes()).array();
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "none")) {
      producer.send(new ProducerRecord<>(topic, good)).get();
      String text = null;
      try {
        producer.send(new ProducerRecord<>(topic, bad)).get();
      } catch (ExecutionException error) {
        check(error.getCause() instanceof InvalidRecordException, "exception " + error.getCause());
        text = error.getCause().getMessage();
      }
      check(text != null, "the bad record was accepted");
      check(text.contains("ASY-"), "the broker's reason is missing: " + text);
      System.out.println("reason " + text);
      producer.send(new ProducerRecord<>(topic, good)).get();
      producer.send(new ProducerRecord<>(topic, good)).get();
    }
    consumeAll(bootstrap, topic, 3);
  }

  private static void produce(String bootstrap, String topic, int count) throws Exception {
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "none")) {
      for (int number = 0; number < count; number++) {
        String value = "java-" + number;
        producer.send(
            new ProducerRecord<>(topic, value.getBytes()),
            (metadata, error) -> {
              if (error == null) System.out.println("acked " + value);
            });
        if (number % 10 == 0) Thread.sleep(1);
      }
      producer.flush();
    }
  }

  private static KafkaProducer<byte[], byte[]> transactional(String bootstrap, String id) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("transactional.id", id);
    properties.put("transaction.timeout.ms", "60000");
    properties.put("max.block.ms", "60000");
    KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    producer.initTransactions();
    return producer;
  }

  private static KafkaConsumer<byte[], byte[]> readCommitted(String bootstrap, String group) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("group.id", group);
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("isolation.level", "read_committed");
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static void transact(String bootstrap) throws Exception {
    String topic = "java-transact";
    List<TopicPartition> partitions = List.of(
        new TopicPartition(topic, 0), new TopicPartition(topic, 1), new TopicPartition(topic, 2));
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(List.of(new NewTopic(topic, Optional.of(3), Optional.empty()))).all().get();
      // The feature that makes this client use transactions of version 2.
      short level = admin.describeFeatures().featureMetadata().get().finalizedFeatures()
          .get("transaction.version").maxVersionLevel();
      check(level == 2, "transaction.version " + level);
      KafkaProducer<byte[], byte[]> producer = transactional(bootstrap, topic);
      Set<String> committed = new HashSet<>();
      for (int number = 0; number < 12; number++) {
        producer.beginTransaction();
        List<String> values = new ArrayList<>();
        for (int at = 0; at < 6; at++) {
          String value = number + "-" + at;
          values.add(value);
          producer.send(new ProducerRecord<>(topic, at % 3, null, value.getBytes()));
        }
        if (number % 3 == 2) {
          producer.flush();
          producer.abortTransaction();
        } else {
          producer.commitTransaction();
          committed.addAll(values);
        }
      }
      List<String> seen = new ArrayList<>();
      try (KafkaConsumer<byte[], byte[]> consumer = readCommitted(bootstrap, topic)) {
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
          check(System.nanoTime() < deadline, "the end was not reached");
          consumer.poll(Duration.ofMillis(200)).forEach(record -> seen.add(new String(record.value())));
        }
      }
      check(seen.size() == committed.size() && committed.containsAll(seen), "read " + seen);
      check(admin.describeTransactions(List.of(topic)).all().get().get(topic).state().toString()
          .equals("CompleteAbort"), "state");
      producer.beginTransaction();
      producer.send(new ProducerRecord<>(topic, 0, null, "zombie".getBytes())).get();
      check(admin.describeProducers(partitions).partitionResult(partitions.get(0)).get()
          .activeProducers().get(0).currentTransactionStartOffset().isPresent(), "no open transaction");
      check(admin.listTransactions().all().get().size() == 1, "listed");
      KafkaProducer<byte[], byte[]> successor = transactional(bootstrap, topic);
      try {
        producer.commitTransaction();
        throw new AssertionError("the first producer was not fenced");
      } catch (ProducerFencedException | InvalidProducerEpochException fenced) {
        System.out.println("fenced " + fenced.getMessage());
      }
      successor.beginTransaction();
      successor.send(new ProducerRecord<>(topic, 0, null, "after".getBytes()));
      successor.commitTransaction();
    }
  }

  /** Consume, transform, produce: each record of the source once in the target, whatever happens. */
  private static void transfer(String bootstrap, String source, String target, int count) {
    KafkaProducer<byte[], byte[]> producer = transactional(bootstrap, "transfer-" + target);
    KafkaConsumer<byte[], byte[]> consumer = readCommitted(bootstrap, "transfer-" + target);
    TopicPartition partition = new TopicPartition(source, 0);
    consumer.assign(List.of(partition));
    long position = rewind(consumer, partition);
    int rounds = 0;
    while (position < count) {
      List<ConsumerRecord<byte[], byte[]>> records = consumer.poll(Duration.ofMillis(500)).records(partition);
      if (records.isEmpty()) continue;
      rounds++;
      try {
        // A few at a time: there is to be a transaction open whenever the broker dies.
        List<ConsumerRecord<byte[], byte[]>> few = records.subList(0, Math.min(7, records.size()));
        producer.beginTransaction();
        for (ConsumerRecord<byte[], byte[]> record : few) {
          String value = "moved " + new String(record.value());
          producer.send(new ProducerRecord<>(target, value.getBytes()));
        }
        long after = few.get(few.size() - 1).offset() + 1;
        producer.sendOffsetsToTransaction(
            Map.of(partition, new OffsetAndMetadata(after)), consumer.groupMetadata());
        if (rounds % 5 == 0) {
          producer.flush();
          producer.abortTransaction();
          position = rewind(consumer, partition);
          continue;
        }
        commit(producer);
        position = after;
        consumer.seek(partition, after);
        System.out.println("committed " + position);
      } catch (ProducerFencedException fenced) {
        throw fenced;
      } catch (KafkaException error) {
        System.out.println("aborting " + error);
        producer.abortTransaction();
        position = rewind(consumer, partition);
      }
    }
  }

  private static void commit(KafkaProducer<byte[], byte[]> producer) {
    while (true) {
      try {
        producer.commitTransaction();
        return;
      } catch (TimeoutException error) {
        System.out.println("waiting " + error);
      }
    }
  }

  private static long rewind(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
    OffsetAndMetadata found = consumer.committed(Set.of(partition)).get(partition);
    long position = found == null ? 0 : found.offset();
    consumer.seek(partition, position);
    return position;
  }

  private static void consume(String bootstrap, String topic, int count) {
    for (byte[] value : consumeAll(bootstrap, topic, count)) {
      System.out.println("value " + new String(value, StandardCharsets.UTF_8));
    }
  }
}
