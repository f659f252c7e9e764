//! Hooks around the methods.

use std::sync::{Arc, Mutex};

use tidings_core::Value;
use tidings_store::{BoxError, Call, Error, Hook, Method, PageQuery};

use super::support::Fixture;
use crate::entities::{Consumer, consumer};

/// Records when it ran, and refuses or panics on request.
#[derive(Default)]
struct Diary {
    entries: Mutex<Vec<String>>,
    refuse: Mutex<Option<Method>>,
    panic: Mutex<Option<Method>>,
}

impl Diary {
    fn note(&self, when: &str, call: &Call<'_>) {
        let username = call.row.and_then(|row| match &row.0[1] {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let entry = format!("{when} {} {}", call.method, username.unwrap_or("-"));
        self.entries.lock().unwrap().push(entry);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.entries.lock().unwrap())
    }
}

impl Hook for Diary {
    fn before(&self, call: &Call<'_>) -> Result<(), BoxError> {
        self.note("before", call);
        let panics = *self.panic.lock().unwrap() == Some(call.method);
        assert!(!panics, "as told");
        if *self.refuse.lock().unwrap() == Some(call.method) {
            return Err("quota exceeded".into());
        }
        Ok(())
    }

    fn after(&self, call: &Call<'_>) {
        self.note("after", call);
    }
}

/// DA11
#[tokio::test]
async fn hooks_run_once_before_and_after_each_method() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let diary = Arc::new(Diary::default());
    consumers.hook(Arc::clone(&diary) as Arc<dyn Hook>);
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    assert_eq!(diary.take(), ["before insert bob", "after insert bob"]);
    consumers.select(bob.id).await.unwrap();
    assert_eq!(diary.take(), ["before select -", "after select bob"]);
    consumers.select_by("username", "eve").await.unwrap();
    assert_eq!(diary.take(), ["before select -", "after select -"]);
    consumers.select_by_cache_key(&["bob"]).await.unwrap();
    assert_eq!(diary.take(), ["before select -", "after select bob"]);
    consumers
        .update(bob.id, |row| row.username = Some("rob".to_owned()))
        .await
        .unwrap();
    assert_eq!(diary.take(), ["before update -", "after update rob"]);
    consumers
        .upsert_by("username", "eve", Consumer::default())
        .await
        .unwrap();
    assert_eq!(diary.take(), ["before upsert -", "after upsert eve"]);
    consumers.page(PageQuery::default()).await.unwrap();
    assert_eq!(diary.take(), ["before page -", "after page -"]);
    consumers.delete(bob.id).await.unwrap();
    assert_eq!(diary.take(), ["before delete -", "after delete rob"]);
    // After a failed call, no hook runs.
    consumers.insert(consumer("eve")).await.unwrap_err();
    assert_eq!(diary.take(), ["before insert eve"]);
}

/// DA11
#[tokio::test]
async fn a_hook_that_refuses_or_panics_aborts_before_the_write() {
    let fixture = Fixture::new().await;
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    fixture.sink.take();
    let first = Arc::new(Diary::default());
    let second = Arc::new(Diary::default());
    consumers.hook(Arc::clone(&first) as Arc<dyn Hook>);
    consumers.hook(Arc::clone(&second) as Arc<dyn Hook>);
    *first.refuse.lock().unwrap() = Some(Method::Delete);
    match consumers.delete(bob.id).await.unwrap_err() {
        Error::Hook {
            entity,
            method,
            source,
        } => {
            assert_eq!((entity.as_str(), method), ("consumers", Method::Delete));
            assert_eq!(source.to_string(), "quota exceeded");
        }
        error => panic!("{error:?}"),
    }
    assert_eq!(first.take(), ["before delete -"]);
    assert_eq!(second.take(), [""; 0]);
    *second.panic.lock().unwrap() = Some(Method::Insert);
    let error = consumers.insert(consumer("eve")).await.unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error:?}");
    assert_eq!(fixture.sink.take(), []);
    *first.refuse.lock().unwrap() = None;
    *second.panic.lock().unwrap() = None;
    assert_eq!(consumers.select_by("username", "eve").await.unwrap(), None);
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));
}
