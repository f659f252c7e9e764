//! Warming up: chosen entities are in the cache before the first request.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings::{Cache, Dao, Entity, GetOptions, Node, Outcome, Store, WarmEnd};
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

/// WA1, WA2: the named entities are loaded, page by page, and progress is told after each.
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

/// WA3: what was warmed is evicted by a change like anything else.
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

/// WA4: what is unknown is skipped with a notice, and the rest is warmed all the same.
#[tokio::test]
async fn an_unknown_entity_is_skipped_with_a_notice() {
    let (node, _plans) = with_plans(1, 64 << 20, "old").await;
    let report = node.warm_up(&["nothing", "plans"], |_| {}).await;
    assert!(matches!(report[0].end, WarmEnd::Unknown), "{report:?}");
    assert!(matches!(report[1].end, WarmEnd::Complete), "{report:?}");
    assert!(node.shutdown(LONG).await.is_clean());
}

/// WA5: the cache's size bounds it, and a store that fails ends it softly.
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
