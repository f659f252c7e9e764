-- The log and what is beside it. Plain tables, without types where values of users go: triggers run in whatever
-- program writes, down to SQLite 3.34, and must never fail there.
CREATE TABLE tidings_version (number INTEGER NOT NULL);
INSERT INTO tidings_version (number) VALUES (1);

-- One record for each row that changed, written in the transaction that changed it; its values are in the side table of
-- its entity. Kinds: c, u and d (a row was created, updated, deleted), n (a row that a write would replace, in case it
-- does), o (one that it did not), t (any row of the entity may have changed), i (an eviction), s (the beginning).
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

-- Which fields the records of a layout hold, and which of them even where the row is too long. Never changed.
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

-- The identity of the log, and the facts that it was made under.
CREATE TABLE tidings_epoch (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    number INTEGER NOT NULL,
    id TEXT NOT NULL,
    facts TEXT NOT NULL
);

-- The last record that was removed, and what the newest was at moments of the past.
CREATE TABLE tidings_pruned (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    last INTEGER NOT NULL
);
INSERT INTO tidings_pruned (single, last) VALUES (1, 0);
CREATE TABLE tidings_horizons (
    taken INTEGER NOT NULL,
    last INTEGER NOT NULL
);

-- The members of the cluster: what each last reported, what it was asked for, and whether it was silent for too long.
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
