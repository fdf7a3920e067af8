//! What corruption the validator sees: the Protobuf rows of the mutation table, and properties
//! that hold for any bytes and any text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use prost::Message as _;
use prost::encoding::encode_varint;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};

use super::{ProtobufSchema, ProtobufScratch, ProtobufValidator, compare};
use crate::schema::{ParseMode, TextForm};
use crate::validator::{
    MessageId, UnknownFields, ValidationLevel, ValidationOptions, Violation, ViolationReason,
};

const ORDERS: &str = "
syntax = \"proto2\";
package shop;
message Order {
  required int64 id = 1;
  optional string customer = 2;
  repeated Line lines = 3;
  map<string, int32> stock = 4;
  optional Status status = 5;
  repeated int32 codes = 6 [packed = true];
  optional double total = 7;
  oneof payment { string card = 8; bool cash = 9; }
  optional group Extra = 10 { optional fixed32 weight = 1; }
  extensions 100 to 199;
  enum Status { OPEN = 1; PAID = 2; SENT = 5; }
  message Line { required int32 qty = 1; optional bytes sku = 2; }
}
message Customer { optional string name = 1; optional Order last = 2; repeated string mails = 3; }
message Stock { required fixed64 id = 1; repeated double levels = 2; }
message Event { optional sint64 at = 21; optional string kind = 22; }
";

const PEOPLE: &str = "
syntax = \"proto3\";
package people;
message Person {
  string name = 1;
  repeated string mails = 2;
  Person boss = 3;
  Kind kind = 4;
  bool active = 5;
  map<int32, Person> reports = 6;
  repeated fixed32 marks = 7;
  float score = 2000;
}
enum Kind { NONE = 0; STAFF = 1; }
";

/// A payload under construction.
#[derive(Debug, Default, Clone)]
struct Payload(Vec<u8>);

impl Payload {
    fn tag(&mut self, number: u32, wire: u32) {
        encode_varint(u64::from(number << 3 | wire), &mut self.0);
    }

    fn varint(mut self, number: u32, value: u64) -> Self {
        self.tag(number, 0);
        encode_varint(value, &mut self.0);
        self
    }

    fn bytes(mut self, number: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.tag(number, 2);
        encode_varint(bytes.as_ref().len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    fn message(self, number: u32, message: Self) -> Self {
        self.bytes(number, message.0)
    }

    fn double(mut self, number: u32, value: f64) -> Self {
        self.tag(number, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

/// A small generator of its own, so that a seed means the same for ever (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// Text as long as people write it: some twelve letters a word.
    fn words(&mut self, count: usize) -> String {
        (0..count * (8 + self.below(8)))
            .map(|_| char::from(b'a' + self.byte() % 26))
            .collect()
    }

    fn text(&mut self) -> String {
        (0..1 + self.below(12))
            .map(|_| char::from(b'a' + self.byte() % 26))
            .collect()
    }
}

fn order(random: &mut Random) -> Payload {
    let mut order = Payload::default()
        .varint(1, random.next() >> 20)
        .bytes(2, random.text());
    for _ in 0..1 + random.below(4) {
        let line = Payload::default()
            .varint(1, random.next() % 1000)
            .bytes(2, random.text());
        order = order.message(3, line);
    }
    let entry = Payload::default()
        .bytes(1, random.text())
        .varint(2, random.next() % 100);
    order = order
        .message(4, entry)
        .varint(5, [1, 2, 5][random.below(3)]);
    let mut codes = Vec::new();
    for _ in 0..random.below(5) {
        encode_varint(random.next() % 100_000, &mut codes);
    }
    order.bytes(6, codes).double(7, 12.5).varint(9, 1)
}

fn compiled(text: &str) -> ProtobufValidator {
    ProtobufSchema::parse(text, &[], ParseMode::New)
        .unwrap()
        .compile()
        .unwrap()
}

fn judge(validator: &ProtobufValidator, index: i32, payload: &[u8]) -> Result<(), Violation> {
    let message = validator.message(&[index]).unwrap();
    let options = ValidationOptions::default();
    validator.validate(message, payload, options, &mut ProtobufScratch::default())
}

/// A payload, and the reason, path and offset of its violation if it has one.
type Case = (Payload, Option<(ViolationReason, &'static str, usize)>);

/// Per mille of 2000 mutated orders that pass.
fn passing(
    validator: &ProtobufValidator,
    mutate: impl Fn(&mut Random, Vec<u8>) -> Vec<u8>,
) -> usize {
    let mut random = Random(7);
    let passed = (0..2000).filter(|_| {
        let valid = order(&mut random).0;
        assert_eq!(judge(validator, 0, &valid), Ok(()));
        let mutated = mutate(&mut random, valid);
        judge(validator, 0, &mutated).is_ok()
    });
    passed.count() / 2
}

#[test]
fn corruption_is_refused() {
    let validator = compiled(ORDERS);
    let random_bytes = passing(&validator, |random, valid| {
        valid.iter().map(|_| random.byte()).collect()
    });
    assert_eq!(random_bytes, 0);
    let cut = passing(&validator, |_, mut valid| {
        valid.truncate(valid.len() / 2);
        valid
    });
    // A cut between two fields is a shorter message; no decoder can tell.
    assert!(cut < 250, "{cut} per mille of cut payloads pass");
    let appended = passing(&validator, |_, mut valid| {
        valid.push(0);
        valid
    });
    assert_eq!(appended, 0);
    let appended_any = passing(&validator, |random, mut valid| {
        valid.push(random.byte());
        valid
    });
    assert_eq!(appended_any, 0);
    let dropped = passing(&validator, |_, mut valid| {
        valid.remove(0);
        valid
    });
    assert!(
        dropped < 10,
        "{dropped} per mille without their first byte pass"
    );
    let flipped = passing(&validator, |random, mut valid| {
        let at = random.below(valid.len());
        valid[at] ^= 1 << random.below(8);
        valid
    });
    assert!(flipped < 700, "{flipped} per mille with a flipped bit pass");
    let json = passing(&validator, |_, _| {
        b"{\"id\": 7, \"customer\": \"x\"}".to_vec()
    });
    assert_eq!(json, 0);
    let newer = passing(&validator, |_, valid| {
        Payload(valid).bytes(11, "a field of version 2").0
    });
    assert_eq!(newer, 0);
}

const SHOP: &str = "
syntax = \"proto3\";
package shop;
message Order {
  int64 id = 1; string customer = 2; Status status = 3; double total = 4;
  repeated Line lines = 5; map<string, string> attributes = 6; optional string note = 7;
  bool paid = 8;
  enum Status { NEW = 0; PAID = 1; SHIPPED = 2; }
  message Line { string sku = 1; int32 qty = 2; double price = 3; }
}
message Customer { string name = 1; repeated string mails = 2; int64 since = 9; }
message Event { fixed64 at = 1; bytes body = 2; }
message Stock { repeated int32 levels = 1; string place = 12; }
message Price { double net = 1; double gross = 2; string currency = 10; }
";

/// An order whose fields are all set, with two lines.
fn shop_order(random: &mut Random) -> Payload {
    let mut order = Payload::default()
        .varint(1, random.next() >> 34)
        .bytes(2, random.words(1))
        .varint(3, 1 + random.next() % 2)
        .double(4, 99.5);
    for _ in 0..2 {
        let line = Payload::default()
            .bytes(1, random.words(1))
            .varint(2, 1 + random.next() % 99)
            .double(3, 9.25);
        order = order.message(5, line);
    }
    let entry = Payload::default()
        .bytes(1, random.words(1))
        .bytes(2, random.words(1));
    order
        .message(6, entry)
        .bytes(7, random.words(6))
        .varint(8, 1)
}

/// Whether a decoder takes the payload, and it holds no unknown field and no unknown enum number.
fn decoder_takes(message: &MessageDescriptor, payload: &[u8]) -> bool {
    fn known(message: &DynamicMessage) -> bool {
        message.unknown_fields().next().is_none()
            && message
                .fields()
                .all(|(field, value)| known_value(&field.kind(), value))
    }
    fn known_value(kind: &Kind, value: &Value) -> bool {
        match value {
            Value::Message(message) => known(message),
            Value::List(values) => values.iter().all(|value| known_value(kind, value)),
            Value::EnumNumber(number) => match kind {
                Kind::Enum(constants) => constants.get_value(*number).is_some(),
                _ => true,
            },
            _ => true,
        }
    }
    DynamicMessage::decode(message.clone(), payload).is_ok_and(|message| known(&message))
}

/// The rows of the mutation table: nothing passes where nothing should, and elsewhere no more than
/// passes a decoder that also refuses unknown fields and enum numbers. How much that is depends on
/// the share of text in the records, where most changes of a byte leave a valid record.
#[test]
fn corruption_is_refused_at_least_as_often_as_by_a_decoder() {
    type Mutation = fn(&mut Random, &mut Vec<u8>);
    const ROWS: [(&str, bool, Mutation); 7] = [
        ("random bytes", true, |random, payload| {
            payload.iter_mut().for_each(|byte| *byte = random.byte());
        }),
        ("cut in half", false, |_, payload| {
            payload.truncate(payload.len() / 2)
        }),
        ("one byte appended", true, |random, payload| {
            payload.push(random.byte())
        }),
        ("first byte dropped", false, |_, payload| {
            payload.remove(0);
        }),
        ("one byte overwritten", false, |random, payload| {
            let at = random.below(payload.len());
            payload[at] = payload[at].wrapping_add(random.byte() | 1);
        }),
        ("one bit flipped", false, |random, payload| {
            let at = random.below(payload.len());
            payload[at] ^= 1 << random.below(8);
        }),
        ("a field of a newer schema", true, |_, payload| {
            *payload = Payload(payload.clone()).bytes(9, "new").0;
        }),
    ];
    let schema = ProtobufSchema::parse(SHOP, &[], ParseMode::New).unwrap();
    let validator = schema.compile().unwrap();
    let pool = &schema.linked().unwrap().pool;
    let order = pool.get_message_by_name("shop.Order").unwrap();
    let mut random = Random(17);
    for (name, none, mutate) in ROWS {
        let (mut own, mut decoder) = (0, 0);
        for _ in 0..4000 {
            let mut payload = shop_order(&mut random).0;
            assert_eq!(judge(&validator, 0, &payload), Ok(()));
            mutate(&mut random, &mut payload);
            let passes = judge(&validator, 0, &payload).is_ok();
            own += usize::from(passes);
            decoder += usize::from(decoder_takes(&order, &payload));
        }
        println!(
            "{name}: {} of 1000 pass, {} a decoder",
            own / 4,
            decoder / 4
        );
        assert!(own <= decoder, "{name}: {own} pass, {decoder} a decoder");
        assert!(!none || own == 0, "{name}: {own} pass");
    }
    let payload = shop_order(&mut random).0;
    for index in 1..5 {
        assert!(
            judge(&validator, index, &payload).is_err(),
            "as message {index}"
        );
    }
    assert!(judge(&validator, 0, b"{\"id\": 1}").is_err());
}

#[test]
fn bytes_of_another_message_are_refused() {
    let validator = compiled(ORDERS);
    let order = order(&mut Random(1));
    let customer = Payload::default()
        .bytes(1, "Ann")
        .message(2, order.clone())
        .bytes(3, "a@b");
    let mut stock = Payload::default();
    stock.tag(1, 1);
    stock.0.extend_from_slice(&7_u64.to_le_bytes());
    let stock = stock.double(2, 1.5);
    let event = Payload::default().varint(21, 9).bytes(22, "click");
    let payloads = [order, customer, stock, event];
    for (own, payload) in (0..).zip(&payloads) {
        for index in 0..4 {
            let verdict = judge(&validator, index, &payload.0);
            assert_eq!(
                verdict.is_ok(),
                index == own,
                "bytes of {own} as {index}: {verdict:?}"
            );
        }
    }
    assert_eq!(
        judge(&validator, 1, &[]),
        Ok(()),
        "an empty message is a message"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn violations_say_what_and_where() {
    use ViolationReason::*;
    let orders = compiled(ORDERS);
    let people = compiled(PEOPLE);
    let id = || Payload::default().varint(1, 7);
    let line = |quantity| Payload::default().varint(1, quantity);
    let mut group = id();
    group.tag(10, 3);
    group.tag(1, 5);
    group.0.extend_from_slice(&[1, 2, 3, 4]);
    let open_group = group.clone();
    group.tag(10, 4);
    let mut wrong_end = open_group.clone();
    wrong_end.tag(11, 4);
    let wrong_wire = |number, wire| {
        let mut payload = id();
        payload.tag(number, wire);
        payload.0.extend_from_slice(&[0; 8]);
        payload
    };
    let deep = |depth| {
        (0..depth).fold(Payload::default(), |inner, _| {
            Payload::default().message(3, inner)
        })
    };
    let orders_cases: Vec<Case> = vec![
        (id(), None),
        (group, None),
        (id().bytes(6, [1, 2]).varint(6, 3), None),
        (id().varint(150, 1).bytes(199, "any"), None),
        (id().bytes(2, [0xff]), None),
        (open_group, Some((Truncated, "$.extra", 8))),
        (wrong_end, Some((Malformed, "$.extra", 8))),
        (Payload::default(), Some((MissingRequired, "$.id", 0))),
        (
            id().message(3, line(1))
                .message(3, Payload::default().bytes(2, "x")),
            Some((MissingRequired, "$.lines[1].qty", 8)),
        ),
        (
            id().message(3, line(1)).message(3, line(2).varint(9, 1)),
            Some((UnknownField, "$.lines[1]", 10)),
        ),
        (id().varint(5, 3), Some((EnumOutOfRange, "$.status", 3))),
        (
            id().varint(6, 1).bytes(6, [1, 0x80]),
            Some((Truncated, "$.codes[2]", 7)),
        ),
        (id().bytes(6, [1, 0x80]), Some((Truncated, "$.codes[1]", 5))),
        (id().varint(9, 2), Some((InvalidBoolean, "$.cash", 3))),
        (
            id().message(4, Payload::default().bytes(1, "k").bytes(2, "v")),
            Some((WireType, "$.stock[0].value", 7)),
        ),
        (id().bytes(11, "x"), Some((UnknownField, "$", 2))),
        (wrong_wire(2, 0), Some((WireType, "$.customer", 2))),
        (wrong_wire(2, 6), Some((Malformed, "$", 2))),
        (wrong_wire(2, 7), Some((Malformed, "$", 2))),
        (wrong_wire(0, 0), Some((Malformed, "$", 2))),
        (wrong_wire(10, 4), Some((Malformed, "$", 2))),
        (Payload(vec![0x08, 0x80]), Some((Truncated, "$.id", 1))),
        (
            Payload([vec![0x08], vec![0x80; 10], vec![0]].concat()),
            Some((Malformed, "$.id", 1)),
        ),
        (
            Payload([vec![0x08], vec![0xff; 9], vec![2]].concat()),
            Some((Malformed, "$.id", 1)),
        ),
        (
            Payload(vec![0x12, 0x05, b'a']),
            Some((Truncated, "$.customer", 1)),
        ),
        (Payload(vec![0xff; 5]), Some((Truncated, "$", 0))),
        (
            Payload(vec![0xff, 0xff, 0xff, 0xff, 0x1f]),
            Some((Malformed, "$", 0)),
        ),
    ];
    let people_cases: Vec<Case> = vec![
        (Payload::default().bytes(1, "Zoë").varint(4, 9), None),
        (deep(100), None),
        (deep(101), Some((LimitExceeded, "", 0))),
        (
            Payload::default().bytes(2, "a").bytes(2, [b'b', 0xff]),
            Some((InvalidUtf8, "$.mails[1]", 5)),
        ),
        (
            Payload::default().message(3, Payload::default().bytes(1, [0xc0, 0x80])),
            Some((InvalidUtf8, "$.boss.name", 4)),
        ),
        (
            Payload::default().bytes(7, [0; 8]).bytes(7, [0; 7]),
            Some((Truncated, "$.marks[3]", 16)),
        ),
        (
            Payload::default()
                .message(6, Payload::default().varint(1, 1))
                .bytes(6, [0x12, 9]),
            Some((Truncated, "$.reports[1].value", 7)),
        ),
        (
            Payload::default().varint(2000, 1),
            Some((WireType, "$.score", 0)),
        ),
        (
            Payload::default().varint(1999, 1),
            Some((UnknownField, "$", 0)),
        ),
    ];
    for (validator, cases) in [(&orders, orders_cases), (&people, people_cases)] {
        for (payload, wanted) in cases {
            let verdict = judge(validator, 0, &payload.0);
            match (verdict, wanted) {
                (Ok(()), None) => {}
                (Err(violation), Some((reason, path, at))) => {
                    assert_eq!(violation.reason, reason, "{violation}");
                    if !path.is_empty() {
                        let place = (violation.path.as_str(), violation.byte_offset);
                        assert_eq!(place, (path, at), "{violation}");
                    }
                }
                (verdict, wanted) => panic!("{:x?}: {verdict:?} is not {wanted:?}", payload.0),
            }
        }
    }
}

#[test]
fn levels_and_unknown_fields_choose() {
    let validator = compiled(ORDERS);
    let message = validator.message(&[0]).unwrap();
    let id = || Payload::default().varint(1, 7);
    let mut unknown_group = id();
    unknown_group.tag(50, 3);
    unknown_group = unknown_group.varint(51, 1).bytes(52, "x");
    unknown_group.tag(50, 4);
    // Payload; passes at Decode, at Full allowing unknown fields, at Full refusing them.
    let cases = [
        (id(), [true, true, true]),
        (id().varint(11, 1), [true, true, false]),
        (unknown_group, [true, true, false]),
        (id().varint(2, 1), [true, false, false]),
        (id().varint(5, 77), [true, false, false]),
        (Payload::default(), [false, false, false]),
    ];
    for (payload, wanted) in cases {
        let verdicts = [
            (ValidationLevel::Decode, UnknownFields::Reject),
            (ValidationLevel::Full, UnknownFields::Allow),
            (ValidationLevel::Full, UnknownFields::Reject),
        ]
        .map(|(level, unknown_fields)| {
            let options = ValidationOptions {
                level,
                unknown_fields,
                ..ValidationOptions::default()
            };
            let mut scratch = ProtobufScratch::default();
            validator
                .validate(message, &payload.0, options, &mut scratch)
                .is_ok()
        });
        assert_eq!(verdicts, wanted, "{:x?}", payload.0);
    }
}

#[test]
fn a_message_id_of_another_schema_is_refused() {
    let validator = compiled(PEOPLE);
    let options = ValidationOptions::default();
    let mut scratch = ProtobufScratch::default();
    assert!(
        validator
            .validate(MessageId(99), &[], options, &mut scratch)
            .is_err()
    );
}

fn any_person() -> impl Strategy<Value = Payload> {
    let leaf = (any::<u32>(), "[a-zé]{0,6}", any::<bool>()).prop_map(|(mark, name, active)| {
        let mut person = Payload::default().bytes(1, name).varint(5, active.into());
        person.tag(7, 5);
        person.0.extend_from_slice(&mark.to_le_bytes());
        person
    });
    leaf.prop_recursive(4, 24, 3, |inner| {
        (inner.clone(), inner, any::<i32>(), "[a-z]{0,4}").prop_map(|(boss, report, key, mail)| {
            let key = i64::from(key).cast_unsigned();
            let entry = Payload::default().varint(1, key).message(2, report);
            Payload::default()
                .message(3, boss)
                .message(6, entry)
                .bytes(2, mail)
                .varint(4, key % 3)
        })
    })
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for text in [ORDERS, PEOPLE] {
            let validator = compiled(text);
            if let Err(violation) = judge(&validator, 0, &bytes) {
                prop_assert!(violation.byte_offset <= bytes.len());
            }
        }
    }

    #[test]
    fn any_text_gets_an_answer(text in "[ -~\n]{0,120}") {
        let parsed = ProtobufSchema::parse(&text, &[], ParseMode::New);
        if let Ok(schema) = parsed {
            prop_assert_eq!(compare(&schema, &schema), vec![]);
        }
    }

    #[test]
    fn texts_near_a_schema_get_an_answer(
        at in 0..ORDERS.len(),
        length in 0..12_usize,
        with in "[a-z0-9{}=;\"<>. ]{0,4}",
    ) {
        let mut text = ORDERS.to_owned();
        let end = (at + length).min(text.len());
        text.replace_range(at..end, &with);
        if let Ok(schema) = ProtobufSchema::parse(&text, &[], ParseMode::Existing) {
            let canonical = schema.text(TextForm::Canonical);
            let again = ProtobufSchema::parse(&canonical, &[], ParseMode::Existing).unwrap();
            prop_assert_eq!(&canonical, &again.text(TextForm::Canonical));
            prop_assert_eq!(compare(&schema, &again), vec![]);
            for form in [TextForm::Normalized, TextForm::Serialized, TextForm::IgnoreExtensions] {
                let _printed = schema.text(form);
            }
            let _built = schema.compile().is_ok();
        }
    }

    #[test]
    fn descriptors_near_a_schema_get_an_answer(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let schema = ProtobufSchema::parse(ORDERS, &[], ParseMode::New).unwrap();
        let mut bytes = schema.linked().unwrap().files[0].encode_to_vec();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let parsed = ProtobufSchema::parse(&STANDARD.encode(bytes), &[], ParseMode::New);
        if let Ok(schema) = parsed {
            let canonical = schema.text(TextForm::Canonical);
            let again = ProtobufSchema::parse(&canonical, &[], ParseMode::New);
            prop_assert!(again.is_ok(), "{canonical}");
            prop_assert!(schema.compile().is_ok());
        }
    }

    #[test]
    fn the_walker_agrees_with_a_decoder(
        person in any_person(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        corrupt in any::<bool>(),
    ) {
        let schema = ProtobufSchema::parse(PEOPLE, &[], ParseMode::New).unwrap();
        let descriptor = schema.linked().unwrap().pool.get_message_by_name("people.Person").unwrap();
        let mut bytes = person.0;
        if corrupt && !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let verdict = judge(&schema.compile().unwrap(), 0, &bytes);
        let decoded = DynamicMessage::decode(descriptor, bytes.as_slice());
        match verdict {
            Ok(()) => prop_assert!(decoded.is_ok(), "{decoded:?}"),
            // These the decoder lets pass, or cannot know.
            Err(violation) if matches!(
                violation.reason,
                ViolationReason::UnknownField
                    | ViolationReason::WireType
                    | ViolationReason::InvalidBoolean
            ) => {}
            // This decoder takes a stray end of a group for an unknown field; others refuse it.
            Err(violation) if violation.detail.starts_with("end of group") => {}
            Err(violation) => prop_assert!(decoded.is_err(), "{violation}"),
        }
    }
}
