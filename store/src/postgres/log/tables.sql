-- The log and its other tables, in a schema of its own that only its owner can read.
create schema tidings;
revoke all on schema tidings from public;

create table tidings.version (
    single boolean primary key default true check (single),
    number integer not null
);
insert into tidings.version (number) values (1);

-- One record for each row that a statement changed, written in the transaction that changed it. Kinds: c, u and d (a
-- row was created, updated, deleted), t (any row of the entity may have changed), i (an eviction or an event).
create table tidings.log (
    id bigint generated always as identity primary key,
    xid bigint not null default (pg_current_xact_id()::text::bigint),
    kind text not null,
    entity text not null,
    layout integer,
    key text,
    key_hash bigint not null default 0,
    old text[],
    new text[],
    origin text not null default '',
    silent boolean not null default false
) with (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);
create index log_by_transaction on tidings.log (xid, entity, key_hash, id);

-- The fields that the images of a record hold, in order. Never changed, because records refer to their layouts.
create table tidings.layouts (
    id integer generated always as identity primary key,
    entity text not null,
    fields text[] not null,
    whole boolean not null,
    unique (entity, fields, whole)
);

-- The table on which an entity is captured, and the union of the fields that its installers named.
create table tidings.captures (
    entity text primary key,
    relation oid not null,
    key text not null,
    fields text[] not null,
    keys text[] not null,
    notify boolean not null default false
);

-- The identity of the log: the facts under which it was made, and a value that a crash or a promotion removes.
create table tidings.epoch (
    single boolean primary key default true check (single),
    number bigint not null,
    id uuid not null,
    system text not null,
    timeline text not null,
    database oid not null,
    log oid not null
);
create unlogged table tidings.epoch_volatile (
    single boolean primary key default true check (single),
    id uuid not null
);

-- Records of transactions below this were removed, or may be removed at any moment.
create table tidings.pruned (
    single boolean primary key default true check (single),
    below bigint not null
);
insert into tidings.pruned (below) values (0);

-- The times from which on no transaction below the horizon was in progress.
create table tidings.snapshots (
    taken timestamptz not null default clock_timestamp(),
    horizon bigint not null
);

-- The members of the cluster: the last report of each, the reports that it was asked for, and whether it was silent
-- for too long.
create table tidings.members (
    node text primary key,
    start uuid not null,
    incarnation bigint not null generated always as identity,
    bound_ms bigint,
    reported text,
    answered bigint not null default 0,
    demand bigint not null default 0,
    marked boolean not null default false
);
