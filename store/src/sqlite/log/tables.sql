-- The log and its other tables. Plain tables, with columns without a type for values of users: triggers run in any
-- program that writes, with SQLite 3.34 or later, and must never fail there.
CREATE TABLE tidings_version (number INTEGER NOT NULL);
INSERT INTO tidings_version (number) VALUES (1);

-- One record for each row that changed, written in the transaction that changed it; its values are in the side table of
-- its entity. Kinds: c, u and d (a row was created, updated, deleted), n (a row that a write may replace), o (a row that
-- it did not replace), t (any row of the entity may have changed), i (an eviction or an event), s (an empty record).
CREATE TABLE tidings_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT,
    entity TEXT,
    layout INTEGER,
    key,
    size INTEGER,
    mark INTEGER,
    origin TEXT,
    silent INTEGER,
    body TEXT,
    nonce INTEGER DEFAULT (random())
);
INSERT INTO tidings_log (kind) VALUES ('s');
CREATE INDEX "tidings_log:mark" ON tidings_log (mark, entity, key) WHERE mark IS NOT NULL;
CREATE INDEX "tidings_log:noted" ON tidings_log (entity, key) WHERE kind = 'n';

-- The fields that the records of a layout hold, and those that they hold even if the row is too long. Never changed.
CREATE TABLE tidings_layouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,
    fields TEXT NOT NULL,
    keys TEXT NOT NULL,
    UNIQUE (entity, fields, keys)
);

-- The entities that are captured, and the layout that their triggers write.
CREATE TABLE tidings_captures (
    entity TEXT PRIMARY KEY,
    layout INTEGER NOT NULL
);

-- The identity of the log, and the facts under which it was made.
CREATE TABLE tidings_epoch (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    number INTEGER NOT NULL,
    id TEXT NOT NULL,
    facts TEXT NOT NULL
);

-- The last removed record, and the newest record at past moments.
CREATE TABLE tidings_pruned (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    last INTEGER NOT NULL
);
INSERT INTO tidings_pruned (single, last) VALUES (1, 0);
CREATE TABLE tidings_horizons (
    taken INTEGER NOT NULL,
    last INTEGER NOT NULL
);

-- The members of the cluster: the last report of each, the reports that it was asked for, and whether it was silent
-- for too long.
CREATE TABLE tidings_members (
    node TEXT PRIMARY KEY,
    start TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    bound_ms INTEGER,
    reported TEXT,
    answered INTEGER NOT NULL DEFAULT 0,
    demand INTEGER NOT NULL DEFAULT 0,
    marked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE tidings_incarnations (id INTEGER PRIMARY KEY AUTOINCREMENT);
