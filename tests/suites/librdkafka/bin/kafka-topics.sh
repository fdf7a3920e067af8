#!/usr/bin/env bash
# What a Kafka distribution has under this name, from the libraries that tests/clients/kafka fetched.
kafka=$(dirname "$(readlink -f "$0")")/../../../clients/kafka/target
exec java -Xmx256m -Dlog4j2.level=OFF -Dorg.slf4j.simpleLogger.defaultLogLevel=off \
  -cp "$kafka/classes:$(cat "$kafka/classpath")" org.apache.kafka.tools.TopicCommand "$@"
