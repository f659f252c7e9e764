//! Lists, a page at a time.

use tidings_store::{Dao, Error, Page, PageQuery, TagFilter};

use super::support::Fixture;
use crate::entities::{Acl, Consumer, acl, consumer};

async fn all_pages(dao: &Dao<Consumer>, query: PageQuery) -> Vec<Vec<Consumer>> {
    let mut pages = Vec::new();
    let mut next = query;
    loop {
        let Page { data, offset } = dao.page(next.clone()).await.unwrap();
        pages.push(data);
        match offset {
            Some(offset) => next = next.offset(offset),
            None => return pages,
        }
    }
}

/// PL11
#[tokio::test]
async fn pages_hold_every_row_once_in_one_order() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let mut ids = Vec::new();
    for number in 0..10 {
        let row = consumers
            .insert(consumer(&number.to_string()))
            .await
            .unwrap();
        ids.push(row.id.to_string());
    }
    ids.sort();
    for (size, pages) in [(1, 10), (3, 4), (5, 2), (10, 1), (1000, 1)] {
        let query = PageQuery::new().size(size);
        let found = all_pages(&consumers, query).await;
        assert_eq!(found.len(), pages, "pages of {size}");
        let found: Vec<_> = found
            .iter()
            .flatten()
            .map(|row| row.id.to_string())
            .collect();
        assert_eq!(found, ids, "pages of {size}");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_one_ended_whatever_was_deleted() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    for number in 0..6 {
        consumers
            .insert(consumer(&number.to_string()))
            .await
            .unwrap();
    }
    let query = PageQuery::new().size(3);
    let first = consumers.page(query.clone()).await.unwrap();
    for row in &first.data {
        consumers.delete(row.id).await.unwrap();
    }
    let query = query.offset(first.offset);
    let second = consumers.page(query).await.unwrap();
    assert_eq!((second.data.len(), second.offset), (3, None));
}

/// PL11
#[tokio::test]
async fn a_bad_size_or_offset_is_refused() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    for size in [0, 1001, usize::MAX] {
        let query = PageQuery::new().size(size);
        let error = consumers.page(query).await.unwrap_err();
        assert!(matches!(error, Error::InvalidSize { .. }), "{error:?}");
    }
    for offset in ["", "x", "!", "Y29uc3VtZXJzOm5vdC1hLXV1aWQ", "' OR 1=1"] {
        let query = PageQuery::new().offset(offset.to_owned());
        let error = consumers.page(query).await.unwrap_err();
        assert!(matches!(error, Error::InvalidOffset), "{offset}: {error:?}");
    }
}

#[tokio::test]
async fn tags_choose_rows_with_all_or_any_of_them() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let all_tags = ["a", "b", "c", "a;b", "\"a\"", "%"];
    for (name, tags) in [("1", 1), ("2", 2), ("3", 2), ("6", 6)] {
        let tags = all_tags[..tags].iter().map(|&tag| tag.to_owned());
        let row = Consumer {
            tags: Some(tags.collect()),
            ..consumer(name)
        };
        consumers.insert(row).await.unwrap();
    }
    consumers.insert(consumer("none")).await.unwrap();
    let owned = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect();
    for (filter, expected) in [
        (TagFilter::All(owned(&["a"])), 4),
        (TagFilter::All(owned(&["a", "b"])), 3),
        (TagFilter::All(owned(&["a", "a"])), 4),
        (TagFilter::All(owned(&["a", "x"])), 0),
        (TagFilter::All(owned(&["\"a\"", "%"])), 1),
        (TagFilter::Any(owned(&["b", "x"])), 3),
        (TagFilter::Any(owned(&["x"])), 0),
        (TagFilter::Any(owned(&["c", "a;b"])), 1),
        (TagFilter::Any(Vec::new()), 0),
        (TagFilter::All(Vec::new()), 5),
    ] {
        let query = PageQuery::new().size(2).tags(filter.clone());
        let found = all_pages(&consumers, query).await;
        assert_eq!(found.iter().flatten().count(), expected, "{filter:?}");
    }
    let query = PageQuery::new().tags(TagFilter::Any(owned(&["a"])));
    let error = fixture.dao::<Acl>().page(query).await.unwrap_err();
    assert_eq!(error.to_string(), "acls has no field tags");
}

#[tokio::test]
async fn a_foreign_field_chooses_the_rows_of_one_parent() {
    let fixture = Fixture::new().await;
    let bob: Consumer = fixture.dao().insert(consumer("bob")).await.unwrap();
    let eve: Consumer = fixture.dao().insert(consumer("eve")).await.unwrap();
    for group in ["a", "b", "c"] {
        fixture.dao().insert(acl(&bob, group)).await.unwrap();
        fixture.dao().insert(acl(&eve, group)).await.unwrap();
    }
    let query = PageQuery::new().size(2).filter("consumer", bob.id);
    let acls = fixture.dao::<Acl>();
    let first = acls.page(query.clone()).await.unwrap();
    let query = query.offset(first.offset);
    let second = acls.page(query).await.unwrap();
    assert_eq!(second.offset, None);
    let found = first.data.iter().chain(&second.data);
    let mut groups: Vec<_> = found
        .inspect(|row| assert_eq!(row.consumer.id, bob.id))
        .map(|row| row.group.as_str())
        .collect();
    groups.sort_unstable();
    assert_eq!(groups, ["a", "b", "c"]);

    let wrong = PageQuery::new().filter("consumer", 7_i64);
    let error = acls.page(wrong).await.unwrap_err();
    assert!(matches!(error, Error::WrongKind { .. }), "{error:?}");
}
