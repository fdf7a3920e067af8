-- The registry's truth. One row of `registry_state` carries the epoch; every change moves it by one
-- and leaves one row in `changes`.
--
-- Beside SQLite's text: names are compared byte by byte (COLLATE "C"), as SQLite does, so that no
-- index depends on the collation tables of an operating system.

CREATE TABLE registry_state (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    epoch     BIGINT  NOT NULL
);
INSERT INTO registry_state (singleton, epoch) VALUES (1, 0);

-- `recorded` says whether the context is listed: it is once a schema was registered in it, until it
-- is deleted. `id_high_water` is the highest id ever given out there; ids are never given out twice,
-- so a row stays when its context is deleted.
CREATE TABLE contexts (
    context       TEXT COLLATE "C" PRIMARY KEY,
    recorded      BOOLEAN NOT NULL,
    id_high_water INTEGER NOT NULL
);

-- Content by id. `metadata_json` and `rule_set_json` are NULL when the schema has none.
CREATE TABLE schemas (
    context       TEXT COLLATE "C" NOT NULL,
    id            INTEGER NOT NULL,
    guid          TEXT    NOT NULL,
    format        TEXT    NOT NULL,
    schema_text   TEXT    NOT NULL,
    metadata_json TEXT,
    rule_set_json TEXT,
    PRIMARY KEY (context, id)
);
CREATE INDEX schemas_by_guid ON schemas (context, guid);

-- References as written by the referrer (the subject may be unqualified), versions resolved.
CREATE TABLE schema_references (
    context     TEXT COLLATE "C" NOT NULL,
    id          INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    ref_subject TEXT    NOT NULL,
    ref_version INTEGER NOT NULL,
    PRIMARY KEY (context, id, position)
);

-- `subject` is qualified: `:.ctx:name`, or bare in the default context.
CREATE TABLE subject_versions (
    subject       TEXT COLLATE "C" NOT NULL,
    version       INTEGER NOT NULL,
    context       TEXT COLLATE "C" NOT NULL,
    id            INTEGER NOT NULL,
    deleted       BOOLEAN NOT NULL,
    registered_ms BIGINT  NOT NULL,
    PRIMARY KEY (subject, version)
);
CREATE INDEX subject_versions_by_id ON subject_versions (context, id);

-- `subject` is '' for the top level, `:.ctx:` for a context.
CREATE TABLE configs (
    subject     TEXT COLLATE "C" PRIMARY KEY,
    config_json TEXT NOT NULL
);
CREATE TABLE modes (
    subject TEXT COLLATE "C" PRIMARY KEY,
    mode    TEXT NOT NULL
);

-- Who changed what, when. Append-only.
CREATE TABLE changes (
    epoch       BIGINT PRIMARY KEY,
    at_ms       BIGINT NOT NULL,
    actor       TEXT   NOT NULL,
    operation   TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    before_json TEXT,
    after_json  TEXT
);
