//! The records that validators are measured with, and their schemas.

use serde_json::{Value, json};

/// The schema of [`order`].
pub(crate) const ORDER: &str = r#"{"type":"record","name":"OrderEvent","namespace":"shop","fields":[
{"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
{"name":"order_id","type":"long"},
{"name":"placed_at","type":{"type":"long","logicalType":"timestamp-millis"}},
{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","SENT","DONE"]}},
{"name":"customer","type":{"type":"record","name":"Customer","fields":[
  {"name":"id","type":"long"},{"name":"name","type":"string"},
  {"name":"email","type":["null","string"],"default":null},
  {"name":"tier","type":{"type":"enum","name":"Tier","symbols":["BASIC","GOLD"]}}]}},
{"name":"billing","type":{"type":"record","name":"Address","fields":[
  {"name":"street","type":"string"},{"name":"city","type":"string"},{"name":"zip","type":"string"},
  {"name":"country","type":"string"},
  {"name":"position","type":["null",{"type":"record","name":"Position","fields":[
    {"name":"lat","type":"double"},{"name":"lon","type":"double"}]}],"default":null}]}},
{"name":"shipping","type":["null","Address"],"default":null},
{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
  {"name":"sku","type":"string"},{"name":"title","type":"string"},{"name":"qty","type":"int"},
  {"name":"price","type":{"type":"record","name":"Money","fields":[
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":4}},
    {"name":"currency","type":"string"}]}},
  {"name":"attributes","type":{"type":"map","values":"string"}}]}}},
{"name":"total","type":"Money"},
{"name":"discount","type":["null","Money"],"default":null},
{"name":"payment","type":{"type":"record","name":"Payment","fields":[
  {"name":"method","type":"string"},{"name":"captured","type":"boolean"},
  {"name":"reference","type":["null","string"],"default":null}]}},
{"name":"coupon","type":["null","string"],"default":null},
{"name":"tags","type":{"type":"array","items":"string"}},
{"name":"scores","type":{"type":"map","values":"double"}},
{"name":"headers","type":{"type":"map","values":"string"}},
{"name":"digest","type":{"type":"fixed","name":"Digest","size":16}},
{"name":"weight","type":"float"},
{"name":"priority","type":"int"},
{"name":"gift","type":"boolean"},
{"name":"note","type":["null","string"],"default":null}]}"#;

/// The schema of [`click`].
pub(crate) const CLICK: &str = r#"{"type":"record","name":"Click","fields":[
{"name":"at","type":"long"},{"name":"user","type":"long"},{"name":"page","type":"string"},
{"name":"x","type":"int"},{"name":"y","type":"int"},{"name":"referrer","type":["null","string"]}]}"#;

/// The schema of [`batch`].
pub(crate) const BATCH: &str = r#"{"type":"record","name":"Batch","fields":[{"name":"device","type":"string"},
{"name":"readings","type":{"type":"array","items":{"type":"record","name":"Reading","fields":[
  {"name":"at","type":"long"},{"name":"sensor","type":"string"},{"name":"value","type":"double"},
  {"name":"quality","type":["null","int"]}]}}}]}"#;

/// What is measured: a name, the schema, the record in Avro's JSON encoding.
pub(crate) fn all() -> [(&'static str, &'static str, Value); 3] {
    [
        ("order", ORDER, order()),
        ("click", CLICK, click()),
        ("batch", BATCH, batch()),
    ]
}

/// An order of 20 fields with records in records, about 1 KiB.
pub(crate) fn order() -> Value {
    let address = |position: Value| {
        json!({ "street": "Prinsengracht 263", "city": "Amsterdam", "zip": "1016 GV",
                "country": "NL", "position": position })
    };
    let money = |amount: &str| json!({ "amount": amount, "currency": "EUR" });
    let lines: Vec<Value> = (0..7)
        .map(|n| {
            json!({ "sku": format!("SKU-{n:08}"), "title": "Cotton shirt, long sleeves",
                    "qty": n + 1, "price": money("\u{1}\u{e2}\u{40}"),
                    "attributes": { "colour": "navy", "size": "L" } })
        })
        .collect();
    json!({
        "event_id": "123e4567-e89b-12d3-a456-426614174000",
        "order_id": 90_123_456_789_i64,
        "placed_at": 1_764_000_000_000_i64,
        "status": "PAID",
        "customer": { "id": 4_711, "name": "Margarethe Jansen",
                      "email": { "string": "m.jansen@example.org" }, "tier": "GOLD" },
        "billing": address(json!({ "shop.Position": { "lat": 52.375, "lon": 4.884 } })),
        "shipping": { "shop.Address": address(Value::Null) },
        "lines": lines,
        "total": money("\u{d}\u{3c}\u{1c}\u{40}"),
        "discount": { "shop.Money": money("\u{27}\u{10}") },
        "payment": { "method": "card", "captured": true,
                     "reference": { "string": "ch_3PqXyZ2eZvKYlo2C" } },
        "coupon": null,
        "tags": ["web", "returning", "express"],
        "scores": { "fraud": 0.02, "churn": 0.4 },
        "headers": { "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
        "digest": "0123456789abcdef",
        "weight": 2.5,
        "priority": 3,
        "gift": false,
        "note": { "string": "leave it with the neighbours" },
    })
}

/// A click, about 60 bytes.
pub(crate) fn click() -> Value {
    json!({ "at": 1_764_000_000_000_i64, "user": 4_711_234, "page": "/articles/today",
            "x": 812, "y": 1_290, "referrer": { "string": "https://example.org/search" } })
}

/// Readings of a device, about 8 KiB.
pub(crate) fn batch() -> Value {
    let readings: Vec<Value> = (0..300)
        .map(|n| {
            let quality = match n % 3 {
                0 => Value::Null,
                _ => json!({ "int": n }),
            };
            json!({ "at": 1_764_000_000_000_i64 + n, "sensor": format!("sensor-{n:03}"),
                    "value": 20.5, "quality": quality })
        })
        .collect();
    json!({ "device": "gateway-17", "readings": readings })
}
