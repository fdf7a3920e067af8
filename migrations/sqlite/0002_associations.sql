-- Which subject holds the schemas of a topic's keys or values, and who owns it.
-- `subject` is qualified; `association_type` is key or value, `lifecycle` STRONG or WEAK.
CREATE TABLE associations (
    guid               TEXT    PRIMARY KEY,
    subject            TEXT    NOT NULL,
    resource_name      TEXT    NOT NULL,
    resource_namespace TEXT    NOT NULL,
    resource_id        TEXT    NOT NULL,
    association_type   TEXT    NOT NULL,
    lifecycle          TEXT    NOT NULL,
    frozen             BOOLEAN NOT NULL,
    created_ms         BIGINT  NOT NULL,
    updated_ms         BIGINT  NOT NULL
);
