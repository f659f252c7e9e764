//! Writes by other programs.

use tidings_core::{
    Operation, Value,
    log::{Group, RowOf, RowRecord},
};

use crate::support::{ReadItem, Reader, captured, schemas, text};

const BOB: &str = "00000000-0000-0000-0000-00000000000b";

/// CL13, the reading side: writes of `psql` are reported like any other write.
#[tokio::test]
async fn single_rows_copies_cascades_truncations_and_partitions_are_told() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;

    database.psql(&format!("insert into consumers values ('{BOB}', 'bob')"));
    database.psql(&format!(
        "insert into credentials select g, 'k' || g, '{BOB}' from generate_series(1, 3) g"
    ));
    assert_eq!(
        reader.operations().await,
        [
            format!("create consumers \"{BOB}\""),
            "create credentials 1".to_owned(),
            "create credentials 2".to_owned(),
            "create credentials 3".to_owned(),
        ]
    );

    database.psql("delete from consumers");
    let mut cascade = reader.operations().await;
    cascade.sort();
    assert_eq!(
        cascade,
        [
            format!("delete consumers \"{BOB}\""),
            "delete credentials 1".to_owned(),
            "delete credentials 2".to_owned(),
            "delete credentials 3".to_owned(),
        ]
    );

    database.psql("copy numbers from stdin;\n1\tone\n150\thigh\n\\.\n");
    database.psql("insert into numbers_low values (2, 'two')");
    database.psql("update numbers set id = 102 where id = 2");
    assert_eq!(
        reader.operations().await,
        [
            "create numbers 1",
            "create numbers 150",
            "create numbers 2",
            "delete numbers 2",
            "create numbers 102",
        ]
    );

    database.psql("truncate numbers_high");
    assert_eq!(reader.operations().await, ["touched numbers"]);
    database.psql("truncate consumers cascade");
    let mut touched = reader.operations().await;
    touched.sort();
    assert_eq!(touched, ["touched consumers", "touched credentials"]);
}

#[tokio::test]
async fn statements_that_take_several_ways_are_told_once() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql("insert into numbers values (1, 'one'), (2, 'two')");
    let _ = reader.all().await;

    database.psql(
        "insert into numbers values (1, 'uno'), (3, 'tres') on conflict (id) do update set text = excluded.text",
    );
    let mut upsert = reader.operations().await;
    upsert.sort();
    assert_eq!(upsert, ["create numbers 3", "update numbers 1"]);

    database.psql(
        "merge into numbers n using (values (1, 'eins'), (2, null), (4, 'vier')) as s (id, text) on n.id = s.id \
         when matched and s.text is null then delete when matched then update set text = s.text \
         when not matched then insert values (s.id, s.text)",
    );
    let mut merge = reader.operations().await;
    merge.sort();
    assert_eq!(
        merge,
        ["create numbers 4", "delete numbers 2", "update numbers 1"]
    );

    database.psql("update numbers set text = text; delete from numbers where id < 0; select 1");
    assert_eq!(
        reader.operations().await,
        [""; 0],
        "rows written to themselves are no change"
    );
}

#[tokio::test]
async fn a_rolled_back_savepoint_leaves_nothing_and_a_prepared_transaction_is_told_when_it_commits()
{
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql(
        "begin; insert into numbers values (1); savepoint a; insert into numbers values (2); rollback to a; \
         insert into numbers values (3); prepare transaction 'p'",
    );
    database.psql("insert into numbers values (4)");
    assert_eq!(reader.operations().await, ["create numbers 4"]);
    database.psql("commit prepared 'p'");
    assert_eq!(
        reader.operations().await,
        ["create numbers 1", "create numbers 3"]
    );
}

#[tokio::test]
async fn a_replica_session_is_told_too() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql("set session_replication_role = replica; insert into numbers values (1)");
    assert_eq!(reader.operations().await, ["create numbers 1"]);
}

#[tokio::test]
async fn a_user_without_any_right_on_the_log_writes_and_is_told() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    let role = format!("app_{}", database.name());
    database.psql(&format!(
        "create role {role}; grant insert on numbers to {role}; set role {role}; \
         insert into numbers values (1, 'one')"
    ));
    assert_eq!(reader.operations().await, ["create numbers 1"]);
    let denied = database.psql(&format!(
        "select has_schema_privilege('{role}', 'tidings', 'usage'), \
         has_table_privilege('{role}', 'tidings.log', 'select')"
    ));
    assert_eq!(denied.trim(), "f|f");
}

#[tokio::test]
async fn origin_and_silence_are_the_sessions_to_set() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql(
        "begin; set local tidings.origin = 'node-7'; set local tidings.no_event = 'on'; \
         insert into numbers values (1); commit; insert into numbers values (2)",
    );
    let announced = reader
        .all()
        .await
        .into_iter()
        .map(|received| match received {
            ReadItem::Row(_, RowRecord { announce, .. }) => announce,
            ReadItem::Entity(entity) => panic!("{entity}"),
        });
    let announced: Vec<_> = announced.collect();
    use tidings_core::log::Announce::{Event, Silent};
    assert_eq!(announced, [Silent, Event]);
}

/// CL18: the inner change is logged first, and the history is still right.
#[tokio::test]
async fn a_users_row_trigger_that_updates_the_same_row_leaves_a_true_history() {
    let database = captured().await;
    database.psql(
        "create function bump() returns trigger language plpgsql as $$ begin \
           if new.text not like '%!' then update public.numbers set text = new.text || '!' where id = new.id; end if; \
           return null; end $$; \
         create trigger bump after insert or update on numbers for each row execute function bump()",
    );
    let mut reader = Reader::at_head(&database).await;
    reader.limit = 1;
    database.psql("insert into numbers values (1, 'a')");
    database.psql("update numbers set text = 'b'");
    database.psql("begin; update numbers set text = 'c'; update numbers set text = 'd'; commit");
    database.psql("begin; update numbers set text = 'x'; update numbers set text = 'd!'; commit");
    let changes = reader.changes(schemas()[2]).await;
    let texts: Vec<_> = changes
        .iter()
        .map(|it| {
            (
                it.operation,
                text(it.old.as_ref(), 1),
                text(it.new.as_ref(), 1),
            )
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        texts,
        [
            (Operation::Create, None, some("a!")),
            (Operation::Update, some("a!"), some("b!")),
            (Operation::Update, some("b!"), some("d!")),
        ]
    );
}

#[tokio::test]
async fn a_row_that_is_too_long_is_told_by_its_keys() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql("insert into credentials values (1, 'abcd'), (2, repeat('k', 100))");
    let _ = reader.all().await;
    // A unique index cannot hold such a value, so the long field is not part of a key.
    database.psql(&format!(
        "insert into consumers values ('{BOB}', 'bob', repeat('x', 2000000)); \
         update consumers set note = repeat('y', 2000000)"
    ));
    let received = reader.all().await;
    let partial = received.iter().map(|received| match received {
        ReadItem::Row(_, row) => row.new.is_partial() && row.new.value("id").is_some(),
        ReadItem::Entity(_) => false,
    });
    assert_eq!(partial.collect::<Vec<_>>(), [true, true]);
    assert!(!format!("{received:?}").contains("xxx"));
}

#[tokio::test]
async fn a_column_that_was_dropped_does_not_make_a_write_fail() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    database.psql("alter table consumers drop column note");
    database.psql(&format!("insert into consumers values ('{BOB}', 'bob')"));
    database.psql("update consumers set username = 'rob'; delete from consumers");
    assert_eq!(reader.operations().await, ["touched consumers"; 3]);
}

#[tokio::test]
async fn names_of_a_users_making_do_not_confuse_the_functions() {
    let database = captured().await;
    database.psql(
        "drop table credentials cascade; \
         create table credentials (id bigint primary key, key text, consumer uuid, \
           tidings_old int, tidings_new int, pair int, old int, new int, kind int, entity int, layout int, \"SELECT\" int);",
    );
    let mut connection = database.connect().await;
    let options = tidings_store::postgres::log::InstallOptions::default();
    let installed =
        tidings_store::postgres::log::install(&mut connection, &schemas(), options).await;
    assert_eq!(installed.expect("captured").changed, ["public.credentials"]);
    let mut reader = Reader::at_head(&database).await;
    database.psql(
        "create schema hostile; create function hostile.hashtextextended(text, bigint) returns bigint \
           language sql as 'select 1 / 0'; \
         set search_path = hostile; \
         insert into public.credentials (id, key) values (1, 'a'); \
         update public.credentials set key = 'b', tidings_new = 7; delete from public.credentials",
    );
    assert_eq!(
        reader.operations().await,
        [
            "create credentials 1",
            "update credentials 1",
            "delete credentials 1"
        ]
    );
}

#[tokio::test]
async fn children_of_an_updated_parent_are_found() {
    let database = captured().await;
    let reader = Reader::at_head(&database).await;
    database.psql(&format!(
        "insert into consumers values ('{BOB}', 'bob'); \
         insert into credentials values (1, 'a', '{BOB}'), (2, 'b', '{BOB}'), (3, 'c', null)"
    ));
    let bob = Value::Uuid(BOB.parse().expect("a UUID"));
    let keys = reader
        .log
        .children("consumers", vec![bob])
        .await
        .expect("keys");
    let mut keys: Vec<_> = keys.iter().map(|key| key.as_str().to_owned()).collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "credentials:a",
            "credentials:b",
            "credentials@1",
            "credentials@2"
        ]
    );
}

/// Rows that each take much memory are returned a few at a time.
#[tokio::test]
async fn the_records_of_large_rows_are_told_in_parts() {
    let database = captured().await;
    let mut reader = Reader::at_head(&database).await;
    reader.limit = 5;
    let rows = 30;
    database.psql(&format!(
        "begin; insert into numbers select g, repeat('a', 900000) from generate_series(1, {rows}) g; \
         update numbers set text = text || 'b'; commit"
    ));
    let marks = reader
        .page()
        .await
        .0
        .into_iter()
        .filter_map(|received| match received {
            ReadItem::Row(mark, _) => Some(mark),
            ReadItem::Entity(_) => None,
        });
    let mark = marks.last().expect("a record");
    let row = |id: i64| RowOf {
        mark,
        entity: "numbers".into(),
        key: id.into(),
    };
    let mut asked: Vec<_> = (1..=rows).map(row).collect();
    asked.insert(3, row(1_000));

    let (mut groups, mut questions) = (Vec::new(), 0);
    while groups.len() < asked.len() {
        let received = reader.log.groups(&asked[groups.len()..]).await;
        let received = received.expect("an answer");
        let weight = received.iter().flatten().map(Group::weight).sum::<usize>();
        assert!((1..16 << 20).contains(&weight), "{weight} bytes at once");
        groups.extend(received);
        questions += 1;
    }
    assert!(questions > 1);
    for (asked, group) in asked.iter().zip(groups) {
        let records = group.map_or(0, |group| {
            assert!(group.rows.iter().all(|row| row.key == asked.key));
            group.rows.len()
        });
        let expected = if asked.key == row(1_000).key { 0 } else { 2 };
        assert_eq!(records, expected, "{:?}", asked.key);
    }
}
