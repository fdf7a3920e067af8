//! Invariant: any bytes either parse into batches that lie inside them, or are refused.
#![no_main]

use broker_core::records::{BatchView, DecompressionScratch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut scratch = DecompressionScratch::default();
    let mut rest = data;
    while let Ok((batch, after)) = BatchView::parse(rest) {
        assert!(after.len() < rest.len());
        rest = after;
        // The CRC is not asked for: a fuzzer would never get past it.
        if let Ok(records) = batch.records(&mut scratch) {
            for record in records {
                let Ok(record) = record else { break };
                for (_name, _value) in record.headers.iter() {}
            }
        }
    }
});
