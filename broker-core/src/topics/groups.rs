//! Configs of single groups in the metadata log. What they mean is the group coordinator's.

use std::collections::BTreeMap;

use super::catalog::MetadataRecord;
use super::config::{Properties, value_after};
use super::{ConfigChange, ConfigOp, TopicError, Topics};
use crate::error::ErrorCode;
use crate::validation::ConfigType;

/// Groups with configs of their own: more than anyone writes down by hand.
const GROUPS_MAX: usize = 10_000;

/// Longest name of a group that has configs, in bytes.
const NAME_BYTES_MAX: usize = 1024;

impl Topics {
    /// What is set for a group.
    pub(crate) fn group_configs(&self, group: &str) -> Properties {
        let changing = self.changing.lock();
        let set = changing.catalog.group_configs.get(group);
        set.cloned().unwrap_or_default()
    }

    /// What is set for every group that has configs.
    pub(crate) fn all_group_configs(&self) -> BTreeMap<String, Properties> {
        self.changing.lock().catalog.group_configs.clone()
    }

    /// Names of all groups that have configs.
    #[must_use]
    pub fn list_group_configs(&self) -> Vec<String> {
        let changing = self.changing.lock();
        changing.catalog.group_configs.keys().cloned().collect()
    }

    /// Changes configs of a group: all or none. `usual` answers type and value of a config that is
    /// not set, if there is such a config; `check` says whether all that would be set is legal.
    pub(crate) fn change_group_configs(
        &self,
        group: &str,
        change: &ConfigChange,
        validate_only: bool,
        usual: &dyn Fn(&str) -> Option<(ConfigType, String)>,
        check: &dyn Fn(&Properties) -> Result<(), String>,
    ) -> Result<(), TopicError> {
        if group.is_empty() || group.len() > NAME_BYTES_MAX {
            return Err(TopicError::new(
                ErrorCode::INVALID_REQUEST,
                format!(
                    "a group with configs has a name of 1 to {NAME_BYTES_MAX} bytes, not {}",
                    group.len()
                ),
            ));
        }
        let mut changing = self.changing.lock();
        let known = &changing.catalog.group_configs;
        let before = known.get(group).cloned().unwrap_or_default();
        let configs = match change {
            ConfigChange::Replace(configs) => Ok(configs.clone()),
            ConfigChange::Alter(ops) => alter(&before, ops, usual),
        };
        let configs = configs
            .and_then(|configs| check(&configs).map(|()| configs))
            .map_err(|why| TopicError::new(ErrorCode::INVALID_CONFIG, why))?;
        if before.is_empty() && !configs.is_empty() && known.len() >= GROUPS_MAX {
            return Err(TopicError::new(
                ErrorCode::INVALID_REQUEST,
                format!("there are {GROUPS_MAX} groups with configs already"),
            ));
        }
        if validate_only || configs == before {
            return Ok(());
        }
        let record = MetadataRecord::GroupConfigsChanged {
            group: group.to_owned(),
            configs,
        };
        self.record(&mut changing, record)?;
        tracing::info!(group, "group configs changed");
        Ok(())
    }
}

fn alter(
    before: &Properties,
    ops: &[(String, ConfigOp)],
    usual: &dyn Fn(&str) -> Option<(ConfigType, String)>,
) -> Result<Properties, String> {
    let mut configs = before.clone();
    for (name, op) in ops {
        let (kind, usual) =
            usual(name).ok_or_else(|| format!("unknown group config name: {name}"))?;
        let value = configs.get(name).cloned().unwrap_or(usual);
        match value_after(kind, name, &value, op)? {
            Some(value) => configs.insert(name.clone(), value),
            None => configs.remove(name),
        };
    }
    Ok(configs)
}
