//! Invariant: a claim never takes more bytes than there are, and what is written reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_formats::wire;

fuzz_target!(|data: &[u8]| {
    if let Ok((_, used)) = wire::read_claim(data) {
        assert!(used <= data.len());
    }
    if let Ok((indexes, used)) = wire::read_message_indexes(data) {
        assert!(used <= data.len());
        let mut written = Vec::new();
        wire::write_message_indexes(indexes.as_slice(), &mut written);
        let (again, _) = wire::read_message_indexes(&written).expect("what was written is valid");
        assert_eq!(again, indexes);
    }
});
