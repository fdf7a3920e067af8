//! Quotas on changes of topics (KIP-599): what a request may still change, and how long its client
//! must wait.

use super::{RequestContext, refuse};
use crate::broker::Broker;
use crate::error::ErrorCode;
use crate::quotas::QuotaKind;
use crate::topics::TopicError;

/// What one request changed so far, as far as its client has a quota of changes.
pub(super) struct Mutations<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    /// Version from which a client knows THROTTLING_QUOTA_EXCEEDED. The changes of older ones are
    /// made, and waited for.
    refused_from: i16,
    limited: bool,
    /// How long the client must wait, in ms.
    wait_ms: i64,
}

impl<'a> Mutations<'a> {
    pub(super) fn new(broker: &'a Broker, context: &'a RequestContext, refused_from: i16) -> Self {
        let kind = QuotaKind::ControllerMutationRate;
        Self {
            broker,
            context,
            refused_from,
            limited: broker.topics.quotas().has(kind),
            wait_ms: 0,
        }
    }

    /// Whether changes are to be counted: nobody pays for what nobody limits.
    pub(super) const fn are_limited(&self) -> bool {
        self.limited
    }

    /// Counts partitions that are about to be made or removed.
    ///
    /// # Errors
    /// THROTTLING_QUOTA_EXCEEDED: they must not be.
    pub(super) fn charge(&mut self, partitions: usize) -> Result<(), TopicError> {
        let quotas = self.broker.topics.quotas();
        let now_ms = self.broker.config.clock.now_ms();
        let client = self.context.client();
        let partitions = f64::from(u32::try_from(partitions).unwrap_or(u32::MAX));
        if self.context.version < self.refused_from {
            let kind = QuotaKind::ControllerMutationRate;
            self.wait_ms = quotas.record(kind, client, partitions, now_ms);
            return Ok(());
        }
        let Err(wait_ms) = quotas.admit_mutation(client, partitions, now_ms) else {
            return Ok(());
        };
        self.wait_ms = wait_ms;
        refuse(
            ErrorCode::THROTTLING_QUOTA_EXCEEDED,
            format!(
                "the quota {} is used up: try again in {wait_ms} ms",
                QuotaKind::ControllerMutationRate.name()
            ),
        )
    }

    /// For the answer: how long the client must wait, in ms.
    pub(super) fn throttle_time_ms(&self) -> i32 {
        i32::try_from(self.wait_ms).unwrap_or(i32::MAX)
    }
}
