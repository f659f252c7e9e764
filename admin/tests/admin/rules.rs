//! Rules of a schema over HTTP: each broken one is a 400 that names its field.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings::{Entity, Node, Store, Timestamp, core::Violations};
use tidings_admin::AdminOptions;

use super::{database::url, node::Admin};

/// Has a rule for each field.
#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(
    name = "offers",
    endpoint_key = "code",
    check = "is_fair",
    admin_api(name = "offers")
)]
struct Offer {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique, immutable, pattern = "[a-z-]+", length(min = 2, max = 8))]
    code: String,
    #[entity(default = "open", one_of("open", "closed"))]
    state: String,
    #[entity(default = true)]
    enabled: bool,
    #[entity(secret)]
    pin: Option<String>,
    low: Option<i64>,
    high: Option<i64>,
    #[entity(expires)]
    until: Option<Timestamp>,
}

fn is_fair(offer: &Offer) -> Result<(), Violations> {
    match (offer.low, offer.high) {
        (Some(low), Some(high)) if low > high => {
            Err(Violations::check("high", "must not be below low"))
        }
        _ => Ok(()),
    }
}

async fn offers() -> Admin {
    let node = Node::builder()
        .store(Store::open(&url().await).await.unwrap())
        .node_id(super::node::NODE_ID)
        .entity::<Offer>()
        .start()
        .await
        .unwrap();
    Admin::over(node, AdminOptions::new())
}

#[tokio::test]
async fn each_broken_rule_is_named_and_nothing_is_stored() {
    let admin = offers().await;
    let wrong = json!({
        "id": 1, "code": "A", "state": "shut", "enabled": "yes", "until": 1.5, "nonsense": 1,
    });
    let refused = admin.json("POST", "/offers", wrong).await;
    let fields = ["code", "enabled", "nonsense", "state", "until"];
    assert_eq!(refused.wrong_fields(), fields);
    let body = refused.body();
    assert_eq!(body["fields"]["code"], "length must be at least 2");
    assert_eq!(body["fields"]["state"], "must be one of: open, closed");

    let form = json!({"id": 1, "code": "not ok"});
    let refused = admin.json("POST", "/offers", form).await;
    assert_eq!(refused.wrong_fields(), ["code"]);
    let message = "must match the pattern [a-z-]+";
    assert_eq!(refused.body()["fields"]["code"], message);
    let unfair = json!({"id": 1, "code": "ab", "low": 3, "high": 2});
    let refused = admin.json("POST", "/offers", unfair).await;
    assert_eq!(
        refused.body()["fields"],
        json!({"high": "must not be below low"})
    );
    assert_eq!(admin.get("/offers").await.ok()["data"], json!([]));
}

#[tokio::test]
async fn defaults_are_given_and_what_is_immutable_is_kept() {
    let admin = offers().await;
    let made = admin
        .form("POST", "/offers", "id=1&code=ab")
        .await
        .created();
    let expected = json!({
        "id": 1, "code": "ab", "state": "open", "enabled": true, "pin": null, "low": null,
        "high": null, "until": null,
    });
    assert_eq!(made, expected);

    let renamed = json!({"code": "cd"});
    let refused = admin.json("PATCH", "/offers/1", renamed.clone()).await;
    assert_eq!(
        refused.body()["fields"],
        json!({"code": "cannot be changed"})
    );
    let refused = admin.json("PUT", "/offers/1", renamed).await;
    assert_eq!(refused.wrong_fields(), ["code"]);
    let put = admin
        .json("PUT", "/offers/1", json!({"enabled": false}))
        .await
        .ok();
    assert_eq!(
        (&put["code"], &put["enabled"]),
        (&json!("ab"), &json!(false))
    );
    let put = admin.json("PUT", "/offers/1", json!({})).await.ok();
    assert_eq!(put["enabled"], true);
    let cleared = admin
        .json("PATCH", "/offers/1", json!({"enabled": null}))
        .await;
    assert_eq!(cleared.wrong_fields(), ["enabled"]);
}

#[tokio::test]
async fn a_secret_is_shown_in_its_own_answer_and_masked_in_lists() {
    let admin = offers().await;
    let given = json!({"id": 1, "code": "ab", "pin": "1234"});
    let made = admin.json("POST", "/offers", given).await.created();
    assert_eq!(made["pin"], "1234");
    assert_eq!(admin.get("/offers/ab").await.ok()["pin"], "1234");
    let list = admin.get("/offers").await.ok();
    assert_eq!(list["data"][0]["pin"], "***");
    assert_eq!(list["data"][0]["code"], "ab");
}

#[tokio::test]
async fn a_time_to_live_is_read_from_a_form_too() {
    let admin = offers().await;
    let now = admin.node.store().time().await.unwrap().as_unix();
    let made = admin
        .form("POST", "/offers", "id=1&code=ab&ttl=60")
        .await
        .created();
    let until = made["until"].as_i64().unwrap();
    assert!((now + 60..now + 120).contains(&until), "{made}");
    let refused = admin.form("POST", "/offers", "id=2&code=cd&ttl=x").await;
    assert_eq!(refused.wrong_fields(), ["ttl"]);
    let cleared = admin.form("PATCH", "/offers/1", "ttl=").await.ok();
    assert!(cleared["until"].is_null(), "{cleared}");
    // A row past its time is not there.
    admin.form("PATCH", "/offers/1", "until=1").await.ok();
    admin.get("/offers/1").await.not_found();
    admin.delete("/offers/1").await.no_content();
    assert_eq!(admin.get("/offers").await.ok()["data"], json!([]));
    admin
        .json("PUT", "/offers/1", json!({"code": "ab"}))
        .await
        .ok();
    // Elsewhere it is an unknown field.
    let refused = Admin::new()
        .await
        .json("POST", "/shops", json!({"name": "a", "ttl": 5}))
        .await;
    assert_eq!(refused.wrong_fields(), ["ttl"]);
}
