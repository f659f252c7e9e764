//! [`Walk`]: iterates over the entries of a cache, without their values.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    api::{cache::Cache, probe::Level},
    fence::number::Moment,
    level2::{
        key::StoredKey,
        zone::{Held, Kind},
    },
};

/// An entry of the cache, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The key's text.
    pub key: Box<str>,
    /// Whether it is a cached absence.
    pub is_absence: bool,
    /// The level that holds it.
    pub level: Level,
    /// How long it will be served; `None` if it does not expire.
    pub remaining: Option<Duration>,
    /// How long ago it was read.
    pub age: Duration,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Iterates over the entries of a cache in L2. Each step visits the next entry of the node's L2,
/// and costs the same however many there are.
///
/// An entry that exists during the whole walk is found exactly once. One that is added or removed
/// during the walk may be found or not. Entries of other caches of the node, and expired ones, are
/// steps without an entry. A walk keeps the node's cache alive.
pub struct Walk {
    /// A future that serves as a generator: suspended at each entry, it holds the node and the
    /// zone's iterator, which borrows from the node. Nothing wakes it; each step polls it once.
    steps: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The result of the last step, until `next` takes it.
    found: Arc<Mutex<Option<Option<Listed>>>>,
    is_over: bool,
}

impl Cache {
    /// Begins a walk over the entries of this cache in L2.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_cache::{Cache, CacheKey, GetOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder().build()?;
    /// for name in ["alice", "bob"] {
    ///     cache.set(&CacheKey::new("users", &[name]), Some(1), GetOptions::default())?;
    /// }
    /// let mut keys: Vec<_> = cache.walk().flatten().map(|entry| entry.key).collect();
    /// keys.sort();
    /// assert_eq!(&*keys[0], "users:alice");
    /// assert_eq!(keys.len(), 2);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn walk(&self) -> Walk {
        let (node, cache) = (Arc::clone(&self.0.node), self.0.named.index);
        let found: Arc<Mutex<Option<Option<Listed>>>> = Arc::default();
        let tell = Arc::clone(&found);
        let steps = async move {
            for (key, held) in node.level2.present.iter() {
                let listed = listed(&key, &held, cache, node.now(), Kind::Value);
                drop(held); // with no lock held: dropping a value runs user code
                step(&tell, listed).await;
            }
            for (key, held) in node.level2.absent.iter() {
                step(&tell, listed(&key, &held, cache, node.now(), Kind::Absence)).await;
            }
        };
        Walk {
            steps: Box::pin(steps),
            found,
            is_over: false,
        }
    }
}

fn listed<V>(
    key: &StoredKey,
    held: &Held<V>,
    cache: u32,
    now: Moment,
    kind: Kind,
) -> Option<Listed> {
    if key.cache() != cache || held.expires <= now {
        return None;
    }

    let remaining = (held.expires != Moment::NEVER).then(|| held.expires.since(now));
    Some(Listed {
        key: key.text().into(),
        is_absence: kind == Kind::Absence,
        level: Level::L2,
        remaining,
        age: now.since(held.read),
        bytes: held.weight.into(),
    })
}

/// Stores the result of a step, and waits until the next step is asked for.
async fn step(tell: &Mutex<Option<Option<Listed>>>, found: Option<Listed>) {
    *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    let mut is_asked = false;
    std::future::poll_fn(|_| match std::mem::replace(&mut is_asked, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

impl Iterator for Walk {
    type Item = Option<Listed>;

    fn next(&mut self) -> Option<Option<Listed>> {
        if self.is_over {
            return None;
        }
        let mut context = Context::from_waker(Waker::noop());
        self.is_over = self.steps.as_mut().poll(&mut context).is_ready();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.take()
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
