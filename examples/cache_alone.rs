//! The cache without a store, a bus or a node: loads, absences, and a voided load.
//!
//! Run: `cargo run --example cache_alone`

use std::{io, time::Duration};

use tidings_cache::{
    Cache, CacheKey, GetOptions, Outcome, Policy,
    kit::{Gate, Source},
};

/// Stands in for the backing store.
async fn owner_of(api_key: &'static str) -> io::Result<Option<String>> {
    Ok((api_key == "abcd").then(|| "alice".to_owned()))
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::builder()
        .capacity(64 << 20)
        .policy(Policy::revocable())
        .deadline(Duration::from_secs(2))
        .build()?;

    // The cache loads a value once, and an absence too.
    let ask = async |api_key: &'static str| {
        let key = CacheKey::new("api-keys", &[api_key]);
        let load = || owner_of(api_key);
        cache.get_entry(&key, GetOptions::default(), load).await
    };
    for api_key in ["abcd", "wxyz"] {
        let first = ask(api_key).await?;
        let second = ask(api_key).await?;
        println!("{api_key}: {:?}, then {:?}", first.outcome, second.outcome);
        assert_eq!(
            (first.outcome, second.outcome),
            (Outcome::Loaded, Outcome::L1)
        );
    }

    // The key is revoked while its row is being read. The load is voided and does not fill the
    // cache.
    let key = CacheKey::new("api-keys", &["abcd"]);
    let (source, gate) = (Source::default(), Gate::new());
    cache.invalidate_local(&key);

    let slow = source.behind(&gate, Some("alice".to_owned()));
    let asked = cache.get(&key, GetOptions::default(), slow);
    let revoke = async {
        gate.reached().await;
        cache.invalidate_local(&key);
        gate.open();
    };
    let (answer, ()) = tokio::join!(asked, revoke);
    println!("asked before the revocation: {:?}", answer?);
    assert!(cache.cached::<String>(&key)?.is_none());
    assert_eq!(cache.stats().refused_void, 1);

    Ok(())
}
