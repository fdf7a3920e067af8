//! Invariant: any request body in any served version decodes or is refused; nothing panics and no
//! announced count reserves memory (libFuzzer's memory limit tells).
#![no_main]

use broker_core::protocol::fetch::FetchRequest;
use broker_core::protocol::produce::ProduceRequest;
use broker_core::protocol::{APIS, messages};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [api, version, body @ ..] = data else { return };
    let Some(api) = APIS.get(usize::from(*api) % APIS.len()) else { return };
    let version = i16::from(*version) % 14;
    if !api.serves(version) {
        return;
    }
    let bytes = Bytes::copy_from_slice(body);
    macro_rules! cold {
        ($request:ident) => {{
            let _verdict = broker_core::protocol::cold::decode::<messages::$request>(bytes, version);
        }};
    }
    match api.key {
        0 => {
            let _verdict = ProduceRequest::decode(BytesMut::from(body), version);
        }
        1 => {
            let _verdict = FetchRequest::decode(body, version);
        }
        2 => cold!(ListOffsetsRequest),
        3 => cold!(MetadataRequest),
        8 => cold!(OffsetCommitRequest),
        9 => cold!(OffsetFetchRequest),
        11 => cold!(JoinGroupRequest),
        14 => cold!(SyncGroupRequest),
        19 => cold!(CreateTopicsRequest),
        32 => cold!(DescribeConfigsRequest),
        44 => cold!(IncrementalAlterConfigsRequest),
        _ => {}
    }
});
