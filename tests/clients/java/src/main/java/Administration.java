import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidUpdateVersionException;
import org.apache.kafka.common.errors.LogDirNotFoundException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.ThrottlingQuotaExceededException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What UIs and tools ask of a broker beyond topics and groups. */
final class Administration {
  private static final String TOPIC = "java-admin";
  private static final TopicPartition FIRST = new TopicPartition(TOPIC, 0);

  private Administration() {}

  static void run(String bootstrap, String registry) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(List.of(new NewTopic(TOPIC, Optional.of(3), Optional.empty()))).all().get();
      directories(admin);
      replicas(admin);
      quorumAndFeatures(admin);
      configs(admin);
      quotas(admin, bootstrap);
      changesBeyondQuota(admin, bootstrap);
      telemetry(admin, bootstrap, registry);
    }
    sessions(bootstrap, registry);
  }

  private static void check(boolean condition, String text) {
    if (!condition) throw new AssertionError(text);
  }

  private interface Call {
    Object make() throws Exception;
  }

  /** The call fails as it does against any broker that cannot do what it asks. */
  private static void refused(Class<? extends Exception> expected, Call call) throws Exception {
    try {
      call.make();
    } catch (ExecutionException error) {
      check(expected.isInstance(error.getCause()), expected + " expected: " + error.getCause());
      return;
    }
    throw new AssertionError(expected + " expected, nothing came");
  }

  private static void directories(Admin admin) throws Exception {
    Map<String, LogDirDescription> found =
        admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1);
    check(found.size() == 1, "directories " + found.keySet());
    String directory = found.keySet().iterator().next();
    LogDirDescription described = found.get(directory);
    check(described.error() == null, "error " + described.error());
    check(described.replicaInfos().containsKey(FIRST), "partition not described");
    check(described.usableBytes().getAsLong() > 0, "usable bytes");
    check(described.totalBytes().getAsLong() >= described.usableBytes().getAsLong(), "bytes");
    TopicPartitionReplica replica = new TopicPartitionReplica(TOPIC, 0, 1);
    admin.alterReplicaLogDirs(Map.of(replica, directory)).all().get();
    refused(LogDirNotFoundException.class,
        () -> admin.alterReplicaLogDirs(Map.of(replica, "/elsewhere")).all().get());
  }

  private static void replicas(Admin admin) throws Exception {
    Optional<Throwable> elected =
        admin.electLeaders(ElectionType.PREFERRED, Set.of(FIRST)).partitions().get().get(FIRST);
    check(elected.get() instanceof ElectionNotNeededException, "election " + elected);
    check(admin.electLeaders(ElectionType.PREFERRED, null).partitions().get().isEmpty(), "all");
    admin.alterPartitionReassignments(to(1)).all().get();
    refused(InvalidReplicaAssignmentException.class,
        () -> admin.alterPartitionReassignments(to(2)).all().get());
    refused(NoReassignmentInProgressException.class,
        () -> admin.alterPartitionReassignments(Map.of(FIRST, Optional.empty())).all().get());
    check(admin.listPartitionReassignments().reassignments().get().isEmpty(), "reassignments");
  }

  private static Map<TopicPartition, Optional<NewPartitionReassignment>> to(int broker) {
    return Map.of(FIRST, Optional.of(new NewPartitionReassignment(List.of(broker))));
  }

  private static void quorumAndFeatures(Admin admin) throws Exception {
    QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
    check(quorum.leaderId() == 1 && quorum.voters().size() == 1, "quorum " + quorum);
    check(quorum.observers().isEmpty() && quorum.highWatermark() > 0, "quorum " + quorum);
    String feature = "transaction.version";
    short level =
        admin.describeFeatures().featureMetadata().get().finalizedFeatures().get(feature)
            .maxVersionLevel();
    FeatureUpdate same = new FeatureUpdate(level, FeatureUpdate.UpgradeType.UPGRADE);
    admin.updateFeatures(Map.of(feature, same), new UpdateFeaturesOptions()).all().get();
    FeatureUpdate lower =
        new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.SAFE_DOWNGRADE);
    refused(InvalidUpdateVersionException.class,
        () -> admin.updateFeatures(Map.of(feature, lower), new UpdateFeaturesOptions()).all().get());
  }

  private static ConfigEntry config(Admin admin, ConfigResource resource, String name)
      throws Exception {
    DescribeConfigsOptions options =
        new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
    Config configs = admin.describeConfigs(List.of(resource), options).all().get().get(resource);
    for (ConfigEntry entry : configs.entries()) {
      check(entry.type() != ConfigEntry.ConfigType.UNKNOWN, "type of " + entry.name());
      check(!entry.documentation().isEmpty(), "documentation of " + entry.name());
      check(!entry.synonyms().isEmpty(), "synonyms of " + entry.name());
    }
    return configs.get(name);
  }

  private static void configs(Admin admin) throws Exception {
    ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
    ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
    ConfigEntry started = config(admin, broker, "num.partitions");
    check(started.isReadOnly(), "a setting of the start can be altered");
    AlterConfigOp set =
        new AlterConfigOp(new ConfigEntry("log.retention.ms", "7200000"), AlterConfigOp.OpType.SET);
    admin.incrementalAlterConfigs(Map.of(broker, List.of(set))).all().get();
    ConfigEntry altered = config(admin, broker, "log.retention.ms");
    check(altered.source() == ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG, "" + altered);
    ConfigEntry inherited = config(admin, topic, "retention.ms");
    check(inherited.value().equals("7200000") && !inherited.isReadOnly(), "" + inherited);
    check(inherited.synonyms().size() == 2, "synonyms " + inherited.synonyms());
    Set<ConfigResource.Type> types = Set.of(ConfigResource.Type.TOPIC, ConfigResource.Type.BROKER);
    check(
        admin.listConfigResources(types, new ListConfigResourcesOptions()).all().get()
            .containsAll(List.of(topic, broker)),
        "resources");
  }

  private static KafkaProducer<byte[], byte[]> producer(String bootstrap, String clientId) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("client.id", clientId);
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }

  private static double throttled(KafkaProducer<byte[], byte[]> producer) {
    for (Metric metric : producer.metrics().values()) {
      if (metric.metricName().name().equals("produce-throttle-time-max")) {
        return (double) metric.metricValue();
      }
    }
    throw new AssertionError("no throttle metric");
  }

  private static void send(KafkaProducer<byte[], byte[]> producer, int count) throws Exception {
    for (int number = 0; number < count; number++) {
      producer.send(new ProducerRecord<>(TOPIC, 0, null, new byte[10_000])).get();
    }
  }

  /** A producer beyond its quota knows it from its own metric; another one is not held. */
  private static void quotas(Admin admin, String bootstrap) throws Exception {
    ClientQuotaEntity slow = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, "slow"));
    ClientQuotaAlteration.Op set = new ClientQuotaAlteration.Op("producer_byte_rate", 20_000.0);
    admin.alterClientQuotas(List.of(new ClientQuotaAlteration(slow, List.of(set)))).all().get();
    Map<ClientQuotaEntity, Map<String, Double>> quotas =
        admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get();
    check(quotas.equals(Map.of(slow, Map.of("producer_byte_rate", 20_000.0))), "" + quotas);
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "slow")) {
      send(producer, 23);
      check(throttled(producer) > 0, "the producer was not throttled");
    }
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "free")) {
      send(producer, 23);
      check(throttled(producer) == 0, "another producer was throttled");
    }
    ClientQuotaAlteration.Op remove = new ClientQuotaAlteration.Op("producer_byte_rate", null);
    admin.alterClientQuotas(List.of(new ClientQuotaAlteration(slow, List.of(remove)))).all().get();
    check(admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().isEmpty(), "quotas");
  }

  /**
   * What is beyond a quota of changes is refused with the time to wait, which the admin client does
   * unless it is told not to.
   */
  private static void changesBeyondQuota(Admin admin, String bootstrap) throws Exception {
    ClientQuotaEntity hasty = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, "hasty"));
    ClientQuotaAlteration.Op set = new ClientQuotaAlteration.Op("controller_mutation_rate", 1.0);
    admin.alterClientQuotas(List.of(new ClientQuotaAlteration(hasty, List.of(set)))).all().get();
    try (Admin limited = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "hasty"))) {
      // Eleven seconds' worth are free, and what is owed then takes a second each.
      limited.createTopics(List.of(new NewTopic("java-many", 16, (short) 1))).all().get();
      CreateTopicsOptions once = new CreateTopicsOptions().retryOnQuotaViolation(false);
      NewTopic more = new NewTopic("java-more", 1, (short) 1);
      try {
        limited.createTopics(List.of(more), once).all().get();
        throw new AssertionError("a topic beyond the quota was made");
      } catch (ExecutionException error) {
        check(
            error.getCause() instanceof ThrottlingQuotaExceededException refusal
                && refusal.throttleTimeMs() > 0,
            "" + error.getCause());
      }
      limited.createTopics(List.of(more)).all().get();
    }
    admin.deleteTopics(List.of("java-many", "java-more")).all().get();
    ClientQuotaAlteration.Op remove =
        new ClientQuotaAlteration.Op("controller_mutation_rate", null);
    admin.alterClientQuotas(List.of(new ClientQuotaAlteration(hasty, List.of(remove)))).all().get();
  }

  /** Someone wants metrics of some clients: one learns so, pushes them, and the broker shows them. */
  private static void telemetry(Admin admin, String bootstrap, String registry) throws Exception {
    ConfigResource wish = new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "java");
    List<AlterConfigOp> set = new ArrayList<>();
    Map<String, String> configs =
        Map.of("metrics", "org.apache.kafka.producer.", "interval.ms", "500", "match", "client_id=.*-telemetry");
    configs.forEach((name, value) ->
        set.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
    admin.incrementalAlterConfigs(Map.of(wish, set)).all().get();
    check(config(admin, wish, "interval.ms").value().equals("500"), "interval");
    try (KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "java-telemetry")) {
      check(producer.clientInstanceId(Duration.ofSeconds(30)) != null, "no client instance id");
      long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
      String series = "client_id=\"java-telemetry\"";
      while (lines(registry).noneMatch(
          line -> line.startsWith("assay_client_metric") && line.contains(series))) {
        check(System.nanoTime() < deadline, "no pushed metric is shown");
        send(producer, 1);
      }
    }
  }

  private static boolean brokerCounts(String registry, String metric) throws Exception {
    return lines(registry).anyMatch(line -> line.startsWith(metric + " ") && !line.endsWith(" 0"));
  }

  private static Stream<String> lines(String registry) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(registry + "/metrics")).build();
    return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body().lines();
  }

  /** A consumer in a fetch session sees partitions come and go, and every record. */
  private static void sessions(String bootstrap, String registry) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("auto.offset.reset", "latest");
    properties.put("group.id", "java-admin");
    properties.put("enable.auto.commit", "false");
    try (KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        KafkaProducer<byte[], byte[]> producer = producer(bootstrap, "free")) {
      List<List<Integer>> assignments = List.of(List.of(0, 1), List.of(0, 1, 2), List.of(2), List.of(1, 2));
      int round = 0;
      for (List<Integer> assignment : assignments) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int index : assignment) partitions.add(new TopicPartition(TOPIC, index));
        consumer.assign(partitions);
        for (TopicPartition partition : partitions) consumer.position(partition);
        for (int again = 0; again < 3; again++) {
          String value = "round " + round++;
          for (TopicPartition partition : partitions) {
            producer.send(new ProducerRecord<>(TOPIC, partition.partition(), null, value.getBytes())).get();
          }
          int seen = 0;
          long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
          while (seen < partitions.size()) {
            check(System.nanoTime() < deadline, value + ": " + seen + " records of " + partitions);
            for (var record : consumer.poll(Duration.ofMillis(100))) {
              check(new String(record.value()).equals(value), value + ": " + record);
              seen++;
            }
          }
        }
      }
      check(brokerCounts(registry, "assay_fetch_sessions"), "the consumer has no fetch session");
    }
  }
}
