//! Fields of every kind over HTTP: as JSON, as a form, in paths and in arguments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings::{Entity, FieldValue, Json, Node, Store, TimestampMicros};
use tidings_admin::AdminOptions;

use super::{database::url, node::Admin};

#[derive(FieldValue, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    InReview,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Limits {
    per_minute: u32,
}

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "samples",
    endpoint_key = "data",
    cache_key("data", "state"),
    admin_api(name = "samples")
)]
struct Sample {
    #[entity(primary_key)]
    id: u64,
    #[entity(unique)]
    #[serde(with = "tidings::base64")]
    data: Option<Vec<u8>>,
    ratio: Option<f32>,
    names: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    state: Option<State>,
    limits: Option<Json<Limits>>,
    #[entity(unique)]
    moment: Option<TimestampMicros>,
}

async fn samples() -> Admin {
    let node = Node::builder()
        .store(Store::open(&url().await).await.unwrap())
        .node_id(super::node::NODE_ID)
        .entity::<Sample>()
        .start()
        .await
        .unwrap();
    Admin::over(node, AdminOptions::new())
}

#[tokio::test]
async fn what_is_sent_as_json_comes_back() {
    let admin = samples().await;
    let sample = json!({
        "id": u64::MAX, "data": "AP8/+w==", "ratio": 0.1, "names": ["b", "a,/", "b"],
        "labels": {"a": "1"}, "state": "in_review", "limits": {"per_minute": 60},
        "moment": 1_700_000_000_123_456_i64,
    });
    let made = admin
        .json("POST", "/samples", sample.clone())
        .await
        .created();
    assert_eq!(made, sample);
    for name in ["18446744073709551615", "AP8%2F%2Bw%3D%3D"] {
        assert_eq!(
            admin.get(&format!("/samples/{name}")).await.ok(),
            sample,
            "{name}"
        );
    }
    // Only the canonical spelling names a row.
    for name in [
        "AP8%2F%2Bw",
        "018446744073709551615",
        "%2B18446744073709551615",
    ] {
        admin.get(&format!("/samples/{name}")).await.not_found();
    }
    for query in ["data=AP8%2F%2Bw%3D%3D", "moment=1700000000123456"] {
        let list = admin.get(&format!("/samples?{query}")).await.ok();
        assert_eq!(list["data"], json!([sample]), "{query}");
    }
    let path = "/schemas/samples/cache-key?data=AP8%2F%2Bw%3D%3D&state=in_review";
    let key = admin.get(path).await.ok();
    assert_eq!(key["cache_key"], "samples:%00%FF?%FB:in_review");
}

#[tokio::test]
async fn what_is_sent_as_a_form_is_read_by_its_kind() {
    let admin = samples().await;
    let form = "id=7&data=aGk%3D&ratio=1.5&names[]=a&names[]=b&names[]=a&labels={\"a\":\"1\"}\
                &state=open&limits={\"per_minute\":5}&moment=-7";
    let made = admin.form("POST", "/samples", form).await.created();
    assert_eq!(
        made,
        json!({
            "id": 7, "data": "aGk=", "ratio": 1.5, "names": ["a", "b", "a"], "labels": {"a": "1"},
            "state": "open", "limits": {"per_minute": 5}, "moment": -7,
        })
    );
    let empty = admin
        .form("PATCH", "/samples/7", "names[]=&labels={}&data=")
        .await
        .ok();
    assert_eq!(
        (&empty["names"], &empty["labels"]),
        (&json!([]), &json!({}))
    );
    assert!(empty["data"].is_null());
}

#[tokio::test]
async fn each_field_of_a_wrong_kind_is_named() {
    let admin = samples().await;
    let wrong = json!({
        "id": -1, "data": "hi", "ratio": 0.123_456_789, "names": "a", "labels": {"a": 1},
        "state": "shut", "limits": {"per_hour": 1}, "moment": 1.5,
    });
    let refused = admin.json("POST", "/samples", wrong).await;
    let all = [
        "data", "id", "labels", "limits", "moment", "names", "ratio", "state",
    ];
    assert_eq!(refused.wrong_fields(), all);
    assert_eq!(admin.get("/samples").await.ok()["data"], json!([]));
}
