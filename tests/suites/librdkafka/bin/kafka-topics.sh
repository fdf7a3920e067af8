#!/usr/bin/env bash
# What a Kafka distribution has under this name. Topics are made by Assay's own command: Kafka's script refuses, before
# it asks the broker, segments as small as a test of compaction wants. The rest is Kafka's tool, from the libraries that
# tests/clients/kafka fetched.
set -euo pipefail
arguments=("$@")
action=
configs=()
while [ $# -gt 0 ]; do
  case $1 in
    --bootstrap-server) export KAFKA_BOOTSTRAP_SERVERS=$2 ;;
    --topic) topic=$2 ;;
    --partitions) partitions=$2 ;;
    --config) configs+=(--config "$2") ;;
    --replication-factor) ;;
    *) action=$1; shift; continue ;;
  esac
  shift 2
done
if [ "$action" = --create ]; then
  exec "$ASSAY" topic create "$topic" --partitions "$partitions" "${configs[@]}"
fi
kafka=$(dirname "$(readlink -f "$0")")/../../../clients/kafka/target
exec java -Xmx256m -Dlog4j2.level=OFF -Dorg.slf4j.simpleLogger.defaultLogLevel=off \
  -cp "$kafka/classes:$(cat "$kafka/classpath")" org.apache.kafka.tools.TopicCommand "${arguments[@]}"
