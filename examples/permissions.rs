//! Permissions: the actions that a user may do, computed from rows of two entities and cached as
//! one value.
//!
//! No schema derives the key of such a value, so a handler invalidates it when one of its rows
//! changes.
//!
//! Run: `cargo run --example permissions`

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use tidings::{
    BoxError, CacheKey, CrudEvent, Dao, Entity, GetOptions, Loaded, Node, PageQuery, Policy, Store,
    WorkerEvents, cache::GetError, store,
};
use uuid::Uuid;

/// A user has a role.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "memberships", cache_key("user", "role"))]
struct Membership {
    #[entity(primary_key, auto)]
    id: Uuid,
    user: String,
    role: String,
}

/// A role allows an action.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "grants", cache_key("role", "action"))]
struct Grant {
    #[entity(primary_key, auto)]
    id: Uuid,
    role: String,
    action: String,
}

type Actions = BTreeSet<String>;

fn key_of(user: &str) -> CacheKey {
    CacheKey::new("actions", &[user])
}

/// One role is part of many users' permissions, so each cached value carries a tag for each role.
fn tag_of(role: &str) -> String {
    format!("role:{role}")
}

/// Invalidates the values that contain a changed row, under its old and its new values.
fn evict_on_changes(events: &WorkerEvents, cache: &tidings::Cache) -> Result<(), BoxError> {
    let evict = cache.clone();
    let membership = move |change: &CrudEvent<Membership>| {
        for row in std::iter::once(&change.entity).chain(&change.old_entity) {
            evict.invalidate_local(&key_of(&row.user));
        }
    };
    events.register(membership, "crud", "memberships")?.keep();

    let evict = cache.clone();
    let grant = move |change: &CrudEvent<Grant>| {
        for row in std::iter::once(&change.entity).chain(&change.old_entity) {
            evict.invalidate_tag_local(tag_of(&row.role).as_str());
        }
    };
    events.register(grant, "crud", "grants")?.keep();
    Ok(())
}

/// Reads the actions that a user may do, and tags them with the user's roles.
async fn read(
    memberships: Dao<Membership>,
    grants: Dao<Grant>,
    user: String,
) -> Result<Loaded<Actions>, store::Error> {
    let (mut actions, mut roles) = (Actions::new(), Vec::new());
    let mine = PageQuery::new().filter("user", user).size(1_000);
    for membership in memberships.page(mine).await?.data {
        let allowed = PageQuery::new().filter("role", membership.role.as_str());
        let allowed = grants.page(allowed.size(1_000)).await?.data;
        actions.extend(allowed.into_iter().map(|grant| grant.action));
        roles.push(tag_of(&membership.role));
    }

    let loaded = Loaded::new(actions);
    Ok(roles
        .iter()
        .fold(loaded, |loaded, tag| loaded.tag(tag.as_str())))
}

async fn may(node: &Node, user: &str, action: &str) -> Result<bool, BoxError> {
    let (memberships, grants) = (node.dao::<Membership>()?, node.dao::<Grant>()?);
    let options = GetOptions::default().policy(Policy::revocable());
    let load = || read(memberships, grants, user.to_owned());
    let actions: Result<_, GetError> = node.cache().get(&key_of(user), options, load).await;
    Ok(actions?.is_some_and(|actions| actions.contains(action)))
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let store = Store::open("sqlite::memory:").await?;
    let node = Node::builder()
        .store(store)
        .entity::<Membership>()
        .entity::<Grant>()
        .start()
        .await?;
    evict_on_changes(node.worker_events(), node.cache())?;

    assert!(!may(&node, "bob", "deploy").await?);
    let membership = Membership {
        id: Uuid::nil(),
        user: "bob".into(),
        role: "operator".into(),
    };
    let membership = node.dao::<Membership>()?.insert(membership).await?;
    let grant = Grant {
        id: Uuid::nil(),
        role: "operator".into(),
        action: "deploy".into(),
    };
    let grant = node.dao::<Grant>()?.insert(grant).await?;
    assert!(may(&node, "bob", "deploy").await?);

    // Deleting either row removes the permission. Each write returns after its handlers have run.
    let grants = node.dao::<Grant>()?;
    grants.delete(grant.id).await?;
    assert!(!may(&node, "bob", "deploy").await?);
    grants.insert(grant).await?;
    assert!(may(&node, "bob", "deploy").await?);
    node.dao::<Membership>()?.delete(membership.id).await?;
    assert!(!may(&node, "bob", "deploy").await?);
    println!("bob may deploy while he is an operator and operators may");

    let _ = node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
