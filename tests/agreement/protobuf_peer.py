"""Contradicts the lines of `cargo xtask agreement protobuf` with protoc and protobuf's own runtime.

Both schemas of a pair are compiled by protoc, which must take what we took. Every record means what
its JSON means; under a compatible new schema it parses, and every field that both schemas have (by
number) reads the value that was written. Every witness is valid under the old schema, and refused
or misread under the new one exactly as it says. What the reference's rules let pass, and we with
them, must be announced by a caveat at the same place, whose witness is checked like the others.
"""

import ast
import base64
import itertools
import json
import pathlib
import struct
import sys
import tempfile
from collections import Counter

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_tools import protoc

BATCH = 500
GROUP = FieldDescriptor.TYPE_GROUP


class Counterexample(Exception):
    """A claim of the line that the runtime contradicts."""


def compile_side(pairs, side):
    """The descriptor of each pair's file, by seed."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs:
            pathlib.Path(folder, f"{pair['seed']}.proto").write_text(pair[side])
        names = [f"{pair['seed']}.proto" for pair in pairs]
        out = str(pathlib.Path(folder, "set"))
        if protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={out}", *names]) != 0:
            raise Counterexample(f"protoc refuses an {side} schema (see above)")
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out).read_bytes())
        for file in files.file:
            found[file.name] = file
    return {pair["seed"]: found[f"{pair['seed']}.proto"] for pair in pairs}


def add(file):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def message_at(file, indexes):
    """The name, without the package, of the message at an index path."""
    names, level = [], file.message_type
    for index in indexes:
        # Entries of maps are made up, and come after the messages that are declared.
        declared = [one for one in level if not one.options.map_entry]
        declared = [one for one in declared if not is_group(one, names, file)]
        names.append(declared[index].name)
        level = declared[index].nested_type
    return ".".join(names)


def is_group(message, outer, file):
    """Groups declare a message too, which no index path counts."""
    if not outer:
        return False
    full = "." + ".".join([file.package, *outer, message.name])
    level, owner = file.message_type, None
    for name in outer:
        owner = next(one for one in level if one.name == name)
        level = owner.nested_type
    return any(field.type == GROUP and field.type_name == full for field in owner.field)


def message_class(pool, file, local):
    try:
        found = pool.FindMessageTypeByName(f"{file.package}.{local}")
    except KeyError:
        return None
    return message_factory.GetMessageClass(found)


def parse(cls, payload):
    """The message, and why it is refused if it is."""
    message = cls()
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        return None, f"{error}"
    if not message.IsInitialized():
        # Which one is not asked for: FindInitializationErrors crashes on some missing groups.
        return message, "missing a required field"
    return message, None


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def elements(message, field):
    """What a field holds, as a list; entries of a map as pairs of key and value."""
    held = {own.number: value for own, value in message.ListFields()}
    if field.number not in held:
        no_value = field.is_repeated or field.has_presence
        return [] if no_value else [field.default_value]
    value = held[field.number]
    if is_map(field):
        return [(key, value[key]) for key in sorted(value, key=str)]
    return list(value) if field.is_repeated else [value]


def zero(value):
    return value in (0, False, 0.0, "", b"") and not hasattr(value, "DESCRIPTOR")


def whole(value):
    return int(value) if isinstance(value, (bool, int)) else None


def differ(old, old_field, new, new_field):
    """Yields the innermost fields that read another value: (old field, new field)."""
    written, read = elements(old, old_field), elements(new, new_field)
    if is_map(old_field) != is_map(new_field):
        if written or read:
            yield old_field, new_field
        return
    if not old_field.is_repeated and not new_field.is_repeated:
        # A value that is not set is at zero.
        if not written and all(zero(value) for value in read):
            return
        if not read and all(zero(value) for value in written):
            return
    if len(written) != len(read):
        if not (not old_field.has_presence and not old_field.is_repeated and not read and zero(written[0])):
            yield old_field, new_field
        return
    if is_map(old_field):
        yield from differ_maps(written, old_field, read, new_field)
        return
    for one, other in zip(written, read):
        yield from differ_values(one, old_field, other, new_field)


def differ_maps(written, old_field, read, new_field):
    parts = [field.message_type.fields_by_name for field in (old_field, new_field)]
    for (key, value), (other_key, other) in zip(written, read):
        yield from differ_values(key, parts[0]["key"], other_key, parts[1]["key"])
        yield from differ_values(value, parts[0]["value"], other, parts[1]["value"])


def differ_values(one, old_field, other, new_field):
    if hasattr(one, "DESCRIPTOR") and hasattr(other, "DESCRIPTOR"):
        yield from differ_messages(one, other)
        return
    if isinstance(one, str):
        one = one.encode()
    if isinstance(other, str):
        other = other.encode()
    if whole(one) is not None and whole(other) is not None:
        one, other = whole(one), whole(other)
    if type(one) is not type(other) or one != other:
        yield old_field, new_field


def differ_messages(old, new):
    for number, field in old.DESCRIPTOR.fields_by_number.items():
        other = new.DESCRIPTOR.fields_by_number.get(number)
        if other is not None:
            yield from differ(old, field, new, other)


def path_of(message, file):
    return message.full_name[len(file.package) + 1:].replace(".", "/")


def announced(pair, field, file):
    """The caveat of what a field of the old schema may be misread as."""
    message = field.containing_type
    if message.GetOptions().map_entry:
        # Told of the field that holds the map.
        message = message.containing_type
    place = f"#/{path_of(message, file)}/"
    for caveat in pair["caveats"]:
        path = caveat["path"]
        *oneof, last = path.removeprefix(place).split("/")
        if path.startswith(place) and len(oneof) < 2 and (
            message != field.containing_type or last == str(field.number) or not last.isdigit()
        ):
            return caveat
    return None


def announced_refusal(pair, missing):
    """A caveat of a kind that makes the new schema refuse a record."""
    # A number that a required enum does not have counts as unknown, and is missing.
    causes = ("LABEL", "GROUP", "ENUM") if missing else ("TEXT", "GROUP")
    for caveat in pair["caveats"]:
        if caveat["kind"].startswith(causes):
            return caveat
    return None


def check_record(pair, record, old_file, old_cls, new_cls, counts):
    counts["records"] += 1
    payload = bytes.fromhex(record["payload"])
    old, why = parse(old_cls, payload)
    if why:
        raise Counterexample(f"a record is refused under its own schema: {why} {record}")
    if old != json_format.ParseDict(record["json"], old_cls()):
        raise Counterexample(f"the payload does not mean its JSON: {record}")
    if not pair["compatible"]:
        return
    if new_cls is None:
        raise Counterexample(f"compatible, but the message is gone: {record}")
    new, why = parse(new_cls, payload)
    if why:
        caveat = announced_refusal(pair, new is not None)
        if caveat is None:
            raise Counterexample(f"compatible without caveat, but {record} is refused: {why}")
        counts[f"known and announced: {caveat['kind']}"] += 1
        return
    for old_field, new_field in differ_messages(old, new):
        caveat = announced(pair, old_field, old_file)
        if caveat is None:
            raise Counterexample(
                f"compatible without caveat, but {record} reads another "
                f"{new_field.full_name}: {old} {new}"
            )
        counts[f"known and announced: {caveat['kind']}"] += 1


def steps(path):
    """`$.a["k"].b[0].c` as names with what follows each in brackets."""
    for part in path.split(".")[1:]:
        name, _, index = part.partition("[")
        yield name, index.rstrip("]")


def descend(message, number, index):
    """The message in an element of a field, `None` when it is not there."""
    field = message.DESCRIPTOR.fields_by_number.get(number)
    if field is None:
        return None
    held = elements(message, field)
    if not held:
        return None
    return held[0][1] if is_map(field) else held[int(index or 0)]


def value_json(message, number):
    """The JSON of a field as we print it: null for what is not set and has no default."""
    field = message.DESCRIPTOR.fields_by_number.get(number) if message is not None else None
    if field is None:
        return None
    printed = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return printed.get(field.name)


def same_json(claimed, found):
    if isinstance(claimed, dict) and isinstance(found, dict):
        # This runtime drops an entry whose value is of another wire type; Java reads its zero.
        return not found or claimed.keys() == found.keys() and all(
            same_json(claimed[key], found[key]) for key in claimed
        )
    if isinstance(claimed, list) and isinstance(found, list):
        return len(claimed) == len(found) and all(map(same_json, claimed, found))
    if isinstance(found, str) and found[:2] in ("b'", 'b"') and claimed != found:
        # Text of proto2 that is no UTF-8 is printed as Python prints bytes.
        return claimed == ast.literal_eval(found).decode("utf-8", "replace")
    if isinstance(claimed, float) or isinstance(found, float):
        try:
            return claimed == found or struct.pack("f", claimed) == struct.pack("f", found)
        except (TypeError, OverflowError, struct.error):
            return False
    return claimed == found


def loses(written, read):
    """Whether a message lost a field that the other type does not have."""
    for one, other in zip(written, read):
        if isinstance(one, tuple) and isinstance(other, tuple):
            one, other = one[1], other[1]
        if not hasattr(one, "DESCRIPTOR") or not hasattr(other, "DESCRIPTOR"):
            continue
        for field, _ in one.ListFields():
            against = other.DESCRIPTOR.fields_by_number.get(field.number)
            if against is None or loses(elements(one, field), elements(other, against)):
                return True
    return False


def is_entry_unknown(message, path):
    """This runtime counts a whole entry of a map as unknown when it has a field besides key and value;
    Java reads key and value."""
    for name, index in steps(path):
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            return False
        if is_map(field):
            return any(one.field_number == field.number for one in UnknownFieldSet(message))
        message = descend(message, field.number, index)
        if message is None:
            return False
    return False


def check_witness(witness, old_file, old_pool, new_file, new_pool, counts):
    local = message_at(old_file, witness["indexes"])
    payload = bytes.fromhex(witness["payload"])
    old_cls = message_class(old_pool, old_file, local)
    old, why = parse(old_cls, payload)
    if why:
        raise Counterexample(f"a witness is refused under the old schema: {why} {witness}")
    if old != json_format.ParseDict(witness["json"], old_cls()):
        raise Counterexample(f"a witness does not mean its JSON: {witness}")
    new_cls = message_class(new_pool, new_file, local)
    outcome = witness["outcome"]
    if new_cls is None:
        if "refused" not in outcome:
            raise Counterexample(f"a witness has no message to be read by: {witness}")
        return
    new, why = parse(new_cls, payload)
    if "refused" in outcome:
        if why is None and is_entry_unknown(new, outcome["refused"]["path"]):
            counts["known: an entry of a map with another field is no entry"] += 1
        elif why is None:
            raise Counterexample(f"a witness is not refused: {witness}, read as {new}")
        return
    if new is None:
        raise Counterexample(f"a witness is refused, not misread: {why} {witness}")
    claim = outcome["misread"]
    *way, (name, _) = steps(claim["path"])
    for step, index in way:
        number = old.DESCRIPTOR.fields_by_name[step].number
        old = descend(old, number, index)
        new = descend(new, number, index) if new is not None else None
    number = old.DESCRIPTOR.fields_by_name[name].number
    for side, message, said in (("written", old, claim["written"]), ("read", new, claim["read"])):
        found = value_json(message, number)
        if not same_json(said, found):
            raise Counterexample(f"a witness is {side} as {found}, not {said}: {witness}")
    old_field = old.DESCRIPTOR.fields_by_number[number]
    new_field = new.DESCRIPTOR.fields_by_number.get(number)
    if new_field is None or loses(elements(old, old_field), elements(new, new_field)):
        return
    if not list(differ(old, old_field, new, new_field)):
        raise Counterexample(f"a witness is read as it was written: {witness}")


def check(pair, old_file, new_file, counts):
    counts["pairs"] += 1
    old_pool, new_pool = add(old_file), add(new_file)
    for side, file in (("old", old_file), ("new", new_file)):
        own = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(pair[f"{side}_descriptor"]))
        own.name = file.name
        # The reference's own descriptors have these too, and protoc's do only with plugins.
        try:
            add(own)
        except TypeError as error:
            if "Empty oneof" in f"{error}" and "group" in pair[side]:
                counts["known: the reference's descriptor leaves groups out of oneofs"] += 1
                continue
            raise Counterexample(f"our descriptor of the {side} schema does not link: {error}")
    local = message_at(old_file, pair["indexes"])
    old_cls = message_class(old_pool, old_file, local)
    new_cls = message_class(new_pool, new_file, local)
    for record in pair["records"]:
        check_record(pair, record, old_file, old_cls, new_cls, counts)
    for claim, told in (("difference", pair["witnesses"]), ("caveat", pair["caveats"])):
        for witness in told:
            counts[f"{claim} {witness['label']}: {witness['kind']}"] += 1
            if witness["label"] == "breaks":
                check_witness(witness, old_file, old_pool, new_file, new_pool, counts)


def check_batch(pairs):
    """What was counted, how many claims failed, and the first of the failures."""
    counts, failures = Counter(), []
    sides = [compile_side(pairs, side) for side in ("old", "new")]
    for pair in pairs:
        try:
            check(pair, *(files[pair["seed"]] for files in sides), counts)
        except Exception as error:
            # Whatever the runtime raises: the pairs behind it are to be seen too.
            failures.append(f"seed {pair['seed']}: {error!r}\n{pair['old']}\n{pair['new']}")
    return counts, len(failures), failures[:5]


def batches(lines):
    """The pairs of the input, a few hundred at a time."""
    lines = map(json.loads, lines)
    while batch := list(itertools.islice(lines, BATCH)):
        yield batch


def main():
    counts, failed = Counter(), 0
    for batch in batches(sys.stdin):
        good = []
        for pair in batch:
            if not pair["errors"]:
                good.append(pair)
                continue
            failed += 1
            print(f"seed {pair['seed']}: generator: {pair['errors']}\n{pair['old']}\n{pair['new']}")
        found, failures, examples = check_batch(good)
        counts += found
        failed += failures
        print("\n".join(examples), end="")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")
    print(f"protobuf runtime: {failed} counter-examples")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
