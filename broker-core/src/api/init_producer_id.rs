//! InitProducerId, key 22, versions 0 to 5 (KIP-98). v2 flexible; v3 epoch bump (KIP-360).
//!
//! A null transactional id gets a fresh producer id with epoch 0, whatever id and epoch the client
//! brings. Transactional ids are refused: transactions are not offered.

use std::sync::Arc;

use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};

use super::{RequestContext, blocking};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::topics::TopicError;
use crate::wire;

/// Allots a producer id.
pub(super) async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let failed = |code: ErrorCode| {
        wire!(InitProducerIdResponse {
            error_code: code.0,
            producer_id: -1,
            producer_epoch: -1,
        })
    };
    if let Some(transactional_id) = &request.transactional_id {
        tracing::warn!(
            client_id = %context.client_id,
            address = %context.address,
            transactional_id = transactional_id.as_str(),
            "transactions are not supported"
        );
        return failed(ErrorCode::INVALID_REQUEST);
    }
    let owner = Arc::clone(broker);
    let allotted = blocking(move || {
        owner.new_producer_id().map_err(|error| TopicError {
            code: ErrorCode::KAFKA_STORAGE_ERROR,
            message: error.to_string(),
        })
    })
    .await;
    match allotted {
        Ok(producer_id) => wire!(InitProducerIdResponse {
            producer_id: producer_id.0,
            producer_epoch: 0,
        }),
        Err(error) => {
            tracing::error!(reason = error.message, "no producer id could be allotted");
            failed(error.code)
        }
    }
}
