//! Verdicts on single records: codes, texts and probable causes.

use super::*;

#[test]
fn valid_records_pass_in_every_format() {
    let world = World::shop();
    for (topic, value) in [
        ("orders", framed(1, ALICE)),
        ("orders", framed(2, &format!("{ALICE}06"))),
        ("payments", framed(4, "7b22616d6f756e74223a317d")),
        ("shop", framed_message(5, &[0], "082a1205616c696365")),
        ("shop", framed_message(5, &[0], "")),
        ("shop", framed_message(5, &[1], "22024445")),
        ("shop", framed_message(5, &[1, 0], "3805")),
        // The long form of the first message's index.
        ("shop", [framed(5, "0200"), hex("082a")].concat()),
        ("no-subject", b"anything".to_vec()),
    ] {
        assert_eq!(world.value(topic, "", &value), "ok", "{topic} {value:02x?}");
    }
}

/// T1 to T3 and the mistakes that real producers make: the code, and the cause at the end.
#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn client_mistakes_yield_code_and_cause() {
    let world = World::shop();
    let order_v2 = format!("{ALICE}06");
    for (topic, value, starts, ends) in [
        (
            "orders",
            framed(1, "ffffffffffffffffffffffff"),
            "ASY-2202 value does not decode: schema id=1 (orders-value v1, AVRO)",
            "",
        ),
        (
            "orders",
            framed(1, &order_v2),
            "ASY-2301 value has bytes left after its last field: schema id=1 (orders-value v1, AVRO)",
            "; the payload decodes as v2 (id=2)",
        ),
        (
            "orders",
            framed(2, ALICE),
            "ASY-2201 value ends inside a value: schema id=2 (orders-value v2, AVRO)",
            "; the payload decodes as v1 (id=1)",
        ),
        (
            "orders",
            br#"{"id":42}"#.to_vec(),
            "ASY-2002 value has no magic byte: first byte is 0x7b",
            "looks like plain JSON from a serializer without schema registry",
        ),
        ("orders", hex(ALICE), "ASY-2002", ""),
        (
            "orders",
            hex(&order_v2),
            "ASY-2002",
            "; the bytes decode as v2 (id=2) without a prefix",
        ),
        (
            "orders",
            b"".to_vec(),
            "ASY-2001 value is empty",
            "; a tombstone is null, not empty bytes",
        ),
        (
            "orders",
            b"\x00\x00".to_vec(),
            "ASY-2003 value ends inside its prefix: 2 bytes, expected at least 5",
            "",
        ),
        (
            "orders",
            framed(99, ALICE),
            "ASY-2101 value claims an unknown schema id: no schema has id=99",
            "",
        ),
        (
            "orders",
            [hex("0001000000"), hex(ALICE)].concat(),
            "ASY-2101 value claims an unknown schema id: no schema has id=16777216",
            "; the id is 1 when read little-endian",
        ),
        (
            "orders",
            [hex("000000000000000001"), hex(ALICE)].concat(),
            "ASY-2004 value claims an impossible schema id: schema id is 0",
            "; looks like an eight-byte Apicurio id (1)",
        ),
        (
            "orders",
            framed(3, "54"),
            "ASY-2103 value claims a schema that is not bound to its subject: schema id=3 (orders-key v1, AVRO): it is no version of orders-value",
            "; the schema is bound to orders-key: key and value swapped",
        ),
        (
            "orders",
            framed(4, "7b7d"),
            "ASY-2103 value claims a schema that is not bound to its subject: schema id=4 (payments-value v1, JSON): it is no version of orders-value",
            "orders-value",
        ),
        (
            "orders",
            framed(1, "7b226964223a34327d"),
            "ASY-22",
            "; the payload is JSON text",
        ),
        (
            "orders",
            [framed(1, ""), framed(1, ALICE)].concat(),
            "ASY-2",
            "; the payload is itself framed (id=1): serialized twice",
        ),
        (
            "orders",
            framed(1, &format!("00{ALICE}")),
            "ASY-2",
            "; the payload decodes after its first byte: message indexes belong to Protobuf only",
        ),
        (
            "orders",
            b"Obj\x01\x04\x14".to_vec(),
            "ASY-2002",
            "; looks like an Avro container file, expected one datum without file header",
        ),
        (
            "orders",
            framed(1, "4f626a010414"),
            "ASY-2",
            "; looks like an Avro container file, expected one datum without file header",
        ),
        (
            "orders",
            b"AAAAAAFUCmFsaWNl".to_vec(),
            "ASY-2002",
            "; looks like base64 of a framed record",
        ),
        (
            "orders",
            b"0000000001540a616c696365".to_vec(),
            "ASY-2002",
            "; looks like hexadecimal text of a framed record",
        ),
        (
            "orders",
            hex("1f8b080000000000"),
            "ASY-2002",
            "; looks like gzip data, compressed by the application",
        ),
        (
            "orders",
            hex("28b52ffd00000000"),
            "ASY-2002",
            "; looks like zstd data, compressed by the application",
        ),
        (
            "orders",
            [hex("0300"), vec![7; 16], hex(ALICE)].concat(),
            "ASY-2002",
            "; looks like AWS Glue Schema Registry framing",
        ),
        (
            "payments",
            framed(4, "7b22616d6f756e74223a2d317d"),
            "ASY-2211 value breaks a constraint of its schema: schema id=4 (payments-value v1, JSON) at $.amount",
            "",
        ),
        (
            "payments",
            framed(4, "7b7d"),
            "ASY-2210 value lacks a required field: schema id=4 (payments-value v1, JSON)",
            "",
        ),
        ("payments", framed(4, "7b22616d"), "ASY-22", ""),
        (
            "payments",
            framed(4, "007b22616d6f756e74223a317d"),
            "ASY-22",
            "; the payload decodes after its first byte: message indexes belong to Protobuf only",
        ),
        // T3: another message type's bytes.
        (
            "shop",
            framed_message(5, &[0], "22024445"),
            "ASY-2302 value holds a field that its schema does not declare: schema id=5 (shop-value v1, PROTOBUF)",
            "; the payload decodes as message [1] of the schema",
        ),
        // T15: message indexes.
        (
            "shop",
            framed(5, "01082a"),
            "ASY-2005 value has malformed message indexes: schema id=5 (shop-value v1, PROTOBUF): the list at byte 5",
            "",
        ),
        ("shop", framed(5, "feffffff0f082a"), "ASY-2005", ""),
        (
            "shop",
            framed_message(5, &[2], "082a"),
            "ASY-2104 value claims a message that its schema does not have: schema id=5 (shop-value v1, PROTOBUF): message indexes [2]",
            "",
        ),
        (
            "shop",
            framed_message(5, &[i32::MAX], "082a"),
            "ASY-2104",
            "",
        ),
        ("shop", framed_message(5, &[0, 0], "082a"), "ASY-2104", ""),
        (
            "shop",
            framed(5, "1205616c696365"),
            "ASY-2",
            "; the payload decodes as the first message when no message indexes are read",
        ),
        (
            "shop",
            framed(5, "0100082a"),
            "ASY-2",
            "; message indexes look unsigned (use.deprecated.format=true)",
        ),
        (
            "shop",
            framed(5, "0122024445"),
            "ASY-2",
            "; looks like the bare message index 1 without its count",
        ),
        ("shop", framed_message(5, &[0], "082a12ff"), "ASY-2201", ""),
        ("shop", framed_message(5, &[0], "1202c328"), "ASY-2203", ""),
    ] {
        let text = world.value(topic, "", &value);
        assert_starts(&text, starts);
        assert_ends(&text, ends);
        assert!(!text.contains("alice"), "{text}");
    }
}

#[test]
fn byte_offsets_count_from_the_first_byte_sent() {
    let world = World::shop();
    // The name's length runs past the end: the violation stands behind prefix and id.
    let text = world.value("orders", "", &framed(1, "540affff"));
    assert_starts(&text, "ASY-2201");
    assert!(text.contains(" at $.name byte 6: "), "{text}");
}

/// T5: tombstones and null keys pass unless the topic refuses them; empty is not null.
#[test]
fn nulls_and_empties() {
    let world = World::shop();
    let good = framed(1, ALICE);
    for (properties, key, value, expected) in [
        ("", None, None, "ok"),
        ("", None, Some(&good[..]), "ok"),
        (
            "assay.value.null=reject",
            None,
            None,
            "ASY-2007 value is null",
        ),
        (
            "assay.key.null=reject",
            None,
            Some(&good[..]),
            "ASY-2007 key is null",
        ),
        ("", Some(&b""[..]), Some(&good[..]), "ASY-2001 key is empty"),
        (
            "confluent.key.schema.validation=false",
            Some(&b"k"[..]),
            Some(&good[..]),
            "ok",
        ),
    ] {
        let batch = batch(Compression::None, &[(key, value, &[])]);
        assert_starts(
            &verdict(&world.judge("orders", properties, &batch)),
            expected,
        );
    }
    let both = batch(Compression::None, &[(Some(b""), Some(b""), &[])]);
    let judgement = world.judge("orders", "", &both);
    assert_eq!(judgement.faults.errors.len(), 1, "one error a record");
    let message = judgement.faults.errors[0].message.as_deref().unwrap();
    assert!(
        message.contains("ASY-2001 key") && message.contains("; ASY-2001 value"),
        "{message}"
    );
}

/// T14: the schema named by a header, the payload bare.
#[test]
fn header_framing() {
    let world = World::shop();
    let guid = |text: &str| [&[1][..], identity::guid(text, &[]).as_bytes()].concat();
    let (avro, proto) = (guid(ORDER_V1), guid(SHOP_PROTO));
    let first = [&proto[..], &[0]].concat();
    let nested = [&proto[..], &hex("040200")].concat();
    let unknown = [&[1][..], &[9; 16]].concat();
    let by_id = framed(1, "");
    let (alice, prefixed) = (hex(ALICE), framed(1, ALICE));
    let (order, part) = (hex("082a"), hex("3805"));
    const NAME: &str = "__value_schema_id";
    for (topic, headers, value, expected) in [
        ("orders", vec![(NAME, Some(&avro[..]))], &alice, "ok"),
        ("orders", vec![(NAME, Some(&by_id[..]))], &alice, "ok"),
        ("orders", vec![(NAME, None)], &prefixed, "ok"),
        (
            "orders",
            vec![
                (NAME, Some(&unknown[..])),
                (NAME, Some(&avro[..])),
                (NAME, None),
            ],
            &alice,
            "ok",
        ),
        (
            "orders",
            vec![("other", Some(&unknown[..]))],
            &prefixed,
            "ok",
        ),
        (
            "orders",
            vec![(NAME, Some(&avro[..])), (NAME, Some(&unknown[..]))],
            &alice,
            "ASY-2102",
        ),
        ("orders", vec![(NAME, Some(&avro[..]))], &prefixed, "ASY-2"),
        ("orders", vec![(NAME, Some(&first[..]))], &alice, "ASY-2103"),
        (
            "orders",
            vec![(NAME, Some(&b"17"[..]))],
            &alice,
            "ASY-2006 value has a malformed schema id header: __value_schema_id: first byte is 0x31",
        ),
        ("shop", vec![(NAME, Some(&first[..]))], &order, "ok"),
        ("shop", vec![(NAME, Some(&nested[..]))], &part, "ok"),
        ("shop", vec![(NAME, Some(&proto[..]))], &order, "ASY-2006"),
        ("shop", vec![(NAME, Some(&first[..]))], &Vec::new(), "ok"),
        (
            "orders",
            vec![(NAME, Some(&avro[..]))],
            &Vec::new(),
            "ASY-2001",
        ),
    ] {
        let batch = batch(Compression::None, &[(None, Some(value), &headers)]);
        let text = verdict(&world.judge(topic, "", &batch));
        assert_starts(&text, expected);
    }
    let batch = batch(
        Compression::None,
        &[(None, Some(&prefixed), &[(NAME, Some(&avro))])],
    );
    assert_ends(
        &verdict(&world.judge("orders", "", &batch)),
        "; it also begins with a prefix, which is payload when a header names the schema",
    );
    let text = world.value("orders", "assay.value.framing=header", &prefixed);
    assert_starts(&text, "ASY-2008 value has no schema id header");
    assert_ends(
        &text,
        "; the schema id is in a prefix, this topic takes it from the header",
    );
}

#[test]
fn strategies() {
    let mut world = World::shop();
    let payment = world.register("Payment", SchemaFormat::Json, PAYMENT_JSON);
    let order = world.register("t-shop.Order", SchemaFormat::Avro, ORDER_V1);
    let proto = world.register("shop.Payment.Part", SchemaFormat::Protobuf, SHOP_PROTO);
    let untitled = world.register("t-value", SchemaFormat::Json, "{}");
    let staged = world.register(":.stage:t-value", SchemaFormat::Avro, ORDER_V1);
    let amount = "7b22616d6f756e74223a317d";
    let enforce = "assay.value.validation.mode=enforce assay.value.subject.name.strategy=";
    let record = format!("{enforce}RecordNameStrategy");
    let topic_record = format!("{enforce}TopicRecordNameStrategy");
    let stage = "confluent.schema.validation.context.name=stage";
    for (properties, value, expected) in [
        (record.as_str(), framed(payment, amount), "ok"),
        (
            record.as_str(),
            framed_message(proto, &[1, 0], "3805"),
            "ok",
        ),
        (
            record.as_str(),
            framed_message(proto, &[1], "22024445"),
            "ASY-2103 value claims a schema that is not bound to its subject: schema id=8 (shop.Payment.Part v1, PROTOBUF): it is no version of shop.Payment",
        ),
        (
            record.as_str(),
            framed(untitled, "7b7d"),
            "ASY-2106 value claims a schema without a record name",
        ),
        (record.as_str(), framed(order, ALICE), "ASY-2103"),
        (topic_record.as_str(), framed(order, ALICE), "ok"),
        (topic_record.as_str(), framed(payment, amount), "ASY-2103"),
        (stage, framed(staged, ALICE), "ok"),
        (
            stage,
            framed(1, ALICE),
            "ASY-2101 value claims an unknown schema id: no schema of context .stage has id=1",
        ),
        ("", framed(staged, ALICE), "ASY-2101"),
    ] {
        assert_starts(&world.value("t", properties, &value), expected);
    }
}

#[test]
fn unframed_topics() {
    let mut world = World::shop();
    let order_v2 = hex(&format!("{ALICE}06"));
    for (topic, properties, value, expected) in [
        ("orders", "assay.value.framing=none", order_v2.clone(), "ok"),
        (
            "orders",
            "assay.value.framing=none",
            hex(ALICE),
            "ASY-2201 value ends inside a value: schema id=2 (orders-value v2, AVRO)",
        ),
        (
            "orders",
            "assay.value.framing=none assay.value.schema=version:1",
            hex(ALICE),
            "ok",
        ),
        (
            "orders",
            "assay.value.framing=none assay.value.schema=id:1",
            hex(ALICE),
            "ok",
        ),
        (
            "orders",
            "assay.value.framing=none assay.value.schema=version:7",
            hex(ALICE),
            "ASY-2107 value has no schema to be judged by: version:7 of orders-value does not exist",
        ),
        ("orders", "assay.value.framing=none", Vec::new(), "ASY-2001"),
        ("shop", "assay.value.framing=none", hex("082a"), "ok"),
        ("shop", "assay.value.framing=none", Vec::new(), "ok"),
        (
            "payments",
            "assay.value.framing=none",
            br#"{"amount":1}"#.to_vec(),
            "ok",
        ),
    ] {
        assert_starts(&world.value(topic, properties, &value), expected);
    }
    // The newest version is what `latest` means at append time as well.
    let properties = "assay.value.framing=none";
    let one = batch(Compression::None, &[(None, Some(&order_v2), &[])]);
    let facts = world.facts(
        "orders",
        properties,
        world.judge("orders", properties, &one),
    );
    assert!(facts.hold(&policy("orders", properties), &world.snapshot));
    world.register("orders-value", SchemaFormat::Avro, AVRO_KEY);
    assert!(!facts.hold(&policy("orders", properties), &world.snapshot));
}

#[test]
fn levels() {
    let world = World::shop();
    let foreign = framed_message(5, &[0], "22024445");
    let trailing = framed(1, &format!("{ALICE}06"));
    let garbage = framed(1, "ffff");
    let bad_index = framed_message(5, &[9], "");
    for (level, topic, value, expected) in [
        ("full", "shop", &foreign, "ASY-2302"),
        ("decode", "shop", &foreign, "ok"),
        ("full", "orders", &trailing, "ASY-2301"),
        ("decode", "orders", &trailing, "ok"),
        ("decode", "orders", &garbage, "ASY-22"),
        ("id", "orders", &garbage, "ok"),
        ("id", "shop", &bad_index, "ASY-2104"),
        ("id", "orders", &framed(4, ""), "ASY-2103"),
    ] {
        let properties = format!("assay.value.validation.level={level}");
        assert_starts(&world.value(topic, &properties, value), expected);
    }
    let properties = "assay.protobuf.unknown.fields=allow";
    assert_eq!(world.value("shop", properties, &foreign), "ok");
    let shown = world.value("orders", "assay.errors.include.values=true", &garbage);
    assert_ends(&shown, "; bytes 0000000001ffff");
}

/// Avro's logical types count where the topic says so.
#[test]
fn logical_types() {
    let mut world = World::shop();
    let text = r#"{"type":"record","name":"Invoice","fields":[
        {"name":"id","type":{"type":"string","logicalType":"uuid"}},
        {"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}},
        {"name":"due","type":{"type":"int","logicalType":"date"}}]}"#;
    let id = world.register("invoices-value", SchemaFormat::Avro, text);
    let invoice = |uuid: &str, total: &str, due: &str| {
        let uuid = uuid
            .bytes()
            .fold("48".to_owned(), |hex, byte| hex + &format!("{byte:02x}"));
        framed(id, &format!("{uuid}{total}{due}"))
    };
    let uuid = "123e4567-e89b-12d3-a456-426614174000";
    let checked = "assay.avro.logical.types=check";
    for (value, expected) in [
        // 99.99 on 9999-12-31.
        (invoice(uuid, "04270f", "c082e602"), "ok"),
        (
            invoice("123e4567-e89b-12d3-a456-42661417400x", "04270f", "00"),
            "ASY-2208 value breaks the rule of a logical type: schema id=6 (invoices-value v1, \
             AVRO) at $.id byte 5: expected the text of a uuid",
        ),
        (
            invoice(uuid, "042710", "00"),
            "ASY-2208 value breaks the rule of a logical type: schema id=6 (invoices-value v1, \
             AVRO) at $.total byte 42: decimal has more digits than its precision",
        ),
        (
            invoice(uuid, "04270f", "c282e602"),
            "ASY-2208 value breaks the rule of a logical type: schema id=6 (invoices-value v1, \
             AVRO) at $.due byte 45: date is outside of the years 1 to 9999",
        ),
    ] {
        assert_starts(&world.value("invoices", checked, &value), expected);
        assert_eq!(world.value("invoices", "", &value), "ok");
        let lax = format!("{checked} assay.value.validation.level=decode");
        assert_eq!(world.value("invoices", &lax, &value), "ok");
    }
}

/// A GUID names content: any id of it that is bound to the subject will do.
#[test]
fn a_guid_with_several_ids() {
    let mut world = World::shop();
    let bound = world.register("copies-value", SchemaFormat::Avro, AVRO_KEY);
    world.register("other-value", SchemaFormat::Avro, AVRO_KEY);
    let value = [&[1][..], identity::guid(AVRO_KEY, &[]).as_bytes(), &[0x54]].concat();
    assert_eq!(world.value("copies", "", &value), "ok");
    let one = batch(Compression::None, &[(None, Some(&value), &[])]);
    let judgement = world.judge("copies", "", &one);
    assert_eq!(judgement.pairs.pairs[0].id, SchemaId(bound));
    assert_starts(&world.value("payments", "", &value), "ASY-2103");
}

/// Whatever the bytes are, there is a verdict, and its text is one bounded line.
#[test]
fn arbitrary_bytes_get_a_verdict() {
    let world = World::shop();
    let seeds = [
        ("orders", framed(1, ALICE)),
        ("orders", framed(2, &format!("{ALICE}06"))),
        ("payments", framed(4, "7b22616d6f756e74223a317d")),
        ("shop", framed_message(5, &[1, 0], "3805")),
        ("shop", framed_message(5, &[0], "082a1205616c696365")),
    ];
    // xorshift64: the same bytes in every run.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).expect("below the bound")
    };
    let mut refused = 0;
    for _ in 0..4_000 {
        let (topic, seed) = &seeds[random(seeds.len())];
        let mut value = seed.clone();
        for _ in 0..=random(3) {
            let at = random(value.len().max(1));
            match random(4) {
                0 => value.truncate(at),
                1 if at < value.len() => value[at] = u8::try_from(random(256)).expect("a byte"),
                2 => value.insert(
                    at.min(value.len()),
                    u8::try_from(random(256)).expect("a byte"),
                ),
                _ => value
                    .extend((0..random(20)).map(|_| u8::try_from(random(256)).expect("a byte"))),
            }
        }
        let properties = ["", "assay.value.framing=none"][random(2)];
        let text = world.value(topic, properties, &value);
        assert!(text.len() <= 1_500 && !text.contains('\n'), "{text}");
        assert!(text == "ok" || text.starts_with("ASY-2"), "{text}");
        refused += usize::from(text != "ok");
    }
    assert!(refused > 2_000, "{refused}");
}
