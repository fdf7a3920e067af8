//! Transcripts: `testdata/groups/*.txt` hold commands (`> ...`) and what the group answers.
//! `ACCEPT=1 cargo test` writes the answers anew; read the difference before committing it.
//!
//! ```text
//! > config delay=3000 size=2            a new group
//! > at 5000                             the time; runs what is due on the way
//! > join A [id=..] [instance=..] [v=5] [session=..] [rebalance=..] [type=..] [protocols=range:t1+t2,sticky:t1]
//! > sync A id=.. gen=1 [instance=..] [name=..] [assign=id:share,id:share]
//! > heartbeat id=.. gen=1 [instance=..]
//! > leave id=.. [instance=..]
//! > commit id=.. gen=1 [instance=..]
//! > restart                             from the last record
//! > describe
//! ```
//! A member without an id gets `A-1` from the join labelled A.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;

use super::member::subscription_topics;
use super::{
    ClassicConfig, ClassicGroup, Effects, JoinReply, JoinRequest, Protocol, Reply, RequestToken,
    SyncReply, SyncRequest,
};
use crate::error::ErrorCode;
use crate::groups::record;

struct Transcript {
    group: ClassicGroup,
    config: ClassicConfig,
    now_ms: i64,
    /// Label of each request that may still be answered.
    labels: BTreeMap<RequestToken, String>,
    record: Option<Vec<u8>>,
    out: String,
}

impl Transcript {
    fn new() -> Self {
        let config = ClassicConfig {
            initial_rebalance_delay_ms: 0,
            size_max: 100,
        };
        Self {
            group: ClassicGroup::new(config, 0),
            config,
            now_ms: 0,
            labels: BTreeMap::new(),
            record: None,
            out: String::new(),
        }
    }

    fn command(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let mut label = String::new();
        let mut named = BTreeMap::new();
        for word in words {
            match word.split_once('=') {
                Some((name, value)) => {
                    named.insert(name, value);
                }
                None => word.clone_into(&mut label),
            }
        }
        let text = |name: &str| named.get(name).copied().unwrap_or_default();
        let number = |name: &str, default: i32| {
            named
                .get(name)
                .map_or(default, |value| value.parse().unwrap())
        };
        let instance_id = named.get("instance").copied();
        match verb {
            "config" => {
                self.config.initial_rebalance_delay_ms = number("delay", 0);
                self.config.size_max = usize::try_from(number("size", 100)).unwrap();
                self.group = ClassicGroup::new(self.config, self.now_ms);
            }
            "at" => self.advance(label.parse().unwrap()),
            "join" => {
                let version = number("v", 9);
                let session_timeout_ms = number("session", 10_000);
                let request = JoinRequest {
                    member_id: text("id").to_owned(),
                    instance_id: instance_id.map(str::to_owned),
                    client_id: label.to_lowercase(),
                    client_host: "/127.0.0.1".to_owned(),
                    session_timeout_ms,
                    rebalance_timeout_ms: number("rebalance", 60_000),
                    protocol_type: named.get("type").unwrap_or(&"consumer").to_string(),
                    protocols: protocols(named.get("protocols").unwrap_or(&"range:t1")),
                    needs_known_member_id: version >= 4 && instance_id.is_none(),
                    knows_skip_assignment: version >= 9,
                    fresh_member_id: format!("{label}-1"),
                };
                let token = self.token(label);
                let effects = self.group.handle_join(self.now_ms, token, request);
                self.effects(effects);
            }
            "sync" => {
                let assignments = text("assign").split(',').filter_map(|share| {
                    let (id, share) = share.split_once(':')?;
                    Some((id.to_owned(), Bytes::copy_from_slice(share.as_bytes())))
                });
                let request = SyncRequest {
                    member_id: text("id").to_owned(),
                    instance_id: instance_id.map(str::to_owned),
                    generation: number("gen", 1),
                    protocol_type: None,
                    protocol_name: named.get("name").map(|name| (*name).to_owned()),
                    assignments: assignments.collect(),
                };
                let token = self.token(label);
                let effects = self.group.handle_sync(self.now_ms, token, request);
                self.effects(effects);
            }
            "heartbeat" => {
                let generation = number("gen", 1);
                let error =
                    self.group
                        .handle_heartbeat(self.now_ms, text("id"), instance_id, generation);
                self.say(error.name());
            }
            "commit" => {
                let result = self.group.check_commit(
                    self.now_ms,
                    text("id"),
                    instance_id,
                    number("gen", -1),
                );
                self.say(result.err().unwrap_or(ErrorCode::NONE).name());
            }
            "leave" => {
                let mut effects = Effects::default();
                let error =
                    self.group
                        .handle_leave(self.now_ms, text("id"), instance_id, &mut effects);
                self.say(error.name());
                self.effects(effects);
            }
            "restart" => {
                self.labels.clear();
                self.group = match &self.record {
                    Some(bytes) => {
                        let metadata = record::decode_group(bytes).unwrap();
                        ClassicGroup::restore(self.config, &metadata, self.now_ms)
                    }
                    None => ClassicGroup::new(self.config, self.now_ms),
                };
            }
            "describe" => {
                for member in self.group.describe_members() {
                    self.say(&format!(
                        "{} instance {:?} {}{} metadata {} share {}",
                        member.id,
                        member.instance_id,
                        member.client_id,
                        member.client_host,
                        metadata_text(&member.metadata),
                        String::from_utf8_lossy(&member.assignment)
                    ));
                }
            }
            unknown => panic!("no command {unknown}"),
        }
        let state = self.group.state().name();
        let generation = self.group.generation();
        let protocol = self.group.protocol_name().unwrap_or("-").to_owned();
        self.say(&format!("= {state} {generation} {protocol}"));
    }

    fn advance(&mut self, to_ms: i64) {
        while let Some(due_ms) = self.group.next_deadline_ms().filter(|due| *due <= to_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            let now_ms = self.now_ms;
            let effects = self.group.handle_timeout(now_ms);
            self.say(&format!("at {now_ms}:"));
            self.effects(effects);
        }
        self.now_ms = to_ms;
    }

    fn token(&mut self, label: String) -> RequestToken {
        let next = self.labels.keys().next_back().map_or(0, |last| last.0 + 1);
        self.labels.insert(RequestToken(next), label);
        RequestToken(next)
    }

    fn effects(&mut self, effects: Effects) {
        if let Some(metadata) = &effects.record {
            self.record = Some(record::encode_group(metadata).unwrap());
            self.say("write");
        }
        for (token, reply) in effects.replies {
            let label = self.labels.get(&token).cloned().unwrap_or_default();
            let text = match reply {
                Reply::Join(reply) => join_text(&reply),
                Reply::Sync(reply) => sync_text(&reply),
            };
            self.say(&format!("{label} <- {text}"));
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.out, "  {line}").unwrap();
    }
}

fn name(error: ErrorCode) -> String {
    error.name().to_owned()
}

fn join_text(reply: &JoinReply) -> String {
    if reply.error != ErrorCode::NONE {
        return format!("{} id {:?}", name(reply.error), reply.member_id);
    }
    let members: Vec<String> = reply
        .members
        .iter()
        .map(|member| format!("{}={}", member.id, metadata_text(&member.metadata)))
        .collect();
    format!(
        "joined {} as {} led by {}, {} of {}, members [{}]{}",
        reply.generation,
        reply.member_id,
        reply.leader,
        reply.protocol_name.as_deref().unwrap_or("-"),
        reply.protocol_type.as_deref().unwrap_or("-"),
        members.join(" "),
        if reply.skip_assignment {
            ", skip assignment"
        } else {
            ""
        }
    )
}

fn sync_text(reply: &SyncReply) -> String {
    if reply.error != ErrorCode::NONE {
        return reply.error.name().to_owned();
    }
    format!("share {:?}", String::from_utf8_lossy(&reply.assignment))
}

/// `range:t1+t2` to a consumer subscription to t1 and t2.
fn protocols(text: &str) -> Vec<Protocol> {
    let protocols = text.split(',').filter_map(|protocol| {
        let (name, topics) = protocol.split_once(':')?;
        let topics: Vec<&str> = topics.split('+').collect();
        let mut metadata = vec![0, 1];
        metadata.extend_from_slice(&i32::try_from(topics.len()).unwrap().to_be_bytes());
        for topic in topics {
            metadata.extend_from_slice(&i16::try_from(topic.len()).unwrap().to_be_bytes());
            metadata.extend_from_slice(topic.as_bytes());
        }
        metadata.extend_from_slice(&(-1_i32).to_be_bytes());
        Some(Protocol {
            name: name.to_owned(),
            metadata: metadata.into(),
        })
    });
    protocols.collect()
}

fn metadata_text(metadata: &[u8]) -> String {
    subscription_topics(metadata).map_or_else(|| "-".to_owned(), |topics| topics.join("+"))
}

fn run(input: &str) -> String {
    let mut transcript = Transcript::new();
    for line in input.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(transcript.out, "{line}").unwrap();
            transcript.command(command);
        } else if let Some(title) = line.strip_prefix("# ") {
            // A title begins a new group.
            let out = std::mem::take(&mut transcript.out);
            transcript = Transcript::new();
            transcript.out = out;
            if !transcript.out.is_empty() {
                transcript.out.push('\n');
            }
            writeln!(transcript.out, "# {title}").unwrap();
        }
    }
    transcript.out
}

#[test]
fn transcripts_hold() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/groups"));
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "transcripts are missing");
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let found = run(&expected);
        if std::env::var_os("ACCEPT").is_some() {
            std::fs::write(&path, found).unwrap();
        } else {
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}
