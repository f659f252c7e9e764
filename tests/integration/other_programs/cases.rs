//! The cases that hold on either database.

use std::{ops::AsyncFnOnce, sync::Arc};

use tidings::{Hearing, WriteOptions};

use super::Program;
use crate::heard::{Heard, Owner, by_id, thing};

/// What another program creates and changes evicts, an absence too, and reaches the handlers.
pub(super) async fn a_create_and_an_update<D: Program>(heard: &Heard<D>, update: impl FnOnce(&D)) {
    assert_eq!(heard.note("t1").await, None, "an absence is cached");
    let insert = "insert into things (id, code, note) values (1, 't1', 'one')";
    heard.database.write(insert);
    assert_eq!(heard.events(1).await, ["create 1 None Some(\"one\")"]);
    let note = heard.note("t1").await;
    assert_eq!(note.as_deref(), Some("one"), "a create evicts the absence");

    update(&heard.database);
    let events = heard.events(1).await;
    assert_eq!(events, ["update 1 Some(\"one\") Some(\"uno\")"]);
    assert_eq!(heard.note("t1").await.as_deref(), Some("uno"));
}

/// A parent that another program changes takes its cached children along.
pub(super) async fn a_changed_parent(heard: Heard<impl Program>) {
    let owners = heard.node.dao::<Owner>().expect("declared");
    let owner = Owner {
        id: uuid::Uuid::from_u128(1),
        name: "bob".to_owned(),
    };
    let owner = owners.insert(owner).await.expect("inserted");
    heard.database.write(&format!(
        "insert into things (id, code, note, owner) values (1, 't1', 'one', '{}')",
        owner.id
    ));
    let _ = heard.events(2).await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));

    let before = heard.loads();
    heard.database.write("update owners set name = 'rob'");
    assert_eq!(heard.events(1).await, ["update rob"]);
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
    let loads = heard.loads();
    assert_eq!(loads, before + 1, "the child was evicted with its parent");
}

/// Writes of the node and of another program reach the handlers in the order of the log.
pub(super) async fn own_and_foreign_writes(heard: Heard<impl Program>) {
    let things = heard.things();
    let set = |id, note: &'static str| {
        let things = things.clone();
        async move {
            let update = things.update(id, move |thing| thing.note = Some(note.to_owned()));
            update.await.expect("updated")
        }
    };
    things.insert(thing(1, "a")).await.expect("inserted");
    let events = heard.events(0).await;
    let waited = "the write has waited for its handlers";
    assert_eq!(events, ["create 1 None Some(\"a\")"], "{waited}");

    heard.database.write("update things set note = 'b'");
    set(1, "c").await;
    assert_eq!(
        heard.events(2).await,
        [
            "update 1 Some(\"a\") Some(\"b\")",
            "update 1 Some(\"b\") Some(\"c\")"
        ]
    );

    assert_eq!(heard.note("t1").await.as_deref(), Some("c"));
    let before = heard.loads();
    set(1, "d").await;
    let note = heard.note("t1").await;
    let evicted = "evicted before the write returned";
    assert_eq!(note.as_deref(), Some("d"), "{evicted}");

    let insert = "insert into things (id, code) values (2, 't2')";
    heard.database.write(insert);
    let _ = heard.events(2).await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("d"));
    let once = "the record that came back evicted nothing again";
    assert_eq!(heard.loads(), before + 1, "{once}");

    let silent = things.update_with(
        by_id(1),
        |thing| thing.note = Some("e".to_owned()),
        WriteOptions::silent(),
    );
    silent.await.expect("updated");
    assert_eq!(heard.note("t1").await.as_deref(), Some("e"));
    set(2, "end").await;
    let events = heard.events(1).await;
    let unheard = "a silent write is not heard";
    assert_eq!(events, ["update 2 None Some(\"end\")"], "{unheard}");
}

/// Writers of one row, the node's and others, give one chain: each event's old entity is the new
/// one of the event before.
pub(super) async fn many_writers<D: Program>(heard: Heard<D>) {
    let heard = Arc::new(heard);
    let things = heard.things();
    things.insert(thing(1, "start")).await.expect("inserted");
    let _ = heard.events(1).await;

    let writers = (0..8).map(|writer| {
        let (things, heard) = (things.clone(), Arc::clone(&heard));
        tokio::spawn(async move {
            for number in 0..20 {
                let note = format!("{writer}.{number}");
                if writer % 4 == 3 {
                    let sql = format!("update things set note = '{note}' where id = 1");
                    let heard = Arc::clone(&heard);
                    let written = tokio::task::spawn_blocking(move || heard.database.write(&sql));
                    written.await.expect("written");
                } else {
                    let update = things.update(1, move |thing| thing.note = Some(note));
                    update.await.expect("updated");
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }

    let events = heard.events(160).await;
    assert_eq!(events.len(), 160);
    let mut last = "Some(\"start\")".to_owned();
    for event in events {
        let rest = event.strip_prefix("update 1 ").expect("an update");
        let (old, new) = rest.split_once(' ').expect("two notes");
        assert_eq!(old, last, "{event}");
        last = new.to_owned();
    }
}

/// Writes that no trigger records end the proof, and nothing is kept until they are recorded again.
pub(super) async fn a_trigger_that_is_gone<D: Program>(
    heard: Heard<D>,
    harm: &str,
    mend: impl AsyncFnOnce(&Heard<D>),
) {
    let insert = "insert into things (id, code, note) values (1, 't1', 'one')";
    heard.database.write(insert);
    let _ = heard.events(1).await;
    assert_eq!(heard.note("t1").await.as_deref(), Some("one"));
    assert_eq!(heard.node.hearing(), Hearing::All);

    let unheard = format!("{harm}; update things set note = 'unheard'");
    heard.database.write(&unheard);
    let is = |hearing| move |heard: &Heard<D>| heard.node.hearing() == hearing;
    heard.until(is(Hearing::NotRecorded)).await;
    heard.until_note("t1", Some("unheard")).await;
    let loads = heard.loads();
    for _ in 0..3 {
        assert_eq!(heard.note("t1").await.as_deref(), Some("unheard"));
    }
    assert_eq!(heard.loads(), loads + 3, "nothing that is loaded is kept");
    let told = |heard: &Heard<D>| !heard.gaps.lock().expect("a list").is_empty();
    heard.until(told).await;

    mend(&heard).await;
    heard.until(is(Hearing::All)).await;
    heard.database.write("update things set note = 'heard'");
    heard.until_note("t1", Some("heard")).await;
    heard.until_kept("t1").await;
}
