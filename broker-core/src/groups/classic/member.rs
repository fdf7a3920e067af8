//! One member of a classic group.

use bytes::Bytes;

use super::{JoinRequest, NEW_MEMBER_JOIN_TIMEOUT_MS, Protocol, RequestToken};
use crate::groups::record::MemberMetadata;

/// A member; its id is the key it is stored under.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// In order of preference.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) awaiting_join: Option<RequestToken>,
    pub(super) awaiting_sync: Option<RequestToken>,
    /// Until its first join is answered.
    is_new: bool,
    session_deadline_ms: i64,
}

impl Member {
    pub(super) fn new(request: JoinRequest, token: RequestToken, now_ms: i64) -> Self {
        Self {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
            session_deadline_ms: now_ms.saturating_add(NEW_MEMBER_JOIN_TIMEOUT_MS),
        }
    }

    pub(super) fn restore(record: &MemberMetadata, protocol_name: &str, now_ms: i64) -> Self {
        Self {
            instance_id: record.instance_id.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            session_timeout_ms: record.session_timeout_ms,
            rebalance_timeout_ms: record.rebalance_timeout_ms,
            protocols: vec![Protocol {
                name: protocol_name.to_owned(),
                metadata: record.subscription.clone(),
            }],
            assignment: record.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            session_deadline_ms: now_ms.saturating_add(i64::from(record.session_timeout_ms)),
        }
    }

    /// Takes over what a rejoin says anew.
    pub(super) fn update(&mut self, request: JoinRequest) {
        self.client_id = request.client_id;
        self.client_host = request.client_host;
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = request.rebalance_timeout_ms;
        self.protocols = request.protocols;
    }

    /// Whether a rejoin offers exactly what the member offers already.
    pub(super) fn offers(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    pub(super) fn supports(&self, protocol_name: &str) -> bool {
        self.protocols
            .iter()
            .any(|protocol| protocol.name == protocol_name)
    }

    /// Metadata for a protocol; empty when the member does not offer it.
    pub(super) fn metadata(&self, protocol_name: Option<&str>) -> Bytes {
        self.protocols
            .iter()
            .find(|protocol| Some(protocol.name.as_str()) == protocol_name)
            .map(|protocol| protocol.metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn restart_session(&mut self, now_ms: i64) {
        if !self.is_new {
            self.session_deadline_ms = now_ms.saturating_add(i64::from(self.session_timeout_ms));
        }
    }

    /// The generation is there: from now on the member is expected to heartbeat.
    pub(super) fn start_generation(&mut self, now_ms: i64) {
        self.is_new = false;
        self.restart_session(now_ms);
    }

    /// When the member counts as gone. A known member whose request waits here is alive.
    pub(super) fn deadline_ms(&self) -> Option<i64> {
        let waits = self.awaiting_join.is_some() || self.awaiting_sync.is_some();
        (self.is_new || !waits).then_some(self.session_deadline_ms)
    }
}

/// Topics of a consumer subscription: `version i16, topics [string], ...` in every version.
/// `None` when the bytes are no subscription.
pub(super) fn subscription_topics(metadata: &[u8]) -> Option<Vec<String>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        rest = after;
    }
    Some(topics)
}
