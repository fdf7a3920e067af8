import io.confluent.kafka.schemaregistry.avro.AvroSchema;
import io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import io.confluent.kafka.schemaregistry.client.rest.entities.Config;
import io.confluent.kafka.schemaregistry.client.rest.entities.Metadata;
import io.confluent.kafka.schemaregistry.client.rest.entities.Rule;
import io.confluent.kafka.schemaregistry.client.rest.entities.RuleKind;
import io.confluent.kafka.schemaregistry.client.rest.entities.RuleMode;
import io.confluent.kafka.schemaregistry.client.rest.entities.RuleSet;
import io.confluent.kafka.schemaregistry.client.rest.entities.SchemaReference;
import io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException;
import io.confluent.kafka.schemaregistry.rules.RuleContext;
import io.confluent.kafka.schemaregistry.rules.RuleExecutor;
import io.confluent.kafka.serializers.KafkaAvroDeserializer;
import io.confluent.kafka.serializers.KafkaAvroSerializer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Confluent's own Java client of the registry, and its Avro serializer and deserializer. */
final class ConfluentRegistry {
  private static final String ITEM =
      "{\"type\":\"record\",\"name\":\"Item\",\"namespace\":\"shop\",\"fields\":["
          + "{\"name\":\"sku\",\"type\":\"string\"}]}";
  private static final String SUBJECT = "java-orders-value";

  static void run(String bootstrap, String registry) throws Exception {
    CachedSchemaRegistryClient client = new CachedSchemaRegistryClient(registry, 100);
    int item = client.register("java-item", new AvroSchema(ITEM));
    same(client.getSchemaById(item).canonicalString(), ITEM);

    AvroSchema first = order("");
    int id = client.register(SUBJECT, first);
    same(client.register(SUBJECT, first), id);
    same(client.getId(SUBJECT, first), id);
    AvroSchema newer = order(",{\"name\":\"qty\",\"type\":\"int\",\"default\":1}");
    same(client.testCompatibility(SUBJECT, newer), true);
    int second = client.register(SUBJECT, newer);
    same(client.getAllVersions(SUBJECT), List.of(1, 2));
    same(client.getLatestSchemaMetadata(SUBJECT).getId(), second);
    same(client.getSchemaMetadata(SUBJECT, 1).getReferences(), first.references());
    same(client.getAllSubjectsById(id).contains(SUBJECT), true);
    same(client.getAllSubjects().contains("java-item"), true);

    AvroSchema bad = order(",{\"name\":\"price\",\"type\":\"int\"}");
    same(client.testCompatibility(SUBJECT, bad), false);
    List<String> reasons = client.testCompatibilityVerbose(SUBJECT, bad);
    same(reasons.get(0).startsWith("{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE'"), true);
    same(reasons.get(reasons.size() - 1).startsWith("breaks: "), true);
    try {
      client.register(SUBJECT, bad);
      throw new AssertionError("an incompatible schema was registered");
    } catch (RestClientException refused) {
      same(refused.getStatus(), 409);
      same(refused.getErrorCode(), 40901);
      same(refused.getMessage().startsWith("Schema being registered is incompatible"), true);
    }
    same(client.updateConfig(SUBJECT, new Config("FULL")).getCompatibilityLevel(), "FULL");
    same(client.getConfig(SUBJECT).getCompatibilityLevel(), "FULL");

    // Another client of the same kind, with nothing in its cache.
    CachedSchemaRegistryClient reader = new CachedSchemaRegistryClient(registry, 100);
    AvroSchema fetched = (AvroSchema) reader.getSchemaById(second);
    same(fetched.references().size(), 1);
    contract(client);
    serdes(bootstrap, registry, newer.rawSchema());
    evolution(bootstrap, registry);

    same(client.deleteSubject(SUBJECT), List.of(1, 2));
    same(client.deleteSubject(SUBJECT, true), List.of(1, 2));
  }

  private static AvroSchema order(String fields) {
    String text =
        "{\"type\":\"record\",\"name\":\"Order\",\"namespace\":\"shop\",\"fields\":["
            + "{\"name\":\"item\",\"type\":\"shop.Item\"}"
            + fields
            + "]}";
    List<SchemaReference> references = List.of(new SchemaReference("shop.Item", "java-item", 1));
    return new AvroSchema(text, references, Map.of("shop.Item", ITEM), null);
  }

  /** Metadata and rules come back as they were registered. */
  private static void contract(CachedSchemaRegistryClient client) throws Exception {
    Metadata metadata = new Metadata(Map.of(), Map.of("owner", "orders"), Set.of());
    Rule rule =
        new Rule(
            "shout", null, RuleKind.TRANSFORM, RuleMode.WRITE, Shout.TYPE, null, Map.of("suffix", "!"), null,
            null, null, false);
    RuleSet rules = new RuleSet(null, List.of(rule));
    AvroSchema schema = new AvroSchema(ITEM).copy(metadata, rules);
    client.register("java-shouts-value", schema);
    var stored = (AvroSchema) client.getSchemas("java-shouts-value", false, true).get(0);
    same(stored.metadata().getProperties(), Map.of("owner", "orders"));
    same(stored.ruleSet().getDomainRules().get(0), rule);
    same(
        client.getLatestWithMetadata("java-shouts-value", Map.of("owner", "orders"), false).getVersion(), 1);
  }

  /** A rule that the serializer finds in the registry and runs on every record. */
  public static final class Shout implements RuleExecutor {
    static final String TYPE = "SHOUT";

    @Override
    public String type() {
      return TYPE;
    }

    @Override
    public Object transform(RuleContext context, Object message) {
      GenericRecord record = (GenericRecord) message;
      record.put("sku", record.get("sku") + context.getParameter("suffix"));
      return record;
    }
  }

  private static void serdes(String bootstrap, String registry, Schema schema) throws Exception {
    GenericRecord order = new GenericData.Record(schema);
    order.put("item", item("a"));
    order.put("qty", 2);
    String topic = "java-orders";
    byte[] whole;
    try (var producer = producer(bootstrap, registry, Map.of("auto.register.schemas", false))) {
      producer.send(new ProducerRecord<>(topic, 0, "k", order)).get();
      whole = serialized(registry, topic, order);
    }
    refused(bootstrap, topic, Arrays.copyOf(whole, whole.length - 1));
    same(read(bootstrap, registry, topic, 1), List.of(order.toString()));

    // The latest version is asked for, and its rule is run.
    Map<String, Object> latest =
        Map.of(
            "auto.register.schemas", false, "use.latest.version", true, "rule.executors", "shout",
            "rule.executors.shout.class", Shout.class.getName());
    try (var producer = producer(bootstrap, registry, latest)) {
      producer.send(new ProducerRecord<>("java-shouts", 0, "k", item("a"))).get();
    }
    same(read(bootstrap, registry, "java-shouts", 1), List.of("{\"sku\": \"a!\"}"));
  }

  /** The serializer registers what it meets: a version that fits is stored, one that does not is refused. */
  private static void evolution(String bootstrap, String registry) throws Exception {
    String topic = "java-evolving";
    List<String> sent = new ArrayList<>();
    String size = ",{\"name\":\"size\",\"type\":[\"null\",\"int\"],\"default\":null}";
    for (String fields : List.of("", size)) {
      Schema schema = evolving("{\"name\":\"sku\",\"type\":\"string\"}" + fields);
      GenericRecord record = new GenericData.Record(schema);
      record.put("sku", "s");
      try (var producer = producer(bootstrap, registry, Map.of())) {
        producer.send(new ProducerRecord<>(topic, 0, "k", record)).get();
      }
      sent.add(record.toString());
    }
    same(read(bootstrap, registry, topic, 2), sent);
    Schema other = evolving("{\"name\":\"n\",\"type\":\"int\"}");
    GenericRecord record = new GenericData.Record(other);
    record.put("n", 1);
    try (var producer = producer(bootstrap, registry, Map.of())) {
      producer.send(new ProducerRecord<>(topic, 0, "k", record));
      throw new AssertionError("the serializer registered an incompatible schema");
    } catch (KafkaException refused) {
      Throwable told = refused.getCause() == null ? refused : refused.getCause();
      if (!told.getMessage().contains("incompatible with an earlier schema")) throw refused;
    }
  }

  private static Schema evolving(String fields) {
    String text = "{\"type\":\"record\",\"name\":\"Evolving\",\"fields\":[" + fields + "]}";
    return new Schema.Parser().parse(text);
  }

  private static GenericRecord item(String sku) {
    GenericRecord item = new GenericData.Record(new Schema.Parser().parse(ITEM));
    item.put("sku", sku);
    return item;
  }

  private static KafkaProducer<String, Object> producer(
      String bootstrap, String registry, Map<String, Object> more) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("schema.registry.url", registry);
    properties.put("key.serializer", StringSerializer.class);
    properties.put("value.serializer", KafkaAvroSerializer.class);
    properties.putAll(more);
    return new KafkaProducer<>(properties);
  }

  private static byte[] serialized(String registry, String topic, GenericRecord record) {
    try (var serializer = new KafkaAvroSerializer()) {
      serializer.configure(Map.of("schema.registry.url", registry), false);
      return serializer.serialize(topic, record);
    }
  }

  private static void refused(String bootstrap, String topic, byte[] value) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    try (var producer =
        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
      producer.send(new ProducerRecord<>(topic, value)).get();
      throw new AssertionError("a record that is cut short was stored");
    } catch (ExecutionException refused) {
      same(refused.getCause() instanceof InvalidRecordException, true);
    }
  }

  private static List<String> read(String bootstrap, String registry, String topic, int count) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("schema.registry.url", registry);
    properties.put("key.deserializer", StringDeserializer.class);
    properties.put("value.deserializer", KafkaAvroDeserializer.class);
    List<String> values = new ArrayList<>();
    try (var consumer = new KafkaConsumer<String, Object>(properties)) {
      List<TopicPartition> partitions = List.of(new TopicPartition(topic, 0));
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Instant deadline = Instant.now().plusSeconds(60);
      while (values.size() < count && Instant.now().isBefore(deadline)) {
        consumer.poll(Duration.ofMillis(200)).forEach(record -> values.add(record.value().toString()));
      }
    }
    return values;
  }

  private static void same(Object found, Object expected) {
    if (!found.equals(expected)) throw new AssertionError(found + " is not " + expected);
  }

  private ConfluentRegistry() {}
}
