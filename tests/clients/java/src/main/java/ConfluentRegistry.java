import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.avro.AvroSchema;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.entities.SchemaReference;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericData;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumWriter;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.DecoderFactory;
import org.apache.flink.avro.shaded.org.apache.avro.io.EncoderFactory;
import org.apache.flink.formats.avro.registry.confluent.ConfluentSchemaRegistryCoder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Confluent's own Java client of the registry, and the framing of Flink's Avro format over it. Confluent
 * publishes its libraries in a repository of its own; Flink's bundle carries the client's classes under
 * another package name.
 */
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
    same(client.updateCompatibility(SUBJECT, "FULL"), "FULL");
    same(client.getCompatibility(SUBJECT), "FULL");

    // Another client of the same kind, with nothing in its cache.
    CachedSchemaRegistryClient reader = new CachedSchemaRegistryClient(registry, 100);
    AvroSchema fetched = (AvroSchema) reader.getSchemaById(second);
    same(fetched.references().size(), 1);
    roundtrip(bootstrap, client, reader, newer.rawSchema());

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

  /** Records framed by Flink's coder: a whole one is taken, one that is cut short is refused. */
  private static void roundtrip(
      String bootstrap, CachedSchemaRegistryClient writer, CachedSchemaRegistryClient reader, Schema schema)
      throws Exception {
    GenericRecord item = new GenericData.Record(schema.getField("item").schema());
    item.put("sku", "a");
    GenericRecord order = new GenericData.Record(schema);
    order.put("item", item);
    order.put("qty", 2);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    new ConfluentSchemaRegistryCoder(SUBJECT, writer).writeSchema(schema, bytes);
    var encoder = EncoderFactory.get().directBinaryEncoder(bytes, null);
    new GenericDatumWriter<GenericRecord>(schema).write(order, encoder);

    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    try (var producer =
        new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
      byte[] whole = bytes.toByteArray();
      producer.send(new ProducerRecord<>("java-orders", whole)).get();
      byte[] cut = java.util.Arrays.copyOf(whole, whole.length - 1);
      try {
        producer.send(new ProducerRecord<>("java-orders", cut)).get();
        throw new AssertionError("a record that is cut short was stored");
      } catch (ExecutionException refused) {
        same(refused.getCause() instanceof InvalidRecordException, true);
      }
    }

    ByteArrayInputStream input = new ByteArrayInputStream(bytes.toByteArray());
    Schema written = new ConfluentSchemaRegistryCoder(reader).readSchema(input);
    var decoder = DecoderFactory.get().directBinaryDecoder(input, null);
    GenericRecord read = new GenericDatumReader<GenericRecord>(written).read(null, decoder);
    same(read.toString(), order.toString());
  }

  private static void same(Object found, Object expected) {
    if (!found.equals(expected)) throw new AssertionError(found + " is not " + expected);
  }

  private ConfluentRegistry() {}
}
