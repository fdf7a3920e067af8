//! Which topics are bound to a subject, for those who think of deleting it.

use std::sync::{Arc, Weak};

use broker_core::Broker;
use registry::{BoundTopic, SubjectUsage};

use crate::enforcement::Enforcement;

/// Asks the topics of the broker and the policies of enforcement.
#[derive(Debug)]
pub struct TopicUsage {
    /// Weak: the broker holds the enforcement, which holds the registry, which holds this.
    broker: Weak<Broker>,
    enforcement: Weak<Enforcement>,
}

impl TopicUsage {
    /// Looks at these when asked.
    #[must_use]
    pub fn new(broker: &Arc<Broker>, enforcement: &Arc<Enforcement>) -> Self {
        Self {
            broker: Arc::downgrade(broker),
            enforcement: Arc::downgrade(enforcement),
        }
    }
}

impl SubjectUsage for TopicUsage {
    fn topics(&self, subject: &str) -> Vec<BoundTopic> {
        let (Some(broker), Some(enforcement)) = (self.broker.upgrade(), self.enforcement.upgrade())
        else {
            return Vec::new();
        };
        let mut bound = Vec::new();
        for topic in broker.topics.list() {
            for (part, mode) in enforcement.parts_bound_to(&topic.settings(), subject) {
                bound.push(BoundTopic {
                    topic: topic.name.as_str().to_owned(),
                    part: part.name(),
                    mode: mode.name(),
                });
            }
        }
        bound
    }
}
