// What two Node clients ask of a registry: @confluentinc/schemaregistry and, by the authors of
// KafkaJS, @kafkajs/confluent-schema-registry; both unmodified.
'use strict';

const assert = require('node:assert');
const confluent = require('@confluentinc/schemaregistry');
const kafkajs = require('@kafkajs/confluent-schema-registry');

const record = (name, ...fields) =>
  JSON.stringify({ type: 'record', name, namespace: 'shop', fields });
const ITEM = record('Item', { name: 'sku', type: 'string' });
const ORDER = record('Order', { name: 'item', type: 'shop.Item' });
const ORDER_2 = record('Order', { name: 'item', type: 'shop.Item' }, { name: 'qty', type: 'int', default: 1 });
const REFERENCES = [{ name: 'shop.Item', subject: 'js-item', version: 1 }];

async function ofConfluent(url) {
  const client = new confluent.SchemaRegistryClient({ baseURLs: [url] });
  const item = await client.register('js-item', { schemaType: 'AVRO', schema: ITEM });
  assert.strictEqual((await client.getBySubjectAndId('js-item', item)).schema, ITEM);
  const order = { schemaType: 'AVRO', schema: ORDER, references: REFERENCES };
  const id = await client.register('js-orders-value', order);
  assert.strictEqual(await client.getId('js-orders-value', order), id);
  const newer = { ...order, schema: ORDER_2 };
  assert.ok(await client.testSubjectCompatibility('js-orders-value', newer));
  const full = await client.registerFullResponse('js-orders-value', newer);
  assert.ok(full.guid);
  assert.deepStrictEqual((await client.getByGuid(full.guid)).references, REFERENCES);
  assert.strictEqual((await client.getLatestSchemaMetadata('js-orders-value')).version, 2);
  assert.deepStrictEqual(await client.getAllVersions('js-orders-value'), [1, 2]);
  assert.ok((await client.getAllSubjects()).includes('js-item'));
  const incompatible = { ...order, schema: record('Order', { name: 'item', type: 'int' }) };
  assert.ok(!(await client.testSubjectCompatibility('js-orders-value', incompatible)));
  await assert.rejects(client.register('js-orders-value', incompatible), { status: 409, errorCode: 40901 });
  await client.updateCompatibility('js-orders-value', 'FULL');
  assert.strictEqual(await client.getCompatibility('js-orders-value'), 'FULL');
  await client.updateDefaultConfig({ compatibility: 'BACKWARD', normalize: false });
  assert.strictEqual((await client.getDefaultConfig()).compatibilityLevel, 'BACKWARD');

  const serializer = new confluent.AvroSerializer(client, confluent.SerdeType.VALUE, {
    useLatestVersion: true,
    schemaIdSerializer: confluent.HeaderSchemaIdSerializer,
  });
  const headers = {};
  const bytes = await serializer.serialize('js-orders', { item: { sku: 'a' }, qty: 2 }, headers);
  const deserializer = new confluent.AvroDeserializer(client, confluent.SerdeType.VALUE, {});
  const read = await deserializer.deserialize('js-orders', bytes, headers);
  assert.deepStrictEqual(JSON.parse(JSON.stringify(read)), { item: { sku: 'a' }, qty: 2 });

  await conditionRule(client);
  await association(client);

  assert.deepStrictEqual(await client.deleteSubject('js-orders-value'), [1, 2]);
  assert.deepStrictEqual(await client.deleteSubject('js-orders-value', true), [1, 2]);
}

async function conditionRule(client) {
  confluent.CelExecutor.register();
  await client.register('js-lines-value', {
    schemaType: 'AVRO',
    schema: record('Line', { name: 'qty', type: 'int' }),
    ruleSet: {
      domainRules: [{ name: 'positive', kind: 'CONDITION', mode: 'WRITE', type: 'CEL', expr: 'message.qty > 0' }],
    },
  });
  const serializer = new confluent.AvroSerializer(client, confluent.SerdeType.VALUE, { useLatestVersion: true });
  await serializer.serialize('js-lines', { qty: 1 });
  await assert.rejects(serializer.serialize('js-lines', { qty: 0 }));
}

async function association(client) {
  const made = await client.createAssociation({
    resourceName: 'js-owned',
    resourceNamespace: 'cluster',
    resourceId: 'js-owned-id',
    resourceType: 'topic',
    associations: [{ associationType: 'value', lifecycle: 'STRONG', schema: { schemaType: 'AVRO', schema: ITEM } }],
  });
  const subject = ':.cluster:js-owned-value';
  assert.strictEqual(made.associations[0].subject, subject);
  const found = await client.getAssociationsByResourceName('js-owned', '-', 'topic', ['value'], null, 0, -1);
  assert.deepStrictEqual(found.map((one) => [one.subject, one.lifecycle]), [[subject, 'STRONG']]);
  await assert.rejects(client.deleteAssociations('js-owned-id', 'topic', null, false), { status: 409, errorCode: 40908 });
  await client.deleteAssociations('js-owned-id', 'topic', null, true);
  assert.ok(!(await client.getAllSubjects()).includes(subject));
}

async function ofKafkaJs(url) {
  const client = new kafkajs.SchemaRegistry({ host: url });
  const { id } = await client.register(
    { type: kafkajs.SchemaType.AVRO, schema: record('Kjs', { name: 'a', type: 'int' }) },
    { subject: 'kjs-value', compatibility: kafkajs.COMPATIBILITY.FULL },
  );
  const encoded = await client.encode(id, { a: 1 });
  assert.strictEqual((await client.decode(encoded)).a, 1);
  assert.strictEqual(await client.getLatestSchemaId('kjs-value'), id);
  assert.strictEqual(await client.getRegistryId('kjs-value', 1), id);
  const json = await client.register(
    { type: kafkajs.SchemaType.JSON, schema: '{"type":"object","properties":{"b":{"type":"string"}}}' },
    { subject: 'kjs-json-value' },
  );
  assert.strictEqual((await client.decode(await client.encode(json.id, { b: 'x' }))).b, 'x');
  const proto = await client.register(
    { type: kafkajs.SchemaType.PROTOBUF, schema: 'syntax = "proto3";\nmessage C {\n  int32 c = 1;\n}\n' },
    { subject: 'kjs-proto-value' },
  );
  assert.strictEqual((await client.decode(await client.encode(proto.id, { c: 3 }))).c, 3);
  await assert.rejects(
    client.register(
      { type: kafkajs.SchemaType.AVRO, schema: record('Kjs', { name: 'a', type: 'string' }) },
      { subject: 'kjs-value', compatibility: kafkajs.COMPATIBILITY.FULL },
    ),
    /incompatible/i,
  );
}

module.exports = async function registry(_bootstrap, url) {
  await ofConfluent(url);
  await ofKafkaJs(url);
};
