"""Contradicts the lines of `cargo xtask agreement protobuf` with protoc and protobuf's own runtime.

Both schemas of a pair are compiled by protoc, which must take what we took. Every record means what
its JSON means; under a compatible new schema it parses, and every field that both schemas have (by
number) reads the value that was written. Every witness is valid under the old schema, and refused
or misread under the new one exactly as it says. What the reference's rules let pass, and we with
them, is told apart in `known_hole` with the reason, and counted.
"""

import ast
import base64
import json
import pathlib
import struct
import sys
import tempfile
from collections import Counter

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from grpc_tools import protoc

BATCH = 500
TEXT = (FieldDescriptor.CPPTYPE_STRING,)
MESSAGE = FieldDescriptor.CPPTYPE_MESSAGE
GROUP = FieldDescriptor.TYPE_GROUP
# Numbers that the reference takes for one kind.
VARINTS = {
    FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM,
}
KINDS = [
    VARINTS,
    {FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SINT64},
    {FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32},
    {FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64},
    {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES},
]


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


def known_hole(old_field, new_field, labels):
    """Why the reference does not report that these two read each other's bytes differently."""
    if GROUP in (old_field.type, new_field.type) or in_group(old_field) or in_group(new_field):
        return "groups are not compared"
    oneof = new_field.containing_oneof
    if oneof is not None and any(one.type == GROUP for one in oneof.fields):
        return "groups are not compared"
    if old_field.is_repeated != new_field.is_repeated or is_map(old_field) != is_map(new_field):
        if MESSAGE in (old_field.cpp_type, new_field.cpp_type):
            return "labels of messages are not compared"
        if old_field.cpp_type in TEXT:
            return "labels of text are compatible"
        if old_field.full_name not in labels[0] or new_field.full_name not in labels[1]:
            return "a label that is not written is not compared"
        return None
    if is_map(old_field):
        old_field, new_field = (
            field.message_type.fields_by_name["key"] for field in (old_field, new_field)
        )
    for kind in KINDS:
        if old_field.type in kind and new_field.type in kind:
            return "numbers of one kind wrap, text and bytes are one kind"
    return None


def in_group(field):
    body = field.containing_type
    outer = body.containing_type
    return outer is not None and any(
        one.type == GROUP and one.message_type == body for one in outer.fields
    )


def written_labels(file):
    """The full names of fields whose label stands in the text."""
    found = set()

    def walk(scope, messages):
        for message in messages:
            name = f"{scope}.{message.name}"
            for field in message.field:
                in_oneof = field.HasField("oneof_index") and not field.proto3_optional
                repeated = field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
                if repeated or field.proto3_optional or (file.syntax != "proto3" and not in_oneof):
                    found.add(f"{name}.{field.name}")
            walk(name, message.nested_type)

    walk(file.package, file.message_type)
    return found


def meetings(old, new, seen):
    """Yields the fields of two message types that meet by number, all the way down."""
    if (old.full_name, new.full_name) in seen:
        return
    seen.add((old.full_name, new.full_name))
    for number, other in new.fields_by_number.items():
        field = old.fields_by_number.get(number)
        yield field, other
        if field is not None and field.message_type and other.message_type:
            yield from meetings(field.message_type, other.message_type, seen)


def known_refusal(old_cls, new_cls, missing):
    """Why the reference does not report that the new schema refuses a record."""
    for field, other in meetings(old_cls.DESCRIPTOR, new_cls.DESCRIPTOR, set()):
        if missing:
            if not other.is_required:
                continue
            # Numbers that become required are reported; the labels of the rest are not.
            if other.cpp_type in (*TEXT, MESSAGE) or in_group(other):
                if field is None or not field.is_required:
                    return "labels of text, messages and groups are not compared"
            if field is not None and field.containing_oneof is not None:
                return "a label that is not written is not compared"
            if field is not None and other.enum_type is not None:
                return "numbers that an enum does not have count as unknown"
        elif field is not None and field.type != other.type and (
            GROUP in (field.type, other.type) or other.cpp_type in TEXT or in_group(other)
        ):
            return "bytes that become text, and groups, are not compared"
    return None


def check_record(pair, record, old_cls, new_cls, labels, counts):
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
        known = known_refusal(old_cls, new_cls, new is not None)
        if known is None:
            raise Counterexample(f"compatible, but {record} is refused: {why}")
        counts[f"known hole: {known}"] += 1
        return
    for old_field, new_field in differ_messages(old, new):
        known = known_hole(old_field, new_field, labels)
        if known is None:
            raise Counterexample(
                f"compatible, but {record} reads another {new_field.full_name}: {old} {new}"
            )
        counts[f"known hole: {known}"] += 1


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


def check_witness(witness, old_file, old_pool, new_file, new_pool):
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
        if why is None:
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
                counts["known hole: the reference's descriptor leaves groups out of oneofs"] += 1
                continue
            raise Counterexample(f"our descriptor of the {side} schema does not link: {error}")
    local = message_at(old_file, pair["indexes"])
    old_cls = message_class(old_pool, old_file, local)
    new_cls = message_class(new_pool, new_file, local)
    labels = written_labels(old_file), written_labels(new_file)
    for record in pair["records"]:
        check_record(pair, record, old_cls, new_cls, labels, counts)
    for witness in pair["witnesses"]:
        counts[f"{witness['label']}: {witness['kind']}"] += 1
        if witness["label"] == "breaks":
            check_witness(witness, old_file, old_pool, new_file, new_pool)


def check_batch(pairs):
    """What was counted, how many claims failed, and the first of the failures."""
    counts, failures = Counter(), []
    sides = [compile_side(pairs, side) for side in ("old", "new")]
    for pair in pairs:
        try:
            check(pair, *(files[pair["seed"]] for files in sides), counts)
        except Counterexample as error:
            failures.append(f"seed {pair['seed']}: {error}\n{pair['old']}\n{pair['new']}")
    return counts, len(failures), failures[:5]


def main():
    counts, failed = Counter(), 0
    pairs = [json.loads(line) for line in sys.stdin]
    for pair in pairs:
        if pair["errors"]:
            failed += 1
            print(f"seed {pair['seed']}: generator: {pair['errors']}\n{pair['old']}\n{pair['new']}")
    pairs = [pair for pair in pairs if not pair["errors"]]
    batches = [pairs[at:at + BATCH] for at in range(0, len(pairs), BATCH)]
    for batch in batches:
        found, failures, examples = check_batch(batch)
        counts += found
        failed += failures
        print("\n".join(examples), end="")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count}")
    print(f"protobuf runtime: {failed} counter-examples")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
