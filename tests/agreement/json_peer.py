"""Contradicts the lines of `cargo xtask agreement json` with Python's jsonschema.

What we find of every value under both schemas must be what jsonschema finds. Under a compatible new
schema every value of the old one is valid; where the reference's rules let a break pass, the line
must say so by a caveat, which is counted. Every witness is valid under the old schema and invalid
under the new one, and a change that is called a convention breaks no value.
"""

import json
import sys
from collections import Counter
from importlib.metadata import version

from jsonschema import Draft4Validator, Draft6Validator, Draft7Validator
from jsonschema.validators import validator_for

# Where `format` refuses values.
ASSERTING = (Draft4Validator, Draft6Validator, Draft7Validator)


class Counterexample(Exception):
    """A claim of the line that jsonschema contradicts."""


def judge(text):
    schema = json.loads(text)
    cls = validator_for(schema, default=Draft7Validator)
    checker = cls.FORMAT_CHECKER if cls in ASSERTING else None
    return cls(schema, format_checker=checker).is_valid


def forgets_additional(text):
    """For 2019-09 jsonschema looks for the keywords of a schema for additional properties among the
    properties, and does not count what it evaluates."""
    parts = ("draft/2019-09", '"unevaluatedProperties"', '"additionalProperties":{')
    return all(part in text for part in parts)


def check(pair, counts):
    counts["pairs"] += 1
    if pair["errors"]:
        raise Counterexample(f"generator: {pair['errors']}")
    old, new = judge(pair["old"]), judge(pair["new"])
    labels = {witness["label"] for witness in pair["witnesses"]}
    for record in pair["records"]:
        counts["records"] += 1
        value = record["json"]
        for side, valid in (("old", old(value)), ("new", new(value))):
            if valid != record[side]:
                if not valid and forgets_additional(pair[side]):
                    counts["known: `additionalProperties` leaves properties unevaluated"] += 1
                    return
                raise Counterexample(f"{side} schema: {valid} for {json.dumps(value)}, not {record[side]}")
        if not record["old"] or record["new"]:
            continue
        if labels == {"convention"}:
            raise Counterexample(f"a convention breaks {json.dumps(value)}")
        if pair["compatible"]:
            if not pair["caveats"]:
                raise Counterexample(f"compatible, but {json.dumps(value)} is refused")
            counts["records that break as a caveat says"] += 1
    counts["compatible pairs"] += pair["compatible"]
    for name in ("witnesses", "caveats"):
        for claim in pair[name]:
            counts[f"{name}, {claim['label']}"] += 1
            if claim["label"] == "breaks":
                check_break(claim, old, new)


def check_break(claim, old, new):
    value = json.loads(bytes.fromhex(claim["payload"]))
    if not old(value):
        raise Counterexample(f"not valid under the old schema: {claim}")
    if new(value):
        raise Counterexample(f"valid under the new schema: {claim}")


def main():
    counts, failures = Counter(), []
    for line in sys.stdin:
        pair = json.loads(line)
        try:
            check(pair, counts)
        except RecursionError:
            counts["known: a reference that leads to itself never ends"] += 1
        except TypeError as error:
            # `additionalItems` beside `items: true`, which leaves nothing to it.
            if f"{error}" != "object of type 'bool' has no len()":
                raise
            counts["known: `additionalItems` asks how many a boolean is"] += 1
        except Exception as error:
            failures.append(
                f"seed {pair['seed']}: {error!r}\n  old {pair['old']}\n  new {pair['new']}"
            )
    for failure in failures[:10]:
        print(failure)
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")
    print(f"jsonschema {version('jsonschema')}: {len(failures)} counter-examples")
    return 1 if failures or not counts["pairs"] else 0


if __name__ == "__main__":
    sys.exit(main())
