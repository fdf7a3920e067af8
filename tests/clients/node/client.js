// kafkajs with @confluentinc/schemaregistry, unmodified.
'use strict';

const { randomUUID } = require('node:crypto');
const { Kafka, CompressionTypes, CompressionCodecs, logLevel, Partitioners } = require('kafkajs');
const registry = require('@confluentinc/schemaregistry');
const registryWord = require('./registry.js');
const lz4 = require('lz4js');
const snappy = require('snappyjs');
const zstd = require('@bokuweb/zstd-wasm');

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);

// kafkajs leaves these codecs to its users.
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async (encoder) => Buffer.from(snappy.compress(encoder.buffer)),
  decompress: async (buffer) => {
    if (!buffer.subarray(0, 8).equals(XERIAL)) return Buffer.from(snappy.uncompress(buffer));
    const parts = [];
    for (let at = 16; at < buffer.length; ) {
      const size = buffer.readInt32BE(at);
      parts.push(Buffer.from(snappy.uncompress(buffer.subarray(at + 4, at + 4 + size))));
      at += 4 + size;
    }
    return Buffer.concat(parts);
  },
});
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});

const COMPRESSIONS = ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD'];

const ORDER_AVRO = JSON.stringify({
  type: 'record',
  name: 'Order',
  namespace: 'shop',
  fields: [
    { name: 'id', type: 'int' },
    { name: 'customer', type: 'string' },
    { name: 'tags', type: { type: 'array', items: 'string' } },
  ],
});
const ORDER_JSON = JSON.stringify({
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Order',
  type: 'object',
  properties: { id: { type: 'integer' }, customer: { type: 'string' } },
  required: ['id'],
  additionalProperties: false,
});

const check = (condition, text) => {
  if (!condition) throw new Error(text);
};

const kafkaFor = (bootstrap) =>
  new Kafka({ clientId: 'kafkajs-test', brokers: [bootstrap], logLevel: logLevel.NOTHING });

const producerFor = (bootstrap, options = {}) =>
  kafkaFor(bootstrap).producer({ createPartitioner: Partitioners.DefaultPartitioner, ...options });

async function consumeAll(bootstrap, topic, count, seconds = 30) {
  const consumer = kafkaFor(bootstrap).consumer({ groupId: `reader-${randomUUID()}` });
  const values = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let arrived;
  const all = new Promise((resolve) => (arrived = resolve));
  await consumer.run({
    eachMessage: async ({ message }) => {
      values.push(message.value);
      if (values.length >= count) arrived();
    },
  });
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, seconds * 1000))]);
  await consumer.disconnect();
  check(values.length === count, `${topic}: ${values.length} of ${count} records in ${seconds} s`);
  return values;
}

async function roundtrip(bootstrap, registryUrl) {
  const client = registry.SchemaRegistryClient.newClient({ baseURLs: [registryUrl] });
  const formats = {
    avro: [
      ORDER_AVRO,
      'AVRO',
      new registry.AvroSerializer(client, registry.SerdeType.VALUE, { useLatestVersion: true }),
      new registry.AvroDeserializer(client, registry.SerdeType.VALUE, {}),
      { id: 7, customer: 'ada', tags: ['a', 'b'] },
    ],
    json: [
      ORDER_JSON,
      'JSON',
      new registry.JsonSerializer(client, registry.SerdeType.VALUE, { useLatestVersion: true }),
      new registry.JsonDeserializer(client, registry.SerdeType.VALUE, {}),
      { id: 7, customer: 'ada' },
    ],
  };
  for (const [name, [schema, schemaType, serializer, deserializer, value]] of Object.entries(formats)) {
    const topic = `js-${name}`;
    await client.register(`${topic}-value`, { schema, schemaType });
    const payload = await serializer.serialize(topic, value);
    let count = 0;
    for (const compression of COMPRESSIONS) {
      const producer = producerFor(bootstrap);
      await producer.connect();
      const messages = Array.from({ length: 20 }, () => ({ value: payload }));
      await producer.send({ topic, messages, acks: -1, compression: CompressionTypes[compression] });
      await producer.disconnect();
      count += messages.length;
    }
    for (const stored of await consumeAll(bootstrap, topic, count)) {
      const read = await deserializer.deserialize(topic, stored);
      check(JSON.stringify(read) === JSON.stringify(value), `${name}: ${JSON.stringify(read)}`);
    }
    console.log(`${name} ${count} records, ${COMPRESSIONS.length} compressions`);
  }
}

async function group(bootstrap) {
  const kafka = kafkaFor(bootstrap);
  const topic = 'js-group';
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 4 }] });
  await admin.disconnect();

  const seen = [];
  const member = async () => {
    const consumer = kafka.consumer({ groupId: 'js-group', sessionTimeout: 10000, heartbeatInterval: 500 });
    const state = { consumer, partitions: [] };
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      state.partitions = payload.memberAssignment[topic] ?? [];
    });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ eachMessage: async ({ message }) => void seen.push(message.value.toString()) });
    return state;
  };
  const until = async (condition, text) => {
    const deadline = Date.now() + 40000;
    while (!condition()) {
      check(Date.now() < deadline, text());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  const first = await member();
  const second = await member();
  const sizes = () => `${first.partitions.length} and ${second.partitions.length} partitions, seen ${seen}`;
  await until(() => first.partitions.length === 2 && second.partitions.length === 2, sizes);
  const producer = producerFor(bootstrap);
  await producer.connect();
  const round = (letter) =>
    producer.send({ topic, messages: [0, 1, 2, 3].map((p) => ({ partition: p, value: `${letter}${p}` })) });
  await round('v');
  await until(() => seen.length === 4, sizes);
  await second.consumer.disconnect();
  await until(() => first.partitions.length === 4, sizes);
  await round('w');
  await until(() => seen.length >= 8, sizes);
  check(new Set(seen).size === 8 && seen.length === 8, `delivered again after a commit: ${seen}`);
  await producer.disconnect();
  await first.consumer.disconnect();
}

async function reject(bootstrap, registryUrl, topic) {
  const client = registry.SchemaRegistryClient.newClient({ baseURLs: [registryUrl] });
  const id = await client.register(`${topic}-value`, { schema: ORDER_AVRO, schemaType: 'AVRO' });
  const serializer = new registry.AvroSerializer(client, registry.SerdeType.VALUE, { useLatestVersion: true });
  const good = await serializer.serialize(topic, { id: 1, customer: 'ada', tags: [] });
  const bad = Buffer.concat([Buffer.from([0, id >>> 24, id >>> 16, id >>> 8, id]), Buffer.from('garbage')]);
  for (const idempotent of [true, false]) {
    const producer = producerFor(bootstrap, { idempotent, maxInFlightRequests: 1, retry: { retries: 2 } });
    await producer.connect();
    const send = (value) => producer.send({ topic, acks: -1, messages: [{ value }] });
    await send(good);
    let error;
    await send(bad).catch((caught) => (error = caught));
    check(error, 'the bad record was accepted');
    const cause = error.cause ?? error;
    check(error.type === 'INVALID_RECORD' || cause.type === 'INVALID_RECORD' || error.code === 87, `error ${error} ${error.type}`);
    await send(good);
    await send(good);
    await producer.disconnect();
  }
  await consumeAll(bootstrap, topic, 6);
}

async function produce(bootstrap, topic, count) {
  const producer = producerFor(bootstrap, { retry: { retries: 3, initialRetryTime: 100 } });
  await producer.connect();
  for (let number = 0; number < Number(count); number++) {
    await producer.send({ topic, acks: -1, messages: [{ value: `js-${number}` }] });
    console.log(`acked js-${number}`);
  }
  await producer.disconnect();
}

async function consume(bootstrap, topic, count) {
  for (const value of await consumeAll(bootstrap, topic, Number(count))) console.log(`value ${value}`);
}

const [word, ...rest] = process.argv.slice(2);
const words = { roundtrip, group, reject, registry: registryWord, produce, consume };
zstd.init().then(() => words[word](...rest)).then(
  () => {
    console.log(`ok ${word}`);
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
