//! Every statement, once, in words that SQLite and PostgreSQL both understand.

pub(super) const EPOCH: &str = "SELECT epoch FROM registry_state WHERE singleton = 1";

/// Moves the epoch only if nobody else did; affects no row otherwise.
pub(super) const ADVANCE_EPOCH: &str =
    "UPDATE registry_state SET epoch = epoch + 1 WHERE singleton = 1 AND epoch = $1";

pub(super) const LOAD_CONTEXTS: &str =
    "SELECT context, recorded, id_high_water FROM contexts ORDER BY context";

pub(super) const LOAD_SCHEMAS: &str = "SELECT context, id, guid, format, schema_text, \
     metadata_json, rule_set_json FROM schemas ORDER BY context, id";

pub(super) const LOAD_REFERENCES: &str = "SELECT context, id, name, ref_subject, ref_version \
     FROM schema_references ORDER BY context, id, position";

pub(super) const LOAD_VERSIONS: &str = "SELECT subject, version, id, deleted, registered_ms \
     FROM subject_versions ORDER BY subject, version";

pub(super) const LOAD_CONFIGS: &str = "SELECT subject, config_json FROM configs";

pub(super) const LOAD_MODES: &str = "SELECT subject, mode FROM modes";

pub(super) const LOAD_ASSOCIATIONS: &str = "SELECT guid, subject, resource_name, \
     resource_namespace, resource_id, association_type, lifecycle, frozen, created_ms, updated_ms \
     FROM associations";

pub(super) const PUT_SCHEMA: &str = "INSERT INTO schemas \
     (context, id, guid, format, schema_text, metadata_json, rule_set_json) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

pub(super) const PUT_REFERENCE: &str = "INSERT INTO schema_references \
     (context, id, position, name, ref_subject, ref_version) VALUES ($1, $2, $3, $4, $5, $6)";

pub(super) const REMOVE_SCHEMA: &str = "DELETE FROM schemas WHERE context = $1 AND id = $2";

pub(super) const REMOVE_REFERENCES: &str =
    "DELETE FROM schema_references WHERE context = $1 AND id = $2";

pub(super) const PUT_VERSION: &str = "INSERT INTO subject_versions \
     (subject, version, context, id, deleted, registered_ms) VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (subject, version) DO UPDATE SET context = excluded.context, id = excluded.id, \
     deleted = excluded.deleted, registered_ms = excluded.registered_ms";

pub(super) const REMOVE_VERSION: &str =
    "DELETE FROM subject_versions WHERE subject = $1 AND version = $2";

pub(super) const PUT_CONFIG: &str = "INSERT INTO configs (subject, config_json) VALUES ($1, $2) \
     ON CONFLICT (subject) DO UPDATE SET config_json = excluded.config_json";

pub(super) const REMOVE_CONFIG: &str = "DELETE FROM configs WHERE subject = $1";

pub(super) const PUT_MODE: &str = "INSERT INTO modes (subject, mode) VALUES ($1, $2) \
     ON CONFLICT (subject) DO UPDATE SET mode = excluded.mode";

pub(super) const REMOVE_MODE: &str = "DELETE FROM modes WHERE subject = $1";

pub(super) const PUT_ASSOCIATION: &str = "INSERT INTO associations \
     (guid, subject, resource_name, resource_namespace, resource_id, association_type, lifecycle, \
     frozen, created_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
     ON CONFLICT (guid) DO UPDATE SET subject = excluded.subject, \
     resource_name = excluded.resource_name, resource_namespace = excluded.resource_namespace, \
     resource_id = excluded.resource_id, association_type = excluded.association_type, \
     lifecycle = excluded.lifecycle, frozen = excluded.frozen, \
     created_ms = excluded.created_ms, updated_ms = excluded.updated_ms";

pub(super) const REMOVE_ASSOCIATION: &str = "DELETE FROM associations WHERE guid = $1";

pub(super) const RECORD_CONTEXT: &str = "INSERT INTO contexts (context, recorded, id_high_water) \
     VALUES ($1, $2, 0) ON CONFLICT (context) DO UPDATE SET recorded = excluded.recorded";

pub(super) const RAISE_IDS: &str = "INSERT INTO contexts (context, recorded, id_high_water) \
     VALUES ($1, FALSE, $2) ON CONFLICT (context) DO UPDATE SET id_high_water = \
     CASE WHEN excluded.id_high_water > contexts.id_high_water \
     THEN excluded.id_high_water ELSE contexts.id_high_water END";

pub(super) const PUT_CHANGE: &str = "INSERT INTO changes \
     (epoch, at_ms, actor, operation, subject, before_json, after_json) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

pub(super) const CHANGES: &str = "SELECT epoch, at_ms, actor, operation, subject, before_json, \
     after_json FROM changes WHERE epoch > $1 ORDER BY epoch LIMIT $2";
