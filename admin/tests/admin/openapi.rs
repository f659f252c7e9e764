//! `/openapi.json`: everything that it describes exists, and everything that exists is in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::node::Admin;

fn object(json: &Json) -> &Map<String, Json> {
    json.as_object().unwrap_or_else(|| panic!("{json}"))
}

/// Every `$ref` anywhere below.
fn references(json: &Json, found: &mut BTreeSet<String>) {
    match json {
        Json::Object(members) => {
            if let Some(Json::String(name)) = members.get("$ref") {
                found.insert(name.clone());
            }
            members.values().for_each(|it| references(it, found));
        }
        Json::Array(members) => members.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

/// Whether a value is as a schema says, for the words that the document uses.
fn fits(schema: &Json, value: &Json) -> bool {
    if let Some(any) = schema.get("anyOf") {
        return any.as_array().unwrap().iter().any(|it| fits(it, value));
    }
    let is = |word: &str| match word {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    };
    let typed = match schema.get("type") {
        None => true,
        Some(Json::String(word)) => is(word),
        Some(words) => words
            .as_array()
            .unwrap()
            .iter()
            .any(|it| is(it.as_str().unwrap())),
    };
    let members = match (schema.get("properties"), value) {
        (Some(properties), Json::Object(members)) => {
            let closed = schema.get("additionalProperties") == Some(&json!(false));
            let required = schema.get("required").and_then(Json::as_array);
            let has = |name: &Json| members.contains_key(name.as_str().unwrap());
            required.is_none_or(|names| names.iter().all(has))
                && members
                    .iter()
                    .all(|(name, value)| match properties.get(name) {
                        Some(schema) => fits(schema, value),
                        None => !closed,
                    })
        }
        _ => true,
    };
    typed && members
}

#[tokio::test]
async fn every_path_and_method_that_is_described_is_there() {
    let admin = Admin::new().await;
    let document = admin.get("/openapi.json").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeMap::new();
    for (path, item) in object(&document["paths"]) {
        let places: BTreeSet<_> = path
            .split('{')
            .skip(1)
            .map(|it| it.split('}').next().unwrap())
            .collect();
        let named = item["parameters"].as_array().into_iter().flatten();
        let named: BTreeSet<_> = named.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(named, places, "{path}");
        let methods = object(item).keys().filter(|it| *it != "parameters");
        described.insert(
            path.clone(),
            methods.map(|it| it.to_uppercase()).collect::<BTreeSet<_>>(),
        );
    }
    assert!(described.len() > 20, "{described:?}");

    // A path answers a method that it does not know with those that it does.
    for (path, methods) in described {
        let concrete: String = path
            .split('{')
            .enumerate()
            .map(|(index, part)| match index {
                0 => part.to_owned(),
                _ => format!("x{}", part.split_once('}').unwrap().1),
            })
            .collect();
        let answer = admin.call("OPTIONS", &concrete).await;
        answer.refused(405, 23, "method not allowed");
        let allowed = answer.headers["allow"].to_str().unwrap();
        let allowed: BTreeSet<_> = allowed
            .split(", ")
            .map(str::to_owned)
            .filter(|it| it != "HEAD")
            .collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[tokio::test]
async fn rows_are_as_they_are_described() {
    let admin = Admin::new().await;
    let document = admin.get("/openapi.json").await.ok();
    let schemas = &document["components"]["schemas"];
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for name in &found {
        let name = name.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.get(name).is_some(), "{name}");
    }
    assert!(
        schemas.get("secrets").is_none(),
        "an entity that the API does not show"
    );

    let shop = admin
        .json("POST", "/shops", json!({"name": "a", "tags": ["x"]}))
        .await
        .created();
    assert!(fits(&schemas["shops"], &shop), "{shop}");
    let key = json!({"shop": {"id": shop["id"]}});
    let made = admin
        .json("POST", "/shop-keys", key.clone())
        .await
        .created();
    assert!(fits(&schemas["shop_keys"], &made), "{made}");
    assert!(fits(&schemas["shop_keys.input"], &key), "{key}");
    assert_eq!(
        schemas["shop_keys.input"]["x-required-on-create"],
        json!(["shop"])
    );
    let shelf = json!({"number": 7, "place": 3, "height": 1.5, "extra": {"a": 1}});
    let shelf = admin.json("POST", "/shelves", shelf).await.created();
    assert!(fits(&schemas["shelves"], &shelf), "{shelf}");
    assert!(!fits(&schemas["shelves"], &json!({"number": "7"})));
    assert_eq!(
        schemas["shelves"]["properties"]["place"]["anyOf"][0]["maximum"],
        u32::MAX
    );

    let list = admin.get("/shops").await.ok();
    let page = &document["paths"]["/shops"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    assert!(fits(page, &list), "{list}");
    let refused = admin.json("POST", "/shops", json!({"nmae": 1})).await;
    assert!(fits(&schemas["problem"], &refused.body()));
}

/// The names of an operation's parameters in one place.
fn named(operation: &Json, place: &str) -> BTreeSet<String> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    all.filter(|it| it["in"] == place)
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn every_argument_that_is_described_is_known_and_no_other_is() {
    let admin = Admin::new().await;
    let document = admin.get("/openapi.json").await.ok();
    let mut operations = Vec::new();
    let mut all = BTreeSet::from(["zzz".to_owned()]);
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item).iter().filter(|it| *it.0 != "parameters") {
            all.extend(named(operation, "query"));
            operations.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    assert!(operations.len() > 40 && all.len() > 15, "{all:?}");

    for (path, method, operation) in operations {
        let described = named(&operation, "query");
        let is_public = operation["security"] == json!([]);
        assert_eq!(
            named(&operation, "header").contains("X-Tidings-After"),
            !is_public,
            "{method} {path}"
        );
        if is_public {
            continue; // monitoring may add arguments of its own
        }
        for name in &all {
            let concrete = path.replace(['{', '}'], "");
            // A value that every argument refuses, so that nothing is done and no stream begins. A
            // cache key takes any text.
            let is_key = path.ends_with("/cache-key");
            let value = if is_key { "x" } else { "%FF" };
            let asked = format!("{concrete}?{name}={value}");
            let refused = admin.call(&method, &asked).await;
            if refused.status == 404 {
                continue; // an absent parent is found first
            }
            assert!(is_key || refused.status == 400, "{method} {asked}");
            if name == "tags" && !described.contains(name) {
                continue; // it is known to every list, and refused by those without tags
            }
            let said = refused.body().to_string();
            let is_unknown = said.contains("unknown argument") || said.contains("unknown field");
            assert_eq!(
                !is_unknown,
                described.contains(name),
                "{method} {asked}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn receipts_and_positions_are_described_where_they_are_and_nowhere_else() {
    let admin = Admin::new().await;
    let document = admin.get("/openapi.json").await.ok();
    let write = &document["paths"]["/shops"]["post"];
    assert!(named(write, "query").contains("confirm"));
    for status in ["201", "202"] {
        let headers = object(&write["responses"][status]["headers"]);
        assert!(headers.contains_key("X-Tidings-Position"), "{status}");
        assert!(headers.contains_key("X-Tidings-Confirmed"), "{status}");
    }
    let accepted = &write["responses"]["202"];
    assert!(object(&accepted["headers"]).contains_key("X-Tidings-Status"));
    let asked = &document["paths"]["/cluster/confirm"]["get"];
    assert_eq!(
        named(asked, "query"),
        ["position", "timeout"].map(str::to_owned).into()
    );
    assert!(asked["responses"].get("202").is_some());
    let entry = &document["paths"]["/cache/{cache_key}"];
    assert_eq!(
        named(&entry["delete"], "query"),
        ["cluster", "confirm"].map(str::to_owned).into()
    );
    assert!(entry["get"]["responses"].get("202").is_none());

    // And are there.
    let made = admin
        .json("POST", "/shops?confirm=5s", json!({"name": "a"}))
        .await;
    made.created();
    for name in [
        "x-tidings-position",
        "x-tidings-confirmed",
        "x-tidings-request",
    ] {
        assert!(made.headers.contains_key(name), "{name}");
    }
    let read = admin.get("/shops").await;
    assert!(!read.headers.contains_key("x-tidings-position"));
}
