// Contradicts the lines of `cargo xtask agreement json` with ajv, as json_peer.py does with Python's
// jsonschema. Draft 4 is left to that peer: ajv does not know it.
"use strict";

const net = require("node:net");
const readline = require("node:readline");
const Ajv = require("ajv");
const Ajv2019 = require("ajv/dist/2019");
const Ajv2020 = require("ajv/dist/2020");
const { version } = require("ajv/package.json");

const isDate = (text) => {
  const date = new Date(`${text}T00:00:00Z`);
  return /^\d{4}-\d\d-\d\d$/.test(text) && !isNaN(date) && date.toISOString().startsWith(text);
};
// Schemas are judged by us before; what is no keyword is ignored, as the specification has it.
const options = { strict: false, validateSchema: false, logger: false };
const asserting = { ...options, formats: { date: isDate, ipv4: net.isIPv4 } };
const describing = { ...options, validateFormats: false };
const LANGUAGES = {
  "http://json-schema.org/draft-06/schema#": new Ajv(asserting),
  "http://json-schema.org/draft-07/schema#": new Ajv(asserting),
  "https://json-schema.org/draft/2019-09/schema": new Ajv2019(describing),
  "https://json-schema.org/draft/2020-12/schema": new Ajv2020(describing),
};
const DEFAULT = "http://json-schema.org/draft-07/schema#";

class Counterexample extends Error {}

// The schema without what ajv reads otherwise than the specification. Up to draft 7 a reference hides
// its siblings, and ajv lets them count; an empty array holds nothing that `contains` could find, and
// ajv takes it where anything would do. (`minContains` is never 0 here.) Beside `dependentSchemas` it
// forgets which properties are evaluated, and `uniqueItems` looks only at items of the type that those
// after `prefixItems` have, which also settle `contains` beside `maxContains`.
function corrected(schema, isOld) {
  if (Array.isArray(schema)) return schema.map((item) => corrected(item, isOld));
  if (schema === null || typeof schema !== "object") return schema;
  const hides = isOld && typeof schema.$ref === "string";
  const kept = Object.entries(schema).filter(
    ([name]) => !hides || name === "$ref" || name === "$schema" || name === "definitions",
  );
  const inner = Object.fromEntries(kept.map(([name, value]) => [name, corrected(value, isOld)]));
  if ("dependentSchemas" in inner) {
    const when = Object.entries(inner.dependentSchemas).map(([name, then]) => (
      { if: { type: "object", required: [name] }, then }
    ));
    inner.allOf = [...(inner.allOf || []), ...when];
    delete inner.dependentSchemas;
  }
  if ("prefixItems" in inner && "maxContains" in inner) {
    const { contains, minContains, maxContains } = inner;
    inner.allOf = [...(inner.allOf || []), { contains, minContains: minContains ?? 1, maxContains }];
    delete inner.maxContains;
    delete inner.minContains;
    inner.minItems = Math.max(1, inner.minItems || 0);
    delete inner.contains;
  }
  if ("prefixItems" in inner && "items" in inner) inner.items = { allOf: [inner.items] };
  if ("contains" in inner) inner.minItems = Math.max(1, inner.minItems || 0);
  return inner;
}

// Answers whether a value is valid; undefined for a language that ajv does not know.
function judge(text) {
  const schema = JSON.parse(text);
  const uri = (typeof schema === "object" && schema.$schema) || DEFAULT;
  const ajv = LANGUAGES[uri];
  if (!ajv) return undefined;
  return ajv.compile(corrected(schema, uri.includes("draft-0")));
}

function check(pair, counts) {
  count(counts, "pairs");
  if (pair.errors.length) throw new Counterexample(`generator: ${pair.errors}`);
  const [isOld, isNew] = [judge(pair.old), judge(pair.new)];
  if (!isOld || !isNew) {
    count(counts, "pairs of a draft that ajv does not know");
    return;
  }
  const isConvention = pair.witnesses.length > 0 &&
    pair.witnesses.every((witness) => witness.label === "convention");
  for (const record of pair.records) {
    count(counts, "records");
    const value = JSON.stringify(record.json);
    for (const [side, valid] of [["old", isOld(record.json)], ["new", isNew(record.json)]]) {
      if (valid !== record[side]) {
        throw new Counterexample(`${side} schema: ${valid} for ${value}, not ${record[side]}`);
      }
    }
    if (!record.old || record.new) continue;
    if (isConvention) throw new Counterexample(`a convention breaks ${value}`);
    if (pair.compatible) {
      if (!pair.caveats.length) throw new Counterexample(`compatible, but ${value} is refused`);
      count(counts, "records that break as a caveat says");
    }
  }
  if (pair.compatible) count(counts, "compatible pairs");
  for (const name of ["witnesses", "caveats"]) {
    for (const claim of pair[name]) {
      count(counts, `${name}, ${claim.label}`);
      if (claim.label !== "breaks") continue;
      const value = JSON.parse(Buffer.from(claim.payload, "hex").toString());
      const shown = JSON.stringify(claim);
      if (!isOld(value)) throw new Counterexample(`not valid under the old schema: ${shown}`);
      if (isNew(value)) throw new Counterexample(`valid under the new schema: ${shown}`);
    }
  }
}

function count(counts, name) {
  counts[name] = (counts[name] || 0) + 1;
}

async function main() {
  const counts = {};
  const failures = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const pair = JSON.parse(line);
    try {
      check(pair, counts);
    } catch (error) {
      if (error instanceof RangeError) {
        count(counts, "known: a reference that leads to itself never ends");
      } else {
        failures.push(`seed ${pair.seed}: ${error}\n  old ${pair.old}\n  new ${pair.new}`);
      }
    }
    // What is compiled stays in the cache otherwise.
    Object.values(LANGUAGES).forEach((ajv) => ajv.removeSchema());
  }
  failures.slice(0, 10).forEach((failure) => console.log(failure));
  Object.keys(counts).sort().forEach((name) => console.log(`  ${name}: ${counts[name]}`));
  console.log(`ajv ${version}: ${failures.length} counter-examples`);
  process.exitCode = failures.length || !counts.pairs ? 1 : 0;
}

main();
