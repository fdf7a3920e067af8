//! What holds for a batch as a whole, and for its receipt.

use super::*;
use crate::enforcement::judge::{ERRORS_MAX, TEXTS_MAX};

/// T4: one bad record refuses the batch wherever it stands, and only it is listed.
#[test]
fn bad_and_good_in_one_batch() {
    let world = World::shop();
    let (good, bad) = (framed(1, ALICE), framed(1, "54"));
    for (values, expected) in [
        ([&bad, &good], vec![0]),
        ([&good, &bad], vec![1]),
        ([&bad, &bad], vec![0, 1]),
        ([&good, &good], vec![]),
    ] {
        let rows: Vec<Row<'_>> = values
            .iter()
            .map(|value| (None, Some(value.as_slice()), &[][..]))
            .collect();
        let judgement = world.judge("orders", "", &batch(Compression::None, &rows));
        let indexes: Vec<i32> = judgement
            .faults
            .errors
            .iter()
            .map(|error| error.batch_index)
            .collect();
        assert_eq!(indexes, expected);
        assert_eq!(judgement.faults.refused, expected.len() as u64);
        assert_eq!(judgement.valid[1][0], 2 - expected.len() as u64);
    }
}

/// T6 and T7: bindings, soft and permanent deletion.
#[test]
fn deleted_versions() {
    let mut world = World::shop();
    let value = framed(1, ALICE);
    world.put("orders-value", 1, 1, true);
    assert_eq!(world.value("orders", "", &value), "ok");
    let policy = "assay.soft.deleted=reject";
    assert_starts(
        &world.value("orders", policy, &value),
        "ASY-2105 value claims a soft-deleted version: schema id=1 (orders-value v1, AVRO): v1 of orders-value is deleted",
    );
    let one = batch(Compression::None, &[(None, Some(&value), &[])]);
    assert_eq!(world.judge("orders", "", &one).soft_deleted, [0, 1]);
    world.delete("orders-value", 1, 1);
    assert_starts(&world.value("orders", "", &value), "ASY-2101");
}

/// T8: what the records say does not depend on how the batch is compressed.
#[test]
fn every_codec() {
    let world = World::shop();
    let (good, bad) = (framed(1, ALICE), framed(1, "54"));
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let rows: [Row<'_>; 3] = [
            (None, Some(&good), &[]),
            (None, Some(&bad), &[]),
            (None, None, &[]),
        ];
        let judgement = world.judge("orders", "", &batch(codec, &rows));
        assert_eq!(judgement.records, 3, "{codec:?}");
        assert_eq!(judgement.faults.errors.len(), 1, "{codec:?}");
        assert_eq!(judgement.faults.errors[0].batch_index, 1, "{codec:?}");
    }
}

/// T17: an answer to very many bad records is bounded, and no record is forgotten.
#[test]
fn ten_thousand_bad_records() {
    let world = World::shop();
    let bad = framed(1, "54");
    let rows: Vec<Row<'_>> = vec![(None, Some(&bad), &[]); ERRORS_MAX + 10];
    let judgement = world.judge("orders", "", &batch(Compression::Zstd, &rows));
    let faults = &judgement.faults;
    assert_eq!(faults.refused, ERRORS_MAX as u64 + 10);
    assert_eq!(faults.errors.len(), ERRORS_MAX);
    let texts: Vec<&str> = faults
        .errors
        .iter()
        .filter_map(|error| error.message.as_deref())
        .collect();
    assert_eq!(texts.len(), TEXTS_MAX);
    assert!(texts.iter().map(|text| text.len()).sum::<usize>() < 60 * 1024);
    let ascending = faults
        .errors
        .windows(2)
        .all(|pair| pair[0].batch_index < pair[1].batch_index);
    assert!(ascending);
    assert_eq!(faults.counts.len(), 1);
    assert_eq!(faults.counts[0].count, ERRORS_MAX as u64 + 10);
}

#[test]
fn observing_counts_and_refuses_nothing() {
    let world = World::shop();
    let bad = framed(1, "54");
    let one = batch(Compression::None, &[(None, Some(&bad), &[])]);
    let judgement = world.judge("orders", "assay.value.validation.mode=observe", &one);
    assert_eq!(judgement.faults.refused, 0);
    assert!(judgement.faults.errors.is_empty());
    assert!(judgement.faults.detailed[0].observed && judgement.faults.counts[0].observed);
    assert!(judgement.pairs.pairs.is_empty());
}

/// The verdict of a receipt after the registry moved on.
#[test]
fn receipts_follow_the_registry() {
    let value = framed(1, ALICE);
    let one = batch(Compression::None, &[(None, Some(&value), &[])]);
    type Case = (&'static str, fn(&mut World), bool);
    let cases: [Case; 7] = [
        (
            "another subject",
            |world| {
                world.register("x-value", SchemaFormat::Avro, ORDER_V1);
            },
            true,
        ),
        (
            "soft deletion",
            |world| world.put("orders-value", 1, 1, true),
            true,
        ),
        (
            "permanent deletion",
            |world| world.delete("orders-value", 1, 1),
            false,
        ),
        (
            "deletion of another version",
            |world| world.delete("orders-value", 2, 2),
            true,
        ),
        (
            "deletion of the whole subject opens the topic",
            |world| {
                world.delete("orders-value", 1, 1);
                world.delete("orders-value", 2, 2);
            },
            true,
        ),
        (
            "other content under the id",
            |world| {
                world.ids = 0;
                world.register("orders-value", SchemaFormat::Avro, AVRO_KEY);
            },
            false,
        ),
        (
            "a key subject appears",
            |world| {
                world.register("orders-key", SchemaFormat::Avro, AVRO_KEY);
            },
            false,
        ),
    ];
    for (name, change, expected) in cases {
        let mut world = World::default();
        world.register("orders-value", SchemaFormat::Avro, ORDER_V1);
        world.register("orders-value", SchemaFormat::Avro, ORDER_V2);
        let judgement = world.judge("orders", "", &one);
        assert_eq!(verdict(&judgement), "ok");
        let facts = world.facts("orders", "", judgement);
        assert_eq!(facts.pairs.len(), 1);
        change(&mut world);
        assert_eq!(
            facts.hold(&policy("orders", ""), &world.snapshot),
            expected,
            "{name}"
        );
    }
    let mut world = World::shop();
    let reject = "assay.soft.deleted=reject";
    let facts = world.facts("orders", reject, world.judge("orders", reject, &one));
    world.put("orders-value", 1, 1, true);
    assert!(!facts.hold(&policy("orders", reject), &world.snapshot));
}

/// More schemas in one batch than are kept ready, in every order.
#[test]
fn many_schemas_in_one_batch() {
    let mut world = World::default();
    let ids: Vec<i32> = (0..70)
        .map(|n| {
            let text = ORDER_V1.replace("\"name\":\"id\"", &format!("\"name\":\"id{n}\""));
            world.register("orders-value", SchemaFormat::Avro, &text)
        })
        .collect();
    let values: Vec<Vec<u8>> = ids.iter().map(|id| framed(*id, ALICE)).collect();
    let rows: Vec<Row<'_>> = values
        .iter()
        .chain(values.iter().rev())
        .map(|value| (None, Some(value.as_slice()), &[][..]))
        .collect();
    let judgement = world.judge("orders", "", &batch(Compression::None, &rows));
    assert_eq!(verdict(&judgement), "ok");
    assert_eq!(judgement.valid[1], [140, 0, 0]);
    assert!(judgement.pairs.overflowed);
    let facts = world.facts("orders", "", judgement);
    assert!(
        !facts.hold(&policy("orders", ""), &world.snapshot),
        "judged again instead"
    );
}

#[test]
fn a_batch_that_does_not_decode_is_no_panic() {
    let world = World::shop();
    let value = framed(1, ALICE);
    let mut broken = batch(Compression::Gzip, &[(None, Some(&value), &[])]);
    let last = broken.len() - 12;
    broken[last] ^= 0xff;
    broken[last - 4] ^= 0xff;
    let judgement = world.judge("orders", "", &broken);
    assert!(judgement.batch_error.is_some());
}
