//! The committed contract, and paths that are hard to tell apart.

use tidings::core::{Field, Foreign, OnDelete, OnUpdate};

use super::*;
use crate::problem::Kind;

/// The contract as it is committed; to accept a change, write what the test shows there.
const CONTRACT: &str = include_str!("../../contract.txt");

fn reference(entity: &str) -> Foreign {
    Foreign {
        entity: entity.to_owned(),
        key: "id".to_owned(),
        on_delete: OnDelete::Cascade,
        on_update: OnUpdate::Keep,
    }
}

/// The entities of a small gateway.
fn gateway() -> Vec<&'static Schema> {
    let consumers = Schema::builder("consumers")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<String>("username").unique())
        .endpoint_key("username")
        .admin_api("consumers", None);
    let credentials = Schema::builder("keyauth_credentials")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<String>("key").unique())
        .field(Field::of::<i64>("consumer").refers_to(reference("consumers")))
        .endpoint_key("key")
        .admin_api("key-auths", Some("key-auth"));
    let acls = Schema::builder("acls")
        .field(Field::of::<i64>("id").primary_key())
        .field(Field::of::<i64>("consumer").refers_to(reference("consumers")))
        .field(Field::of::<String>("group"))
        .unique_together(&["consumer", "group"])
        .admin_api("acls", Some("acls"));
    [consumers, credentials, acls]
        .map(|schema| &*Box::leak(Box::new(schema.build())))
        .to_vec()
}

fn refusals() -> String {
    let line = |kind: &Kind| {
        let (status, code, name) = kind.facts();
        format!("{} {code} {name}", status.as_u16())
    };
    let lines: Vec<_> = Kind::ALL.iter().map(line).collect();
    lines.join("\n") + "\n"
}

#[test]
fn the_contract_is_the_committed_one() {
    let routes = Routes::new(&gateway());
    let now = format!(
        "# Paths and their methods\n\n{}\n# Refusals: status, code, name\n\n{}",
        routes.listing(),
        refusals()
    );
    assert_eq!(
        CONTRACT, now,
        "the contract has changed; it should be\n{now}"
    );
}

fn resolved(routes: &Routes, path: &str) -> Option<String> {
    let segments: Vec<_> = path.split('/').map(str::to_owned).collect();
    routes
        .resolve(&segments)
        .map(|resource| format!("{resource:?}"))
}

#[test]
fn an_item_may_be_called_like_anything() {
    let routes = Routes::new(&gateway());
    for item in ["key-auth", "acls", "status", "consumers", "..", "a/b"] {
        let segments = ["consumers".to_owned(), item.to_owned()];
        let resource = routes.resolve(&segments);
        assert!(matches!(resource, Some(Resource::Item(_, name)) if name == item));
    }
}

#[test]
fn a_path_of_the_api_itself_is_not_given_away() {
    let named = |name: &str| -> &'static Schema {
        let schema = Schema::builder(name)
            .field(Field::of::<i64>("id").primary_key())
            .admin_api(name, None);
        Box::leak(Box::new(schema.build()))
    };
    let routes = Routes::new(&[named("status"), named("things")]);
    assert!(resolved(&routes, "status").unwrap().starts_with("Status"));
    assert_eq!(resolved(&routes, "status/1"), None);
    assert!(resolved(&routes, "things/1").is_some());
}

#[test]
fn of_two_entities_with_one_path_the_first_has_it() {
    let named = |name: &str| -> &'static Schema {
        let schema = Schema::builder(name)
            .field(Field::of::<i64>("id").primary_key())
            .admin_api("things", None);
        Box::leak(Box::new(schema.build()))
    };
    let routes = Routes::new(&[named("a"), named("b")]);
    let segments = ["things".to_owned()];
    let resource = routes.resolve(&segments);
    assert!(matches!(resource, Some(Resource::Collection(schema)) if schema.name() == "a"));
}
