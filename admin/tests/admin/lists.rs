//! Lists, a page at a time.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::node::Admin;

async fn with_shops(number: usize) -> Admin {
    let admin = Admin::new().await;
    for index in 0..number {
        let tags: Vec<_> = [("even", 2), ("third", 3)]
            .into_iter()
            .filter(|(_, divisor)| index % divisor == 0)
            .map(|(tag, _)| tag)
            .collect();
        let shop = json!({ "name": format!("s{index}"), "tags": tags });
        admin.json("POST", "/shops", shop).await.created();
    }
    admin
}

fn names(list: &Json) -> Vec<String> {
    let rows = list["data"].as_array().unwrap();
    rows.iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Follows `next` from a path to the last page.
async fn all_pages(admin: &Admin, path: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let list = admin.get(&path).await.ok();
        pages.push(names(&list));
        next = list["next"].as_str().map(str::to_owned);
        let offset = list.get("offset").and_then(Json::as_str);
        assert_eq!(offset.is_some(), next.is_some(), "{list}");
        if let (Some(offset), Some(next)) = (offset, &next) {
            assert!(next.contains(&format!("?offset={offset}")), "{list}");
        }
    }
    pages
}

// PL11
#[tokio::test]
async fn pages_lead_from_one_to_the_next_and_miss_nothing() {
    let admin = with_shops(7).await;
    let pages = all_pages(&admin, "/shops?size=3").await;
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [3, 3, 1]);
    let seen: BTreeSet<_> = pages.into_iter().flatten().collect();
    assert_eq!(seen.len(), 7);
    assert_eq!(all_pages(&admin, "/shops?size=7").await.len(), 1);
    assert_eq!(all_pages(&admin, "/shops/").await.len(), 1);
}

// PL11
#[tokio::test]
async fn a_page_has_a_hundred_rows_unless_told_otherwise() {
    let admin = with_shops(101).await;
    let pages = all_pages(&admin, "/shops").await;
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 1]);
    assert_eq!(all_pages(&admin, "/shops?size=1000").await.len(), 1);
}

// PL11
#[tokio::test]
async fn a_bad_size_or_token_is_refused() {
    let admin = with_shops(2).await;
    for size in ["0", "1001", "-1", "x", "", "1e2", "%20"] {
        let refused = admin.get(&format!("/shops?size={size}")).await;
        refused.refused(400, 9, "invalid size");
    }
    for offset in ["x", "", "%00", "%FF", "AAAA", "null", "../..", "🙂"] {
        let offset = offset.replace('🙂', "%F0%9F%99%82");
        let refused = admin.get(&format!("/shops?offset={offset}")).await;
        refused.refused(400, 7, "invalid offset");
    }
    let list = admin.get("/shops?size=1").await.ok();
    let foreign = list["offset"].as_str().unwrap();
    let refused = admin.get(&format!("/shelves?offset={foreign}")).await;
    refused.refused(400, 7, "invalid offset");
}

#[tokio::test]
async fn tags_choose_all_or_any_on_every_page() {
    let admin = with_shops(12).await;
    let count = async |path: &str| all_pages(&admin, path).await.concat().len();
    assert_eq!(count("/shops?tags=even").await, 6);
    assert_eq!(count("/shops?tags=even,third").await, 2);
    assert_eq!(count("/shops?tags=even/third").await, 8);
    assert_eq!(count("/shops?tags=unknown").await, 0);
    let pages = all_pages(&admin, "/shops?tags=even/third&size=3").await;
    assert_eq!(pages.concat().len(), 8, "size and tags are kept in next");
    assert!(pages.iter().all(|page| page.len() <= 3));
    for tags in ["", ",", "a,", "a,b/c"] {
        let refused = admin.get(&format!("/shops?tags={tags}")).await;
        refused.refused(400, 11, "invalid options");
    }
    let refused = admin.get("/shelves?tags=a").await;
    refused.refused(400, 11, "invalid options");
}

#[tokio::test]
async fn a_nested_list_holds_the_rows_of_its_parent_alone() {
    let admin = Admin::new().await;
    for shop in ["a", "b"] {
        admin.shop(shop).await;
        for role in ["x", "y", "z"] {
            let path = format!("/shops/{shop}/roles/{role}");
            admin
                .json("PUT", &path, json!({ "tags": [role] }))
                .await
                .ok();
        }
    }
    let mut seen = Vec::new();
    let mut next = Some("/shops/a/roles?size=2".to_owned());
    while let Some(path) = next {
        assert!(path.starts_with("/shops/a/roles?"));
        let list = admin.get(&path).await.ok();
        seen.extend(list["data"].as_array().unwrap().clone());
        next = list["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|role| role["shop"] == seen[0]["shop"]));
    let tagged = admin.get("/shops/a/roles?tags=x").await.ok();
    assert_eq!(tagged["data"].as_array().unwrap().len(), 1);
    let none = admin.get("/shops/a/shelves").await.ok();
    assert_eq!(none, json!({ "data": [], "next": null }));
}
