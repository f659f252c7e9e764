//! Rows that change between their look-up and the write.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde_json::json;
use tidings::{
    Dao, Ref,
    store::{BoxError, Call, Hook, Method},
};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::node::Admin;
use crate::entities::{Role, ShopKey};

type Meddling = Box<dyn FnOnce() + Send>;

/// Does something once, right before a method's write and after the lookup for it.
pub(crate) struct Meddler {
    method: Method,
    meddling: Mutex<Option<Meddling>>,
}

impl Meddler {
    pub(crate) fn new(
        method: Method,
        meddling: impl Future<Output = ()> + Send + 'static,
    ) -> Arc<Self> {
        let runtime = Handle::current();
        let meddling = move || {
            let thread = thread::spawn(move || runtime.block_on(meddling));
            thread.join().unwrap();
        };
        let meddling: Meddling = Box::new(meddling);
        Arc::new(Self {
            method,
            meddling: Mutex::new(Some(meddling)),
        })
    }
}

impl Hook for Meddler {
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        if call.method == self.method {
            // Taken out before it runs: it may come here itself.
            let mut turn = self.meddling.lock().unwrap_or_else(PoisonError::into_inner);
            let meddling = turn.take();
            drop(turn);
            if let Some(meddling) = meddling {
                meddling();
            }
        }
        Ok(())
    }
}

/// A key `k` of shop a, and what moves it to shop b.
async fn key_that_moves(admin: &Admin, method: Method) -> Dao<ShopKey> {
    admin.shop("a").await;
    let b: Uuid = admin.shop("b").await.parse().unwrap();
    admin
        .json("POST", "/shops/a/keys", json!({ "key": "k" }))
        .await
        .created();
    let keys = admin.node.dao::<ShopKey>().unwrap();
    let dao = keys.clone();
    let moved = async move {
        let change = move |key: &mut ShopKey| key.shop = Some(Ref::new(b));
        dao.update_by("key", "k", change).await.unwrap().unwrap();
    };
    admin
        .node
        .table("shop_keys")
        .unwrap()
        .hook(Meddler::new(method, moved));
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_away_meanwhile_is_not_deleted() {
    let admin = Admin::new().await;
    let keys = key_that_moves(&admin, Method::Delete).await;
    admin.delete("/shops/a/keys/k").await.not_found();
    assert!(keys.select_by("key", "k").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_away_meanwhile_is_not_replaced() {
    let admin = Admin::new().await;
    let keys = key_that_moves(&admin, Method::Upsert).await;
    admin
        .json("PUT", "/shops/a/keys/k", json!({ "tags": ["t"] }))
        .await
        .not_found();
    assert_eq!(
        keys.select_by("key", "k").await.unwrap().unwrap().tags,
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_away_meanwhile_is_not_patched() {
    let admin = Admin::new().await;
    let keys = key_that_moves(&admin, Method::Update).await;
    admin
        .json("PATCH", "/shops/a/keys/k", json!({ "tags": ["t"] }))
        .await
        .not_found();
    assert_eq!(
        keys.select_by("key", "k").await.unwrap().unwrap().tags,
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_makes_meanwhile_is_replaced() {
    let admin = Admin::new().await;
    let a: Uuid = admin.shop("a").await.parse().unwrap();
    let roles = admin.node.dao::<Role>().unwrap();
    let role = Role {
        id: Uuid::from_u128(7),
        role: "x".to_owned(),
        shop: Ref::new(a),
        tags: None,
    };
    let dao = roles.clone();
    let hook = Meddler::new(Method::Insert, async move {
        dao.insert(role).await.unwrap();
    });
    admin.node.table("roles").unwrap().hook(hook);
    let put = admin
        .json("PUT", "/shops/a/roles/x", json!({ "tags": ["t"] }))
        .await
        .ok();
    assert_eq!(put["id"], Uuid::from_u128(7).to_string());
    assert_eq!(put["tags"], json!(["t"]));
}
