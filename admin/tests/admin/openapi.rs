//! `/openapi.json`: what it says is there, and what is there is in it.

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
