//! stub
#![expect(clippy::todo, missing_docs, reason = "stub")]
use broker_core::validation::*;
use std::sync::Arc;
#[derive(Debug)]
pub struct Rejections;
impl Rejections {
    pub fn new(_: usize) -> Self {
        todo!()
    }
}
pub fn routes(_: Arc<Rejections>) -> axum::Router {
    todo!()
}
#[derive(Debug)]
pub struct Enforcement;
impl Enforcement {
    pub fn new(_: registry::Registry, _: Arc<Rejections>) -> Self {
        todo!()
    }
}
impl RecordValidator for Enforcement {
    fn validate(
        &self,
        _: &TopicSettings,
        _: &broker_core::records::BatchView<'_>,
        _: &RequestOrigin<'_>,
    ) -> Verdict {
        todo!()
    }
    fn still_holds(&self, _: &TopicSettings, _: &Receipt) -> bool {
        todo!()
    }
    fn resolve(&self, _: Wanted) -> BoxFuture<'_, Result<(), Unavailable>> {
        todo!()
    }
    fn config_keys(&self) -> &'static [TopicConfigKey] {
        todo!()
    }
    fn check_properties(
        &self,
        _: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), String> {
        todo!()
    }
}
