//! Every statement, once, in words that SQLite and PostgreSQL both understand; those about replicas,
//! which only PostgreSQL has, are last.

pub(super) const EPOCH: &str = "SELECT epoch FROM registry_state WHERE singleton = 1";

pub(super) const SET_EPOCH: &str = "UPDATE registry_state SET epoch = $1 WHERE singleton = 1";

pub(super) const LOAD_CONTEXTS: &str =
    "SELECT context, recorded, id_high_water FROM contexts ORDER BY context";

/// A page: those after a key, in key order.
pub(super) const LOAD_SCHEMAS: &str = "SELECT context, id, guid, format, schema_text, \
     metadata_json, rule_set_json FROM schemas WHERE (context, id) > ($1, $2) \
     ORDER BY context, id LIMIT $3";

pub(super) const LOAD_REFERENCES: &str = "SELECT context, id, name, ref_subject, ref_version \
     FROM schema_references ORDER BY context, id, position";

/// A page: those after a key, in key order.
pub(super) const LOAD_VERSIONS: &str = "SELECT subject, version, id, deleted, registered_ms \
     FROM subject_versions WHERE (subject, version) > ($1, $2) \
     ORDER BY subject, version LIMIT $3";

pub(super) const LOAD_CONFIGS: &str = "SELECT subject, config_json FROM configs";

pub(super) const LOAD_MODES: &str = "SELECT subject, mode FROM modes";

pub(super) const LOAD_ASSOCIATIONS: &str = "SELECT guid, subject, resource_name, \
     resource_namespace, resource_id, association_type, lifecycle, frozen, created_ms, updated_ms \
     FROM associations";

/// Rows follow: `VALUES (…), (…)`.
pub(super) const PUT_SCHEMAS: &str = "INSERT INTO schemas \
     (context, id, guid, format, schema_text, metadata_json, rule_set_json) ";

/// Rows follow.
pub(super) const PUT_REFERENCES: &str = "INSERT INTO schema_references \
     (context, id, position, name, ref_subject, ref_version) ";

pub(super) const REMOVE_SCHEMA: &str = "DELETE FROM schemas WHERE context = $1 AND id = $2";

pub(super) const REMOVE_REFERENCES: &str =
    "DELETE FROM schema_references WHERE context = $1 AND id = $2";

/// Rows follow, then [`REPLACE_VERSIONS`].
pub(super) const PUT_VERSIONS: &str = "INSERT INTO subject_versions \
     (subject, version, context, id, deleted, registered_ms) ";

pub(super) const REPLACE_VERSIONS: &str = " ON CONFLICT (subject, version) DO UPDATE SET \
     context = excluded.context, id = excluded.id, deleted = excluded.deleted, \
     registered_ms = excluded.registered_ms";

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

/// Rows follow.
pub(super) const PUT_CHANGES: &str = "INSERT INTO changes \
     (epoch, at_ms, actor, operation, subject, before_json, after_json, facts_json) ";

pub(super) const FACTS: &str =
    "SELECT epoch, facts_json FROM changes WHERE epoch > $1 ORDER BY epoch LIMIT $2";

pub(super) const CHANGES_OF: &str = "SELECT epoch, at_ms, actor, operation, subject, before_json, \
     after_json FROM changes WHERE subject = $1 ORDER BY epoch DESC LIMIT $2";

pub(super) const CHANGES: &str = "SELECT epoch, at_ms, actor, operation, subject, before_json, \
     after_json FROM changes WHERE epoch > $1 ORDER BY epoch LIMIT $2";

/// The writer's lock: the row is given to one transaction at a time, in the order they asked.
pub(super) const LOCK_EPOCH: &str =
    "SELECT epoch FROM registry_state WHERE singleton = 1 FOR UPDATE";

/// Tells the other replicas, on commit, which epoch there is to see.
pub(super) const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// `$3` is the length of the lease in milliseconds. An acknowledged epoch never goes back.
pub(super) const RENEW_LEASE: &str = "INSERT INTO replicas \
     (replica, acknowledged_epoch, lease_ends) \
     VALUES ($1, $2, clock_timestamp() + $3 * INTERVAL '1 millisecond') \
     ON CONFLICT (replica) DO UPDATE SET lease_ends = excluded.lease_ends, acknowledged_epoch = \
     GREATEST(replicas.acknowledged_epoch, excluded.acknowledged_epoch)";

pub(super) const ACKNOWLEDGE: &str = "UPDATE replicas SET \
     acknowledged_epoch = GREATEST(acknowledged_epoch, $2) WHERE replica = $1";

/// The epoch that every other live replica has acknowledged; NULL when there is none.
pub(super) const ACKNOWLEDGED_BY_OTHERS: &str = "SELECT MIN(acknowledged_epoch) FROM replicas \
     WHERE replica <> $1 AND lease_ends > clock_timestamp()";

pub(super) const LEAVE: &str = "DELETE FROM replicas WHERE replica = $1";

/// Rows of processes that ended without a word, long after their lease.
pub(super) const FORGET_THE_GONE: &str =
    "DELETE FROM replicas WHERE lease_ends < clock_timestamp() - INTERVAL '1 hour'";
