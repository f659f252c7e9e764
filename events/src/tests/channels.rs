//! Names, types, and what goes wrong with them.

use tidings_core::CrudEvent;

use super::{Acl, Consumer, Note, bus, notes};
use crate::{BuildError, DeclareError, Refusal, RegisterError, WorkerEvents};

#[test]
fn a_channel_declared_twice_is_one_channel() {
    let bus = bus(0);
    let first = notes(&bus);
    let second = bus.declare::<Note>("jobs", "done").expect("same type");
    first.post(Note(1)).expect("open");
    second.post(Note(2)).expect("open");
    assert_eq!(bus.stats().channels.len(), 1);
    assert_eq!(bus.stats().channels[0].posted, 2);
}

#[test]
fn a_channel_cannot_carry_two_types() {
    let bus = bus(0);
    bus.declare::<Note>("jobs", "done").expect("free");
    let error = bus.declare::<String>("jobs", "done").expect_err("taken");
    assert!(matches!(&error, DeclareError::OtherType { .. }));
    let message = error.to_string();
    assert!(message.contains("jobs") && message.contains("Note") && message.contains("String"));
}

#[test]
fn names_that_mean_something_else_are_refused() {
    let bus = bus(0);
    for (source, event) in [
        ("", "a"),
        ("a", ""),
        ("*", "a"),
        ("a", "b*"),
        ("a", "b:update"),
    ] {
        let refused = bus.declare::<Note>(source, event);
        assert!(
            matches!(refused, Err(DeclareError::BadName { .. })),
            "{source}/{event}"
        );
    }
    let crud = bus.declare::<Note>("crud", "notes");
    assert!(matches!(crud, Err(DeclareError::BadName { .. })));
}

#[test]
fn a_handler_of_another_type_is_refused_with_the_channel_and_both_types() {
    let bus = bus(0);
    bus.declare_crud::<Consumer>().expect("free");
    let error = bus
        .register(|_: &CrudEvent<Acl>| (), "crud", "consumers")
        .expect_err("wrong type");
    let message = error.to_string();
    assert!(message.contains(r#"("crud", "consumers")"#), "{message}");
    assert!(
        message.contains("Consumer") && message.contains("Acl"),
        "{message}"
    );
}

#[test]
fn an_unknown_channel_is_refused_with_near_names() {
    let bus = bus(0);
    bus.declare_crud::<Consumer>().expect("free");
    bus.declare_crud::<Acl>().expect("free");
    let error = bus
        .register(|_: &CrudEvent<Consumer>| (), "crud", "consumer:update")
        .expect_err("misspelt");
    let RegisterError::UnknownChannel { near, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(near, &["consumers"]);
    assert!(error.to_string().ends_with("near: consumers"));
    let error = bus
        .register(|_: &CrudEvent<Consumer>| (), "cruds", "consumers")
        .expect_err("misspelt source");
    assert!(
        error.to_string().ends_with("near: crud/consumers"),
        "{error}"
    );
}

#[test]
fn a_registration_before_the_declaration_is_refused() {
    let bus = bus(0);
    let early = bus.register(|_: &Note| (), "jobs", "done");
    assert!(matches!(early, Err(RegisterError::UnknownChannel { .. })));
    bus.declare::<Note>("jobs", "done").expect("free");
    bus.register(|_: &Note| (), "jobs", "done")
        .expect("declared")
        .keep();
}

#[test]
fn wildcards_take_the_dynamic_form_only() {
    let bus = bus(0);
    let typed = bus.register(|_: &Note| (), "jobs", "*");
    assert!(matches!(typed, Err(RegisterError::TypedWildcard { .. })));
    let sourceless = bus.register_dynamic(|_| (), "*", "done");
    assert!(matches!(
        sourceless,
        Err(RegisterError::HearsNothing { .. })
    ));
}

#[test]
fn a_refused_post_gives_the_event_back() {
    let bus = bus(0);
    bus.declare::<Note>("jobs", "done").expect("free");
    let unknown = bus.post("jobs", "dome", Note(7)).expect_err("misspelt");
    assert_eq!(unknown.payload, Note(7));
    assert!(matches!(unknown.refusal, Refusal::UnknownChannel { .. }));
    let mistyped = bus.post("jobs", "done", 7_u8).expect_err("wrong type");
    assert_eq!(mistyped.payload, 7);
    assert!(matches!(mistyped.refusal, Refusal::OtherType { .. }));
    assert_eq!(bus.stats().refused, 2);
}

// WE11
#[test]
fn settings_that_cannot_work_are_refused_when_the_bus_is_built() {
    let refused = |builder: crate::WorkerEventsBuilder| builder.build().expect_err("out of range");
    assert!(matches!(
        refused(WorkerEvents::builder().workers(129)),
        BuildError::TooManyWorkers {
            asked: 129,
            limit: 128
        }
    ));
    for (builder, setting) in [
        (
            WorkerEvents::builder().mailbox_capacity(0),
            "mailbox_capacity",
        ),
        (WorkerEvents::builder().max_depth(0), "max_depth"),
        (WorkerEvents::builder().max_payload(0), "max_payload"),
    ] {
        let error = refused(builder);
        assert!(error.to_string().starts_with(setting), "{error}");
    }
}

// EV7
#[test]
fn a_payload_of_70_kib_arrives_intact_where_the_limit_allows_it() {
    let bus = WorkerEvents::builder()
        .max_payload(80 * 1024)
        .build()
        .expect("in range");
    let channel = bus.declare::<String>("jobs", "done").expect("free");
    let journal = super::Journal::<String>::new();
    let heard = journal.clone();
    bus.register(
        move |text: &String| heard.write(text.clone()),
        "jobs",
        "done",
    )
    .expect("declared")
    .keep();
    let large = "x".repeat(70 * 1024);
    channel.post(large.clone()).expect("within the limit");
    assert_eq!(journal.read(), [large]);
}

// EV9, WE13
#[test]
fn a_payload_over_the_limit_is_refused_and_the_next_post_is_delivered() {
    let bus = WorkerEvents::builder()
        .max_payload(64 * 1024)
        .build()
        .expect("in range");
    let channel = bus.declare::<String>("jobs", "done").expect("free");
    let journal = super::Journal::<String>::new();
    let heard = journal.clone();
    bus.register(
        move |text: &String| heard.write(text.clone()),
        "jobs",
        "done",
    )
    .expect("declared")
    .keep();
    let error = channel.post("x".repeat(70 * 1024)).expect_err("too large");
    assert_eq!(error.refusal, Refusal::Oversized { limit: 65_536 });
    assert!(error.refusal.to_string().contains("65536"));
    assert!(journal.read().is_empty());
    channel.post("small".to_owned()).expect("within the limit");
    assert_eq!(journal.read(), ["small"]);
}
