//! `/metrics`, read by a parser that is not ours.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use openmetrics_parser::{
    MetricFamily, PrometheusType, PrometheusValue, prometheus::parse_prometheus,
};
use serde_json::json;
use tidings::{CrudEvent, GetOptions};
use tidings_admin::{AdminOptions, Metrics, Readiness, status_router};
use tower::ServiceExt as _;

use super::node::{Admin, NODE_ID};
use crate::entities::{Shop, ShopKey};

type Families = HashMap<String, MetricFamily<PrometheusType, PrometheusValue>>;

/// The series of a scrape, by name.
async fn scrape(admin: &Admin) -> Families {
    let answer = admin.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let content_type = answer.headers["content-type"].to_str().unwrap();
    assert!(
        content_type.starts_with("text/plain; version=0.0.4"),
        "{content_type}"
    );
    read(&answer.text)
}

fn read(text: &str) -> Families {
    let parsed = parse_prometheus(text);
    parsed
        .unwrap_or_else(|error| panic!("{error}: {text}"))
        .families
}

/// The value of the series with these labels, and no others.
fn value(families: &Families, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family = families
        .get(name)
        .unwrap_or_else(|| panic!("there is no {name}"));
    let names = family.get_label_names();
    let sample = family.iter_samples().find(|sample| {
        let labelset = sample.get_labelset().unwrap();
        names.len() == labels.len()
            && labels
                .iter()
                .all(|(name, value)| labelset.get_label_value(name) == Some(*value))
    });
    let sample = sample.unwrap_or_else(|| panic!("{name} has no {labels:?}: {family}"));
    match &sample.value {
        PrometheusValue::Counter(counter) => counter.value.as_f64(),
        PrometheusValue::Gauge(gauge) => gauge.as_f64(),
        PrometheusValue::Histogram(histogram) => histogram.count.unwrap() as f64,
        other => panic!("{name} is {other:?}"),
    }
}

async fn look_up(admin: &Admin, key: &str) {
    let keys = admin.node.dao::<ShopKey>().unwrap();
    let cache_key = keys.cache_key(&[key]).unwrap();
    let load = keys.select_by("key", key);
    let cache = admin.node.cache();
    cache
        .get(&cache_key, GetOptions::default(), || load)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_scrape_tells_of_its_node_alone() {
    let (admin, idle) = (Admin::new().await, Admin::new().await);
    // A write without a handler does not wait for its event.
    let events = admin.node.worker_events();
    let hear = |_: &CrudEvent<Shop>| {};
    events.register(hear, "crud", "shops").unwrap().keep();
    look_up(&admin, "k").await;
    look_up(&admin, "k").await;
    admin.shop("a").await;
    let (busy, idle) = (scrape(&admin).await, scrape(&idle).await);
    let cache = [("cache", "default")];
    for (families, misses, changes) in [(&busy, 1.0, 1.0), (&idle, 0.0, 0.0)] {
        assert_eq!(
            value(families, "tidings_cache_misses_total", &cache),
            misses
        );
        assert_eq!(
            value(families, "tidings_events_changes_total", &[]),
            changes
        );
        let shops = [("source", "crud"), ("event", "shops")];
        assert_eq!(
            value(families, "tidings_events_posted_total", &shops),
            changes
        );
        let worker = [("worker", "1"), ("level", "l1")];
        assert_eq!(
            value(families, "tidings_worker_cache_hits_total", &worker),
            0.0
        );
        assert_eq!(value(families, "tidings_workers", &[]), 2.0);
        assert!(value(families, "process_resident_memory_bytes", &[]) > 0.0);
    }
}

/// What `promtool check metrics` would complain of, and labels whose values come from chance.
#[tokio::test]
async fn names_have_units_and_help_and_no_label_is_random() {
    let admin = Admin::new().await;
    look_up(&admin, "k").await;
    admin.shop("a").await;
    admin.delete("/cache").await.no_content();
    let families = scrape(&admin).await;
    for (name, family) in &families {
        assert!(!family.help.is_empty(), "{name} has no help");
        assert!(
            name.starts_with("tidings_") || name.starts_with("process_"),
            "{name}"
        );
        let is_total = name.ends_with("_total");
        match family.family_type {
            PrometheusType::Counter => assert!(is_total, "{name} is a counter"),
            PrometheusType::Gauge => assert!(!is_total, "{name} is a gauge"),
            PrometheusType::Histogram => assert!(name.ends_with("_seconds"), "{name}"),
            ref other => panic!("{name} is {other:?}"),
        }
        for sample in family.iter_samples() {
            let labels = sample.get_labelset().unwrap();
            for (label, value) in labels.iter() {
                assert_ne!(value, NODE_ID, "{name} {label}");
                assert!(
                    uuid::Uuid::try_parse(value).is_err(),
                    "{name} {label}={value}"
                );
            }
        }
    }
    for cause in ["invalidated", "expired", "space", "purged"] {
        let labels = [("cache", "default"), ("cause", cause)];
        let purged = f64::from(u8::from(cause == "purged"));
        assert_eq!(
            value(&families, "tidings_cache_evictions_total", &labels),
            purged,
            "{cause}"
        );
    }
    let cache = [("cache", "default")];
    assert_eq!(value(&families, "tidings_cache_loads_total", &cache), 1.0);
    assert_eq!(value(&families, "tidings_cache_load_seconds", &cache), 1.0);
    let PrometheusValue::Histogram(took) = &families["tidings_cache_load_seconds"]
        .iter_samples()
        .next()
        .unwrap()
        .value
    else {
        panic!("not a histogram");
    };
    assert!(took.buckets.len() > 10 && took.sum.is_some(), "{took:?}");
}

#[tokio::test]
async fn what_a_program_adds_is_told_with_the_rest() {
    let publish = || {
        metrics::describe_counter!("app_jobs_total", "Jobs done");
        metrics::counter!("app_jobs_total").absolute(7);
        metrics::histogram!("app_job_seconds").record(0.003);
    };
    let metrics = Metrics::new().publish(publish);
    let options = AdminOptions::new().metrics(metrics.clone());
    let admin = Admin::with(options).await;
    let families = scrape(&admin).await;
    assert_eq!(value(&families, "app_jobs_total", &[]), 7.0);
    assert_eq!(value(&families, "app_job_seconds", &[]), 1.0);
    assert_eq!(families["app_jobs_total"].help, "Jobs done");

    // A listener of its own shares what histograms have counted.
    let node = Arc::new(OnceLock::new());
    let pages = status_router(Arc::clone(&node), Readiness::new(), metrics);
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = pages.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let named = response.headers().get("x-tidings-node").is_some();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, named, String::from_utf8(body.into()).unwrap())
    };
    let starting = json!({ "ready": false, "reasons": ["starting"] }).to_string();
    assert_eq!(ask("/readyz").await, (503, false, starting.clone()));
    assert_eq!(ask("/metrics").await, (503, false, starting));
    assert_eq!(ask("/livez").await.0, 200);
    node.set(admin.node.clone()).unwrap();
    assert_eq!(ask("/readyz").await.0, 200);
    let (status, named, text) = ask("/metrics").await;
    assert_eq!((status, named), (200, true), "{NODE_ID}");
    assert_eq!(value(&read(&text), "app_job_seconds", &[]), 2.0);
    assert_eq!(ask("/shops").await.0, 404);
    assert_eq!(ask("/status").await.0, 404);
}

#[tokio::test]
async fn status_pages_take_get_and_head_alone() {
    let pages = status_router(Arc::default(), Readiness::new(), Metrics::new());
    let ask = async |method: &str| {
        let request = Request::builder().method(method).uri("/livez");
        let request = request.body(Body::empty()).unwrap();
        pages.clone().oneshot(request).await.unwrap()
    };
    for method in ["GET", "HEAD"] {
        assert_eq!(ask(method).await.status(), 200, "{method}");
    }
    for method in ["POST", "DELETE", "OPTIONS", "TRACE"] {
        let refused = ask(method).await;
        assert_eq!(refused.status(), 405, "{method}");
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
    }
}
