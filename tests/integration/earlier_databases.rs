//! Databases and page tokens that an earlier program made: the present one reads, pages and writes
//! them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use http::StatusCode;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tidings::store::Migrations;
use tidings_gateway::{Acl, Consumer, KeyAuthCredential};

use crate::{client::Client, gateway::served_with};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/5c99195");
const LISTS: [(&str, &str); 3] = [
    ("consumers", "/consumers"),
    ("keyauth_credentials", "/key-auths"),
    ("acls", "/acls"),
];

fn answers() -> Json {
    let text = fs::read_to_string(Path::new(FIXTURE).join("answers.json"));
    serde_json::from_str(&text.expect("the fixture")).expect("JSON")
}

async fn rows(admin: &mut Client, path: &str) -> Vec<Json> {
    let list = admin.get(path).await.json();
    list["data"].as_array().expect("a list").clone()
}

/// Whether a row says all that another said, whatever it says besides.
fn says_all_of(row: &Json, earlier: &Json) -> bool {
    let mut fields = earlier.as_object().expect("a row").iter();
    fields.all(|(name, value)| row.get(name) == Some(value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_first_release_is_read_paged_and_written() {
    let (_directory, path) = copy();
    is_read_paged_and_written(&path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_first_release_is_migrated_and_then_served() {
    let (_directory, path) = copy();
    let migrations = || {
        Migrations::of(format!("sqlite://{}", path.display()))
            .entity::<Consumer>()
            .entity::<KeyAuthCredential>()
            .entity::<Acl>()
    };

    let plan = migrations().apply().await.expect("it can be migrated").plan;
    assert!(plan.losses.is_empty() && !plan.is_empty(), "{plan}");
    let left = migrations().plan().await.expect("a plan");
    assert!(left.is_empty(), "{left}");
    is_read_paged_and_written(&path).await;
    let left = migrations().plan().await.expect("a plan");
    assert!(left.is_empty(), "serving asks for nothing more: {left}");
}

fn copy() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("tidings.db");
    fs::copy(Path::new(FIXTURE).join("tidings.db"), &path).expect("a copy");
    (directory, path)
}

async fn is_read_paged_and_written(path: &Path) {
    let served = served_with(|settings| {
        settings.database = format!("sqlite://{}", path.display());
    })
    .await;
    let (mut admin, mut proxy) = (served.admin().await, served.proxy().await);
    let answers = answers();

    for (entity, list) in LISTS {
        let earlier = answers["rows"][entity].as_array().expect("rows");
        let now = rows(&mut admin, list).await;
        assert_eq!(now.len(), earlier.len(), "{entity}");
        for (now, earlier) in now.iter().zip(earlier) {
            assert!(says_all_of(now, earlier), "{now} was {earlier}");
        }

        let token = answers["tokens"][entity].as_str().expect("a token");
        let page = rows(&mut admin, &format!("{list}?size=100&offset={token}")).await;
        assert_eq!(page, now[2..], "{entity}");
    }
    let token = answers["tokens"]["bob's credentials"].as_str();
    let nested = format!("/consumers/bob/key-auth?offset={}", token.expect("a token"));
    let page = rows(&mut admin, &nested).await;
    assert_eq!(page.len(), 1);
    assert_eq!(page[0]["key"], "key-bob-2");

    assert_eq!(proxy.with_key("key-bob-1").await.status, StatusCode::OK);
    let refused = proxy.with_key("key-bob-3").await.status;
    assert_eq!(refused, StatusCode::UNAUTHORIZED, "it was deleted then");

    let made = admin.post("/consumers/zo%C3%AB/key-auth", json!({ "key": "new" }));
    assert_eq!(made.await.status, StatusCode::CREATED);
    assert_eq!(proxy.with_key("new").await.status, StatusCode::OK);
    let clash = admin.post("/consumers", json!({ "username": "bob" })).await;
    assert_eq!(clash.status, StatusCode::CONFLICT);
    let patched = admin.patch("/consumers/ann", json!({ "custom_id": "a" }));
    assert_eq!(patched.await.json()["tags"], json!(["gold"]));
    let deleted = admin.delete("/consumers/bob").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let left = rows(&mut admin, "/acls").await;
    assert_eq!(left.len(), 1, "bob's groups went with him");
    let refused = proxy.with_key("key-bob-1").await.status;
    assert_eq!(refused, StatusCode::UNAUTHORIZED);
    served.stop().await;
}
