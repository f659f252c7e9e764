//! Warming up: chosen entities are in the cache before the first request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{
    BoxError, Cache, Dao, Entity, GetOptions, Node, Outcome, Store, WarmEnd,
    store::{Call, Hook, Method},
};
use tokio::runtime::Handle;
use uuid::Uuid;

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "plans", cache_key("name"))]
struct Plan {
    #[entity(primary_key, auto)]
    id: Uuid,
    #[entity(unique)]
    name: String,
    text: String,
}

const LONG: Duration = Duration::from_secs(30);

async fn with_plans(count: usize, capacity: u64, text: &str) -> (Node, Dao<Plan>) {
    let node = Node::builder()
        .store(Store::open("sqlite::memory:").await.expect("memory opens"))
        .cache(Cache::builder().capacity(capacity))
        .entity::<Plan>()
        .start()
        .await
        .expect("the node starts");
    let plans = node.dao::<Plan>().expect("declared");
    for n in 0..count {
        let plan = Plan {
            id: Uuid::nil(),
            name: format!("p{n}"),
            text: text.to_owned(),
        };
        plans.insert(plan).await.expect("inserted");
    }
    (node, plans)
}

async fn outcome(node: &Node, plans: &Dao<Plan>, name: &str) -> (Outcome, String) {
    let key = plans.cache_key(&[name]).expect("a cache key");
    let load = || plans.select_by("name", name);
    let entry = node
        .cache()
        .get_entry(&key, GetOptions::default(), load)
        .await
        .expect("loaded");
    (
        entry.outcome,
        entry.value.expect("it is there").text.clone(),
    )
}

// WA1, WA2: the named entities are loaded, page by page, and progress is reported after each.
#[tokio::test]
async fn named_entities_are_in_the_cache_afterwards() {
    let (node, plans) = with_plans(1_001, 64 << 20, "old").await;
    let mut told = Vec::new();
    let report = node
        .warm_up(&["plans"], |it| told.push((it.entity.to_owned(), it.rows)))
        .await;
    assert!(matches!(report[0].end, WarmEnd::Complete), "{report:?}");
    assert_eq!(
        told,
        [("plans".to_owned(), 1_000), ("plans".to_owned(), 1_001)]
    );
    for name in ["p0", "p500", "p1000"] {
        let (outcome, _) = outcome(&node, &plans, name).await;
        assert!(
            matches!(outcome, Outcome::L2 | Outcome::L1),
            "{name}: {outcome:?}"
        );
    }
    assert_eq!(node.cache().stats().loads, 2, "one bulk load for each page");
    assert!(node.shutdown(LONG).await.is_clean());
}

// WA3: what was warmed is evicted by a change like anything else.
#[tokio::test]
async fn a_warmed_value_is_evicted_by_a_write() {
    let (node, plans) = with_plans(3, 64 << 20, "old").await;
    let report = node.warm_up(&["plans"], |_| {}).await;
    assert_eq!(report[0].rows, 3);
    plans
        .update_by("name", "p1", |plan| plan.text = "new".into())
        .await
        .expect("updated");
    assert_eq!(
        outcome(&node, &plans, "p1").await,
        (Outcome::Loaded, "new".to_owned())
    );
    assert!(node.shutdown(LONG).await.is_clean());
}

/// Inserts a row that comes first, right before the second reading of the first page.
struct InsertBetween {
    plans: Dao<Plan>,
    pages: AtomicUsize,
}

impl Hook for InsertBetween {
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        let is_page = call.method == Method::Page;
        if is_page && self.pages.fetch_add(1, Ordering::SeqCst) == 1 {
            let first = Plan {
                id: Uuid::from_u128(1),
                name: "first".to_owned(),
                text: "new".to_owned(),
            };
            let insert = self.plans.insert(first);
            tokio::task::block_in_place(|| Handle::current().block_on(insert))?;
        }
        Ok(())
    }
}

// G1: a row that an insert pushes off its page between the two readings is not taken for absent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_to_the_next_page_is_not_cached_as_absent() {
    let (node, plans) = with_plans(1_001, 64 << 20, "old").await;
    let pages = AtomicUsize::new(0);
    let between = InsertBetween {
        plans: plans.clone(),
        pages,
    };
    plans.hook(Arc::new(between));
    let report = node.warm_up(&["plans"], |_| {}).await;
    assert!(matches!(report[0].end, WarmEnd::Complete), "{report:?}");
    assert_eq!(outcome(&node, &plans, "first").await.1, "new");
    for n in 0..1_001 {
        assert_eq!(outcome(&node, &plans, &format!("p{n}")).await.1, "old");
    }
    assert!(node.shutdown(LONG).await.is_clean());
}

// WA4: what is unknown is skipped with a notice, and the rest is warmed all the same.
#[tokio::test]
async fn an_unknown_entity_is_skipped_with_a_notice() {
    let (node, _plans) = with_plans(1, 64 << 20, "old").await;
    let report = node.warm_up(&["nothing", "plans"], |_| {}).await;
    assert!(matches!(report[0].end, WarmEnd::Unknown), "{report:?}");
    assert!(matches!(report[1].end, WarmEnd::Complete), "{report:?}");
    assert!(node.shutdown(LONG).await.is_clean());
}

// WA5: the cache's size bounds it, and a store that fails ends it softly.
#[tokio::test]
async fn a_full_cache_or_a_closed_store_ends_it_softly() {
    let (node, _plans) = with_plans(3_000, 1 << 20, &"x".repeat(1_000)).await;
    let report = node.warm_up(&["plans"], |_| {}).await;
    assert!(matches!(report[0].end, WarmEnd::Full), "{report:?}");
    assert!(report[0].rows < 3_000 && node.cache().stats().bytes <= 1 << 20);
    assert!(node.shutdown(LONG).await.is_clean());
    node.cache().purge_local();
    let report = node.warm_up(&["plans"], |_| {}).await;
    assert!(matches!(report[0].end, WarmEnd::Failed(_)), "{report:?}");
}
