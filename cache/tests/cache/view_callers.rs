//! Typed views: callers that come and go, user code, and what the tables of a thread share.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use serde::Serialize;
use tidings_cache::{CacheKey, GetOptions, View};

use crate::{
    kit::{Failure, timed},
    view::{cache, gives, never, text},
};

#[tokio::test]
async fn nothing_is_looked_at_before_the_first_poll() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    view.get("a", gives("old")).await.unwrap();
    let called = view.get("a", gives("new"));
    drop(view.invalidate("a"));
    assert_eq!(text(called.await).as_deref(), Some("new"));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_load_to_others() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    assert!(view.get("a", gives("alice")).now_or_never().is_none());
    assert_eq!(text(view.get("a", never).await).as_deref(), Some("alice"));
}

/// A thread without an L1 gets the shared value; one that is detached has none left.
#[tokio::test]
async fn the_table_goes_with_the_threads_guard() {
    let cache = cache();
    let l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    let held = view.get("a", gives("alice")).await.unwrap().unwrap();
    assert_eq!(
        Arc::strong_count(&held),
        2,
        "the caller's and this thread's"
    );
    drop(l1);
    assert_eq!(Arc::strong_count(&held), 1);
    assert!(view.peek("a").is_none());
}

/// What the closure of `with` does harms nothing else.
#[tokio::test]
async fn a_closure_that_uses_the_cache_or_panics_harms_nothing() {
    let cache = cache();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<String>("names").unwrap();
    view.get("a", gives("alice")).await.unwrap();
    let nested = view.with("a", |_| {
        drop(cache.invalidate(&view.key("b")));
        view.peek("a")
    });
    assert_eq!(nested, Some(None), "it goes without L1");
    let panicked = catch_unwind(AssertUnwindSafe(|| view.with("a", |_| panic!("a closure"))));
    assert!(panicked.is_err());
    assert!(view.peek("a").is_some(), "and L1 is as it was");
}

/// A value whose `Drop` and `Clone` use the cache.
#[derive(Serialize)]
struct Busy {
    #[serde(skip)]
    run: Arc<Mutex<Option<View<Busy>>>>,
    name: String,
}

impl Busy {
    fn call_back(&self) {
        let view = self.run.lock().unwrap().clone();
        if let Some(view) = view {
            drop(view.peek("other"));
            drop(view.invalidate(self.name.as_str()));
        }
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        self.call_back();
        Self {
            run: Arc::clone(&self.run),
            name: self.name.clone(),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.call_back();
    }
}

#[tokio::test]
async fn values_that_call_back_find_nothing_locked() {
    let (builder, _) = timed();
    let cache = builder.l1_entries(2).build().unwrap();
    let _l1 = cache.attach_thread("test");
    let view = cache.view::<Busy>("busy").unwrap();
    let run = Arc::new(Mutex::new(Some(view.clone())));
    for name in 0..50 {
        let busy = Busy {
            run: Arc::clone(&run),
            name: format!("{}", name % 7),
        };
        let load = move || async move { Ok::<_, Failure>(Some(busy)) };
        let key = format!("{}", name % 7);
        assert!(view.get(&key, load).await.unwrap().is_some());
        cache.sweep();
    }
    run.lock().unwrap().take();
}

/// L1 is bounded for a thread and a cache, however many views there are.
#[tokio::test]
async fn the_tables_of_all_views_share_the_bound() {
    let (builder, _) = timed();
    let cache = builder.l1_entries(100).build().unwrap();
    let _l1 = cache.attach_thread("test");
    let views: Vec<_> = (0..5)
        .map(|view| cache.view::<String>(&format!("view {view}")).unwrap())
        .collect();
    let held = || cache.thread_stats()[0].l1_entries;
    for key in 0..200 {
        views[0].get(key, gives("first")).await.unwrap();
    }
    assert_eq!(held(), 100);
    for key in 0..200 {
        for view in &views {
            view.get(key, gives("value")).await.unwrap();
            assert!(held() <= 100);
        }
    }
    // The fullest table evicts first, so each view keeps a part.
    for view in &views {
        let held = (0..200).filter(|&key| view.peek(key).is_some()).count();
        assert!((15..=25).contains(&held), "{held}");
    }
    let by_text = GetOptions::default();
    for key in 0..200 {
        let key = CacheKey::new("by text", &[key]);
        cache
            .get(&key, by_text.clone(), gives("value"))
            .await
            .unwrap();
        assert!(held() <= 100);
    }
}
