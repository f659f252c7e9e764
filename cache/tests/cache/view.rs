//! Typed views: what they promise beyond what every read promises.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tidings_cache::{Cache, CacheKey, GetError, GetOptions, Loaded, Policy, View, ViewError};
use tidings_core::Entity;
use uuid::Uuid;

use crate::kit::{Failure, timed};

pub(crate) type Answer = Result<Option<Arc<String>>, GetError>;

pub(crate) fn cache() -> Cache {
    timed().0.build().unwrap()
}

/// A load that must not run.
pub(crate) async fn never() -> Result<Option<String>, Failure> {
    panic!("a hit was loaded")
}

pub(crate) fn gives(
    value: &str,
) -> impl Fn() -> std::future::Ready<Result<Option<String>, Failure>> + Send {
    let value = value.to_owned();
    move || std::future::ready(Ok(Some(value.clone())))
}

pub(crate) async fn absent() -> Result<Option<String>, Failure> {
    Ok(None)
}

pub(crate) fn text(answer: Answer) -> Option<String> {
    answer.unwrap().map(|value| String::clone(&value))
}

#[tokio::test]
async fn what_was_loaded_once_is_held_by_this_thread() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    assert_eq!(view.peek("a"), None, "nothing was loaded");
    assert_eq!(
        text(view.get("a", gives("alice")).await).as_deref(),
        Some("alice")
    );
    assert_eq!(text(view.get("a", never).await).as_deref(), Some("alice"));
    assert_eq!(
        view.peek("a").flatten().as_deref().map(String::as_str),
        Some("alice")
    );
    assert_eq!(view.with("a", |name| name.map(String::len)), Some(Some(5)));
    assert_eq!(view.with("b", |_| ()), None);

    let stats = cache.stats();
    assert_eq!(
        (stats.l1_hits, stats.loads, stats.misses),
        (3, 1, 1),
        "{stats:?}"
    );
    assert_eq!(cache.thread_stats()[0].l1_entries, 1);
}

/// An invalidation by text removes the entry, which knows only the parts.
#[tokio::test]
async fn an_invalidation_by_text_ends_the_entry() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    let ends: [(&str, &dyn Fn()); 5] = [
        ("invalidate", &|| {
            drop(cache.invalidate(&CacheKey::from_text("names:a")))
        }),
        ("its own", &|| drop(view.invalidate("a"))),
        ("a tag", &|| drop(cache.invalidate_tag("all"))),
        ("purge", &|| drop(cache.purge())),
        ("a change", &|| {
            cache.apply_change(&[view.key("a")], &[]);
        }),
    ];
    for (how, end) in ends {
        let load = || async { Ok::<_, Failure>(Loaded::new("old".to_owned()).tag("all")) };
        view.get("a", load).await.unwrap();
        assert!(view.peek("a").is_some(), "{how}");
        end();
        assert_eq!(view.peek("a"), None, "{how}");
        assert_eq!(
            text(view.get("a", gives("new")).await).as_deref(),
            Some("new"),
            "{how}"
        );
        drop(cache.purge());
    }

    view.get("a", gives("old")).await.unwrap();
    cache
        .set(
            &view.key("a"),
            Some("set".to_owned()),
            GetOptions::default(),
        )
        .unwrap();
    assert_eq!(text(view.get("a", never).await).as_deref(), Some("set"));
    view.set("a", None).unwrap();
    assert_eq!(text(view.get("a", never).await), None, "an absence");
    assert_eq!(view.peek("a"), Some(None));
}

#[tokio::test]
async fn an_entry_ends_with_its_slot_and_with_no_other() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    let names: Vec<_> = (0..200).map(|name| format!("name {name}")).collect();
    for name in &names {
        view.get(name, gives(name)).await.unwrap();
    }
    for (index, name) in names.iter().enumerate() {
        cache.invalidate_local(&CacheKey::new("names", &[name]));
        assert_eq!(view.peek(name), None, "{name}");
        view.get(name, gives(name)).await.unwrap();
        let held = names
            .iter()
            .filter(|name| view.peek(*name).is_some())
            .count();
        assert!(
            held >= names.len() - 3,
            "{held} after {index}: keys seldom share a slot"
        );
        for name in &names {
            view.get(name, gives(name)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_name_has_one_type() {
    let cache = cache();
    cache.view::<String>("names").unwrap();
    let error = cache.view::<u64>("names").unwrap_err();
    let ViewError::WrongType { name, first, asked } = &error else {
        panic!("{error}");
    };
    assert_eq!((name.as_str(), *asked), ("names", "u64"));
    assert!(first.contains("String"));
    assert!(error.to_string().contains("String") && error.to_string().contains("u64"));
    cache.view::<u64>("numbers").unwrap();
    cache.view::<String>("names").unwrap();

    let other = cache.named("other").unwrap();
    other.view::<u64>("names").unwrap();
}

/// Reached past the view, by text.
#[tokio::test]
async fn a_key_that_holds_another_type_is_an_error_that_names_both() {
    let cache = cache();
    let view = cache.view::<String>("names").unwrap();
    cache
        .set(&view.key("a"), Some(7_u64), GetOptions::default())
        .unwrap();
    let error = view.get("a", gives("alice")).await.unwrap_err().to_string();
    assert!(
        error.contains("u64") && error.contains("String") && error.contains("names:a"),
        "{error}"
    );
}

#[tokio::test]
async fn the_number_of_views_is_bounded() {
    let cache = cache();
    for name in 0..1_024 {
        cache.view::<String>(&format!("name {name}")).unwrap();
    }
    let error = cache.view::<String>("one more").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are 1024 views of this cache already; make views once, and clone them"
    );
    let view = cache.view::<String>("name 7").unwrap();
    for field in 1..256 {
        view.by(&[&format!("field {field}")]).unwrap();
    }
    assert!(view.by(&["one more"]).is_err() && view.by(&["field 9"]).is_ok());
}

#[derive(Entity, Clone, Debug, Serialize, serde::Deserialize)]
#[entity(name = "users")]
struct User {
    #[entity(primary_key)]
    id: i64,
}

#[tokio::test]
async fn an_entity_names_its_own_view_and_the_call_names_no_type() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let users = cache.of::<User>().unwrap();
    let load = || async { Ok::<_, Failure>(Some(User { id: 7 })) };
    let user = users
        .primary()
        .unwrap()
        .get(7_i64, load)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(user.id, 7);
    assert_eq!(users.primary().unwrap().key(7_i64).as_str(), "users@7");
    drop(cache.invalidate(&CacheKey::primary("users", 7_i64)));
    assert!(users.primary().unwrap().peek(7_i64).is_none());
}

// G13
#[tokio::test]
async fn no_key_answers_for_another() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    let (primary, by) = (view.primary().unwrap(), view.by(&["a"]).unwrap());
    let by_other = view.by(&["b"]).unwrap();
    let long = "x".repeat(300);

    macro_rules! each {
        ($($view:ident: $parts:expr => $text:expr),* $(,)?) => {
            $(assert_eq!($view.key($parts).as_str(), $text);)*
            $(
                let loaded = text($view.get($parts, gives($text)).await);
                assert_eq!(loaded.as_deref(), Some($text));
            )*
            $(
                let held = $view.peek($parts).expect($text);
                assert_eq!(held.as_deref().map(String::as_str), Some($text));
            )*
        };
    }
    let (of_long, uuid) = (format!("names:{long}"), Uuid::from_u128(7));
    let of_longer = format!("names:{long}y");
    let longer = format!("{long}y");
    each! {
        view: "a" => "names:a",
        primary: "a" => "names@a",
        by: "a" => "names@a:a",
        by_other: "a" => "names@b:a",
        view: ("a", "b") => "names:a:b",
        view: ("a:b", "") => "names:a%3Ab:",
        view: ("", "a", "b") => "names::a:b",
        view: ("a", None::<&str>) => "names:a:~",
        view: None::<&str> => "names:~",
        view: "" => "names:",
        view: long.as_str() => of_long.as_str(),
        view: longer.as_str() => of_longer.as_str(),
        view: 7_i64 => "names:7",
        view: u64::MAX => "names:18446744073709551615",
        view: -1_i64 => "names:-1",
        view: &uuid => "names:00000000-0000-0000-0000-000000000007",
        view: uuid.as_bytes().iter().map(|byte| *byte as char).collect::<String>() => "names:%00%00%00%00%00%00%00%00%00%00%00%00%00%00%00%07",
        view: (1_i64, "x", true, uuid) => "names:1:x:true:00000000-0000-0000-0000-000000000007",
        primary: ("a", "b") => "names@:a:b",
    };

    // Two entries, one text, and one slot: both go.
    view.get("7", gives("never loaded, since L2 has it"))
        .await
        .unwrap();
    assert_eq!(
        view.peek("7").flatten().as_deref().map(String::as_str),
        Some("names:7")
    );
    drop(cache.invalidate(&CacheKey::new("names", &["7"])));
    assert!(view.peek("7").is_none() && view.peek(7_i64).is_none());
}

#[tokio::test]
async fn threads_hold_the_form_that_they_want() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let ports = cache.view::<String>("ports").unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let parsed: View<String, u16> = ports
        .decoded(move |text: &String| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(text.parse()?)
        })
        .unwrap();
    assert_eq!(
        parsed.get("http", gives("80")).await.unwrap().as_deref(),
        Some(&80)
    );
    assert_eq!(
        parsed.get("http", never).await.unwrap().as_deref(),
        Some(&80)
    );
    assert_eq!(text(ports.get("http", never).await).as_deref(), Some("80"));
    assert_eq!(
        parsed.peek("http").flatten().as_deref(),
        Some(&80),
        "neither form displaces the other"
    );
    assert_eq!(made.load(Ordering::SeqCst), 1);

    drop(ports.invalidate("http"));
    assert!(parsed.peek("http").is_none() && ports.peek("http").is_none());
    let error = parsed.get("http", gives("many")).await.unwrap_err();
    assert!(matches!(error, GetError::L1Serializer(_)), "{error}");
}

// G12
#[tokio::test]
async fn a_flood_of_absences_pushes_out_no_value() {
    let (builder, _) = timed();
    let cache = builder.l1_entries(64).build().unwrap();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    let names: Vec<_> = (0..64).map(|name| format!("name {name}")).collect();
    for name in &names {
        view.get(name, gives(name)).await.unwrap();
    }
    for junk in 0..10_000 {
        view.get(junk, absent).await.unwrap();
    }
    assert!(names.iter().all(|name| view.peek(name).is_some()));
    assert_eq!(view.peek(9_999), Some(None), "absences are held, too");
    assert!(cache.thread_stats()[0].l1_entries <= 64 + 8);
}

#[tokio::test]
async fn time_ends_an_entry() {
    let (builder, clock) = timed();
    let second = Duration::from_secs(1);
    let cache = builder.ttl(10 * second).neg_ttl(second).build().unwrap();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    view.get("a", gives("alice")).await.unwrap();
    view.get("b", absent).await.unwrap();
    clock.advance(second);
    assert!(view.peek("a").is_some() && view.peek("b").is_none());
    clock.advance(9 * second);
    assert!(view.peek("a").is_none());
    cache.sweep();
    assert_eq!(cache.thread_stats()[0].l1_entries, 0);
}

#[tokio::test]
async fn options_are_checked_once_and_hold_for_every_call() {
    let (builder, clock) = timed();
    let cache = builder.policy(Policy::revocable()).build().unwrap();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    let second = Duration::from_secs(1);
    let stale = GetOptions::default().resurrect_ttl(second);
    let error = view.clone().with_options(stale).unwrap_err();
    assert_eq!(error.option, "resurrect_ttl");

    let brief = view
        .with_options(GetOptions::default().ttl(second))
        .unwrap();
    brief.get("a", gives("alice")).await.unwrap();
    brief.set("b", Some("bob".to_owned())).unwrap();
    assert!(brief.peek("a").is_some());
    clock.advance(second);
    assert!(brief.peek("a").is_none());
    assert_eq!(
        text(brief.get("b", gives("new")).await).as_deref(),
        Some("new")
    );
}
