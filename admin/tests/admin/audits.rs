//! `/audit`: what is cached beside its rows, and how an audit ends.

use serde_json::{Value as Json, json};
use tidings::{CachedRows as _, GetOptions};
use tidings_admin::{AdminOptions, Readiness, Unready};

use super::node::{Admin, Answer};
use crate::entities::ShopKey;

/// An admin API over a node whose cache holds a key and an absence.
async fn filled() -> (Admin, Readiness) {
    let readiness = Readiness::new();
    let admin = Admin::with(AdminOptions::new().readiness(readiness.clone())).await;
    admin.shop("a").await;
    let key = json!({"key": "k"});
    admin.json("POST", "/shops/a/keys", key).await.created();
    let keys = admin.node.dao::<ShopKey>().unwrap().cached().unwrap();
    assert!(keys.select_by("key", "k").await.unwrap().is_some());
    assert!(keys.select_by("key", "none").await.unwrap().is_none());
    (admin, readiness)
}

/// A number of the metrics.
async fn metric(admin: &Admin, name: &str) -> f64 {
    let scraped = admin.get("/metrics").await.text;
    let mut lines = scraped.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {scraped}"))
        .parse()
        .unwrap()
}

/// Lets an audit of ten minutes compare something, and has a drain end it.
async fn ended(admin: &Admin, readiness: &Readiness) -> Answer {
    let before = metric(admin, "tidings_audit_checked_total").await;
    let drains = async {
        while metric(admin, "tidings_audit_checked_total").await < before + 4.0 {
            tokio::task::yield_now().await;
        }
        let second = admin.call("POST", "/audit?for=1s").await;
        second.refused(409, 39, "already running");
        readiness.begin(Unready::Draining);
    };
    let (answer, ()) = tokio::join!(admin.call("POST", "/audit?for=10m"), drains);
    readiness.end(Unready::Draining);
    answer
}

#[tokio::test]
async fn an_audit_says_what_it_has_found_and_a_drain_ends_it() {
    let (admin, readiness) = filled().await;
    let found = ended(&admin, &readiness).await.ok();
    assert!(found["checked"].as_u64() >= Some(4), "{found}");
    let rest = json!({
        "checked": found["checked"], "inconsistent": 0, "per_million": 0.0,
        "oldest_seconds": null, "bound_seconds": null, "skipped": 0,
    });
    assert_eq!(found, rest);
    assert_eq!(
        metric(&admin, "tidings_audit_inconsistent_total").await,
        0.0
    );

    // A value that the row does not have, as if its eviction had been lost.
    let keys = admin.node.dao::<ShopKey>().unwrap();
    let mut wrong = keys.select_by("key", "k").await.unwrap().unwrap();
    wrong.tags = Some(["another".to_owned()].into());
    let key = keys.cache_key(&["k"]).unwrap();
    let set = admin
        .node
        .cache()
        .set(&key, Some(wrong), GetOptions::default());
    set.unwrap();
    let found = ended(&admin, &readiness).await.ok();
    assert!(found["inconsistent"].as_u64() >= Some(1), "{found}");
    let (checked, wrong) = (&found["checked"], &found["inconsistent"]);
    let share = wrong.as_f64().unwrap() * 1e6 / checked.as_f64().unwrap();
    assert_eq!(found["per_million"].as_f64(), Some(share));
    assert!(found["oldest_seconds"].is_f64(), "{found}");

    let counted = metric(&admin, "tidings_audit_inconsistent_total").await;
    assert_eq!(Some(counted), wrong.as_f64());
    assert!(metric(&admin, "tidings_audit_oldest_seconds").await > 0.0);
    assert!(metric(&admin, "tidings_audit_inconsistent_per_million").await > 0.0);
}

#[tokio::test]
async fn the_answer_is_as_it_is_described() {
    let (admin, readiness) = filled().await;
    let document = admin.get("/openapi.json").await.ok();
    let described = &document["paths"]["/audit"]["post"]["responses"]["200"];
    let described = &described["content"]["application/json"]["schema"];
    let names = |json: &Json| {
        let mut names: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let found = ended(&admin, &readiness).await.ok();
    assert_eq!(names(&described["properties"]), names(&found));
    assert_eq!(described["required"].as_array().map(Vec::len), Some(6));
}

#[tokio::test]
async fn a_time_out_of_range_is_refused_and_nothing_is_audited() {
    let admin = Admin::new().await;
    for wrong in [
        "0s",
        "999ms",
        "601s",
        "11m",
        "1",
        "-1s",
        "soon",
        "",
        "%FF",
        "1s&for=2s",
    ] {
        let refused = admin.call("POST", &format!("/audit?for={wrong}")).await;
        refused.refused(400, 11, "invalid options");
    }
    for wrong in ["time=1s", "for=1s&confirm=1s"] {
        let refused = admin.call("POST", &format!("/audit?{wrong}")).await;
        refused.refused(400, 11, "invalid options");
    }
    let refused = admin.get("/audit").await;
    refused.refused(405, 23, "method not allowed");
    assert_eq!(refused.headers["allow"], "POST");
    assert_eq!(metric(&admin, "tidings_audit_checked_total").await, 0.0);
}
