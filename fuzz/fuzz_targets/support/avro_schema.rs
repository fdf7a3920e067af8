//! Avro schemas out of fuzzed bytes, so that mutations reach every type instead of the JSON parser.

use serde_json::{Value, json};

/// Deepest nesting of types.
const DEPTH_MAX: usize = 4;

/// Splits fuzzed bytes in two: the first byte says how many of the rest are the first part.
pub(crate) fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// A record with a field of any type. May be refused: two branches of a union may be alike.
pub(crate) fn schema(bytes: &[u8], with_logical_types: bool) -> Value {
    let mut maker = Maker {
        bytes: bytes.iter(),
        names: Vec::new(),
        with_logical_types,
    };
    maker.record(0)
}

struct Maker<'a> {
    bytes: std::slice::Iter<'a, u8>,
    /// Of every named type begun.
    names: Vec<String>,
    with_logical_types: bool,
}

impl Maker<'_> {
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % bound
    }

    fn name(&mut self, letter: &str) -> String {
        let name = format!("{letter}{}", self.names.len());
        self.names.push(name.clone());
        name
    }

    fn ty(&mut self, depth: usize) -> Value {
        let kinds = if depth < DEPTH_MAX { 19 } else { 12 };
        match self.below(kinds) {
            0 => json!("null"),
            1 => json!("boolean"),
            2 => json!("int"),
            3 => json!("long"),
            4 => json!("float"),
            5 => json!("double"),
            6 => json!("bytes"),
            7 => json!("string"),
            8 => {
                let size = self.below(20);
                json!({ "type": "fixed", "name": self.name("F"), "size": size })
            }
            9 => {
                let symbols = ["A", "B", "C", "D"];
                let symbols = &symbols[..1 + self.below(4)];
                let mut schema =
                    json!({ "type": "enum", "name": self.name("E"), "symbols": symbols });
                if self.below(3) == 0 {
                    schema["default"] = json!("A");
                }
                schema
            }
            10 => self.logical(),
            11 => match self.names.len() {
                0 => json!("int"),
                count => {
                    let index = self.below(count);
                    json!(self.names[index])
                }
            },
            12 => json!({ "type": "array", "items": self.ty(depth + 1) }),
            13 => json!({ "type": "map", "values": self.ty(depth + 1) }),
            14 | 15 => self.record(depth + 1),
            16 => json!(["null", self.ty(depth + 1)]),
            17 => json!([self.ty(depth + 1), "null"]),
            _ => {
                let count = self.below(5);
                Value::Array((0..count).map(|_| self.ty(depth + 1)).collect())
            }
        }
    }

    fn logical(&mut self) -> Value {
        if !self.with_logical_types {
            return json!("long");
        }
        let (base, name) = [
            ("string", "uuid"),
            ("int", "date"),
            ("int", "time-millis"),
            ("long", "time-micros"),
            ("long", "timestamp-millis"),
            ("long", "local-timestamp-micros"),
            ("bytes", "decimal"),
            ("bytes", "big-decimal"),
        ][self.below(8)];
        let precision = 1 + self.below(40);
        json!({ "type": base, "logicalType": name, "precision": precision })
    }

    fn record(&mut self, depth: usize) -> Value {
        let name = self.name("R");
        let count = self.below(5);
        let fields: Vec<Value> = (0..count)
            .map(|i| {
                let mut field = json!({ "name": format!("f{i}"), "type": self.ty(depth + 1) });
                match self.below(12) {
                    0 => field["default"] = Value::Null,
                    1 => field["default"] = json!(0),
                    2 => field["default"] = json!({}),
                    3 => field["aliases"] = json!(["f0"]),
                    4 => field["aliases"] = json!(["g"]),
                    _ => {}
                }
                field
            })
            .collect();
        json!({ "type": "record", "name": name, "fields": fields })
    }
}
