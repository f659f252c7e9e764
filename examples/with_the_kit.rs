//! Tests with the kit: a clock driven by hand, a load behind a gate, two nodes and their messages.
//!
//! In your own tests the three functions would be under `#[tokio::test]`; here `main` runs them.
//!
//! Run: `cargo run --example with_the_kit`

use std::{sync::Arc, time::Duration};

use tidings_cache::{
    Cache, CacheKey, GetOptions, ManualClock,
    kit::{Delivery, Gate, Nodes, Source},
};

type Done = Result<(), Box<dyn std::error::Error>>;

fn key() -> CacheKey {
    CacheKey::new("api-keys", &["abcd"])
}

/// Without a sleep: the clock moves only when the test moves it.
fn a_token_expires_with_its_ttl() -> Done {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .clock(Arc::new(clock.clone()))
        .ttl(Duration::from_secs(10))
        .build()?;
    cache.set(&key(), Some("alice".to_owned()), GetOptions::default())?;

    clock.advance(Duration::from_secs(9));
    assert!(cache.cached::<String>(&key())?.is_some());
    clock.advance(Duration::from_secs(1));
    assert!(cache.cached::<String>(&key())?.is_none());
    Ok(())
}

/// A gate holds a load in the middle of its work for as long as the test likes.
async fn a_revoked_key_is_not_filled_by_a_slow_load() -> Done {
    let cache = Cache::builder().build()?;
    let (key, source, gate) = (key(), Source::default(), Gate::new());

    let slow = cache.get(
        &key,
        GetOptions::default(),
        source.behind(&gate, Some("alice")),
    );
    let revoke = async {
        gate.reached().await;
        cache.invalidate_local(&key);
        gate.open();
    };
    let (answer, ()) = tokio::join!(slow, revoke);
    assert!(answer?.is_some());
    assert!(cache.cached::<&str>(&key)?.is_none());
    assert_eq!(source.loads(), 1);

    Ok(())
}

/// A message between two nodes gets lost. The next message proves it, and the node purges.
fn a_lost_message_is_noticed_by_the_next() -> Done {
    let nodes = Nodes::two(|builder| builder)?;
    let (a, b) = (nodes.cache("a"), nodes.cache("b"));
    b.set(&key(), Some("alice".to_owned()), GetOptions::default())?;

    let _ = a.invalidate(&key());
    assert!(nodes.wire("a", "b").lose());
    assert!(b.cached::<String>(&key())?.is_some());

    let _ = a.invalidate(&CacheKey::new("api-keys", &["other"]));
    let delivered = nodes.wire("a", "b").deliver();
    assert!(
        matches!(delivered, Some(Delivery::Gap { lost: 1, .. })),
        "{delivered:?}"
    );
    assert!(b.cached::<String>(&key())?.is_none());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Done {
    a_token_expires_with_its_ttl()?;
    a_revoked_key_is_not_filled_by_a_slow_load().await?;
    a_lost_message_is_noticed_by_the_next()?;
    println!("all three hold");
    Ok(())
}
