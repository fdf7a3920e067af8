"""Contradicts the lines of `cargo xtask agreement avro` with fastavro.

Every record of a compatible pair is read under the new schema; every witness is valid under the
old schema and refused or misread under the new one. What fastavro does differently from Apache's
reader, the reference, is told apart in `known_*` with the reason, and counted.
"""

import io
import json
import re
import sys
from collections import Counter

import fastavro


PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string", "array", "map"}


class Counterexample(Exception):
    """A claim of the line that fastavro contradicts."""


def decode(payload, written, read):
    source = io.BytesIO(bytes.fromhex(payload))
    value = fastavro.schemaless_reader(source, written, read, return_named_type=True)
    if source.read():
        raise ValueError("bytes are left")
    return value


def check(pair, counts):
    counts["pairs"] += 1
    if pair["errors"]:
        raise Counterexample(f"generator: {pair['errors']}")
    written, read = json.loads(pair["old"]), json.loads(pair["new"])
    try:
        fastavro.parse_schema(written), fastavro.parse_schema(read)
    except fastavro.schema.UnknownType:
        # The specification leaves this open; Java also looks outside the namespace.
        counts["known: a name without namespace used inside a namespace"] += 1
        return
    for record in pair["records"]:
        counts["records"] += 1
        decode(record["payload"], written, None)
        if not pair["compatible"]:
            continue
        try:
            decode(record["payload"], written, read)
        except Exception as error:
            known = known_refusal(error)
            if known is None:
                raise Counterexample(f"compatible, but {record} is refused: {error!r}")
            counts[f"known: {known}"] += 1
    for witness in pair["witnesses"]:
        counts[f"witnesses, {witness['label']}"] += 1
        if witness["label"] == "breaks":
            check_witness(pair, witness, written, read, counts)


def check_witness(pair, witness, written, read, counts):
    try:
        value = decode(witness["payload"], written, None)
    except Exception as error:
        raise Counterexample(f"witness is not valid under the old schema: {witness}: {error!r}")
    try:
        found = decode(witness["payload"], written, read)
    except Exception:
        return
    if found == value:
        known = known_reading(witness)
        if known is None:
            raise Counterexample(f"witness is read: {witness} as {found!r}")
        counts[f"known: {known}"] += 1


def known_refusal(error):
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are no UTF-8 become a string only when it is looked at, in Java"
    return None


def known_reading(witness):
    reason = witness["outcome"].get("refused", {}).get("reason", "")
    if reason.endswith("the names differ"):
        return "an alias counts without its namespace"
    # Of an enum or fixed; other types are told by their word.
    found = re.fullmatch(r"no branch of the union \[.*\] reads (\S+)", reason)
    if found and found.group(1) not in PRIMITIVES:
        return "a union finds a name or an alias without its namespace"
    return None


def main():
    counts, failures = Counter(), []
    for line in sys.stdin:
        pair = json.loads(line)
        try:
            check(pair, counts)
        except Exception as error:
            failures.append(
                f"seed {pair['seed']}: {error}\n  old {pair['old']}\n  new {pair['new']}"
            )
    for failure in failures[:10]:
        print(failure)
    print(f"fastavro {fastavro.__version__}: {dict(sorted(counts.items()))}, "
          f"counter-examples {len(failures)}")
    return 1 if failures or not counts["pairs"] else 0


if __name__ == "__main__":
    sys.exit(main())
