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
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
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
      case "reject" -> reject(rest[0], rest[1], rest[2]);
      case "produce" -> produce(rest[0], rest[1], Integer.parseInt(rest[2]));
      case "consume" -> consume(rest[0], rest[1], Integer.parseInt(rest[2]));
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

  private static void consume(String bootstrap, String topic, int count) {
    for (byte[] value : consumeAll(bootstrap, topic, count)) {
      System.out.println("value " + new String(value, StandardCharsets.UTF_8));
    }
  }
}
