-- The facts of a change, so that a replica applies what it missed instead of loading everything.
-- NULL in rows written before this column was there.
ALTER TABLE changes ADD COLUMN facts_json TEXT;

-- The processes that serve this database. A permanent delete waits for each of them until it has
-- acknowledged the delete's epoch or its lease has ended; times are the database's.
-- PostgreSQL only: one SQLite file serves one process.
CREATE TABLE replicas (
    replica            TEXT COLLATE "C" PRIMARY KEY,
    acknowledged_epoch BIGINT      NOT NULL,
    lease_ends         TIMESTAMPTZ NOT NULL
);
