//! Sequences of operations on a cache, beside a model that is a plain map; after each step both are
//! compared.
//!
//! Shared by the property test (`walker.rs`), which makes sequences that shrink well, and the fuzz
//! target (`fuzz/fuzz_targets/cache_operations.rs`), which makes them of bytes.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use tidings_cache::{
    Attach, Cache, CacheKey, Cause, GetOptions, Loaded, ManualClock, Origin, ThreadGuard, Ttl,
};

/// Keys of the walk; fewer than the operations, so that they meet.
pub(crate) const KEYS: usize = 4;
/// Tags of the walk.
pub(crate) const TAGS: usize = 2;
const TTL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Get {
        key: usize,
        tag: Option<usize>,
        ttl: bool,
    },
    Bulk {
        keys: Vec<usize>,
    },
    Set {
        key: usize,
        absent: bool,
        tag: Option<usize>,
    },
    /// A load that fails.
    Fail {
        key: usize,
    },
    Cached {
        key: usize,
    },
    Renew {
        key: usize,
    },
    Change {
        key: usize,
    },
    Delete {
        key: usize,
    },
    InvalidateTag {
        tag: usize,
    },
    Purge,
    /// A change of something else: the cause of what its handlers do from now on, in one worker or
    /// several.
    Commit,
    HandleKey {
        key: usize,
    },
    HandleTag {
        tag: usize,
    },
    HandleAll,
    Attach,
    Detach,
    Sweep,
    Wait,
}

impl Operation {
    /// Makes operations of any bytes, two or more for each.
    pub(crate) fn decode(bytes: &[u8]) -> Vec<Self> {
        let mut bytes = bytes.iter().map(|byte| usize::from(*byte));
        std::iter::from_fn(|| Self::next(&mut bytes)).collect()
    }

    fn next(bytes: &mut impl Iterator<Item = usize>) -> Option<Self> {
        let (kind, what) = (bytes.next()?, bytes.next()?);
        let key = what % KEYS;
        let tag = what % TAGS;
        // Of the bits that chose the key, others choose the rest.
        let some_tag = Some(what / KEYS % (TAGS + 1)).filter(|tag| *tag < TAGS);
        let flag = (what / (KEYS * (TAGS + 1))).is_multiple_of(2);
        Some(match kind % 20 {
            0..3 => Self::Get {
                key,
                tag: some_tag,
                ttl: flag,
            },
            3 => Self::Bulk {
                keys: bytes.take(what % 6).map(|byte| byte % KEYS).collect(),
            },
            4 | 5 => Self::Set {
                key,
                absent: flag,
                tag: some_tag,
            },
            6 => Self::Renew { key },
            7 => Self::Change { key },
            8 => Self::Delete { key },
            9 => Self::InvalidateTag { tag },
            10 => Self::Purge,
            11 => Self::Attach,
            12 => Self::Detach,
            13 => Self::Sweep,
            14 => Self::Wait,
            15 => Self::Fail { key },
            16 => Self::Cached { key },
            17 => Self::Commit,
            18 => Self::HandleKey { key },
            _ if flag => Self::HandleTag { tag },
            _ => Self::HandleAll,
        })
    }
}

/// What a cache that never evicts for space holds.
pub(crate) struct Walk {
    cache: Cache,
    clock: ManualClock,
    now: Duration,
    next: u64,
    source: HashMap<usize, u64>,
    cached: HashMap<usize, Cached>,
    guard: Option<ThreadGuard>,
    /// The last cause, and how many fills there had been.
    cause: Option<(Cause, u64)>,
    fills: u64,
}

#[derive(Clone, Debug)]
struct Cached {
    value: Option<u64>,
    expires: Option<Duration>,
    tag: Option<usize>,
    /// How many fills there had been.
    fill: u64,
}

fn name(key: usize) -> CacheKey {
    CacheKey::new("test", &[&*key.to_string()])
}

fn tagged(value: Option<u64>, tag: Option<usize>) -> Loaded<u64> {
    match tag {
        None => Loaded::from(value),
        Some(tag) => Loaded::from(value).tag(format!("tag {tag}")),
    }
}

impl Walk {
    /// Must be called in a tokio runtime.
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        let builder = Cache::builder()
            .clock(Arc::new(clock.clone()))
            .attach(Attach::ByHand)
            .neg_ttl(Ttl::Never);
        Self {
            cache: builder.build().unwrap(),
            clock,
            now: Duration::ZERO,
            next: 0,
            source: HashMap::new(),
            cached: HashMap::new(),
            guard: None,
            cause: None,
            fills: 0,
        }
    }

    /// Applies every operation, and then empties the cache.
    pub(crate) async fn walk(mut self, operations: impl IntoIterator<Item = Operation>) {
        for operation in operations {
            self.step(operation).await;
        }
        drop(self.guard.take());
        drop(self.cache.purge());
        assert_eq!(self.cache.stats().bytes, 0);
        assert!(self.cache.probe::<u64>(&name(0)).unwrap().is_none());
    }

    /// Runs a handler under the last cause, if there was one. Returns the number of fills before
    /// the cause: later ones stay.
    fn handle(&self, handler: impl Fn(&Cache)) -> u64 {
        let Some((cause, since)) = self.cause else {
            return 0; // before the first fill: all stay
        };
        let _cause = cause.enter();
        handler(&self.cache);
        since
    }

    fn live(&self, key: usize) -> Option<&Cached> {
        let live = |cached: &&Cached| cached.expires.is_none_or(|expires| expires > self.now);
        self.cached.get(&key).filter(live)
    }

    fn fill(&mut self, key: usize, value: Option<u64>, ttl: bool, tag: Option<usize>) {
        let expires = ttl.then(|| self.now + TTL);
        self.fills += 1;
        let cached = Cached {
            value,
            expires,
            tag,
            fill: self.fills,
        };
        self.cached.insert(key, cached);
    }

    async fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Get { key, tag, ttl } => {
                let loaded = self.source.get(&key).copied();
                let options = if ttl {
                    GetOptions::default().ttl(TTL).neg_ttl(TTL)
                } else {
                    GetOptions::default()
                };
                let load = || async move { Ok::<_, io::Error>(tagged(loaded, tag)) };
                let got = self.cache.get(&name(key), options, load).await.unwrap();
                if self.live(key).is_none() {
                    self.fill(key, loaded, ttl, tag);
                }
                assert_eq!(got.as_deref().copied(), self.cached[&key].value);
            }
            Operation::Bulk { keys } => {
                let names: Vec<_> = keys.iter().map(|key| name(*key)).collect();
                let source = self.source.clone();
                let load = |asked: Vec<CacheKey>| {
                    let found = (0..KEYS).filter(|key| asked.contains(&name(*key)));
                    let found: Vec<_> = found
                        .map(|key| (name(key), source.get(&key).copied()))
                        .collect();
                    async move { Ok::<_, io::Error>(found) }
                };
                let got = self
                    .cache
                    .get_bulk(&names, GetOptions::default(), load)
                    .await
                    .unwrap();
                for (key, got) in keys.into_iter().zip(got) {
                    if self.live(key).is_none() {
                        self.fill(key, self.source.get(&key).copied(), false, None);
                    }
                    assert_eq!(got.as_deref().copied(), self.cached[&key].value);
                }
            }
            Operation::Set { key, absent, tag } => {
                self.next += 1;
                let value = (!absent).then_some(self.next);
                self.cache
                    .set(&name(key), tagged(value, tag), GetOptions::default())
                    .unwrap();
                self.fill(key, value, false, tag);
            }
            Operation::Fail { key } => {
                let load = || async { Err::<Option<u64>, _>(io::Error::other("down")) };
                let got = self
                    .cache
                    .get(&name(key), GetOptions::default(), load)
                    .await;
                match self.live(key) {
                    Some(live) => assert_eq!(got.unwrap().as_deref().copied(), live.value),
                    None => assert!(got.is_err()),
                }
            }
            Operation::Cached { key } => {
                let got = self.cache.cached::<u64>(&name(key)).unwrap();
                let got = got.map(|got| got.value.as_deref().copied());
                assert_eq!(got, self.live(key).map(|live| live.value));
            }
            Operation::Renew { key } => {
                let loaded = self.source.get(&key).copied();
                let load = || async move { Ok::<_, io::Error>(loaded) };
                let got = self
                    .cache
                    .renew(&name(key), GetOptions::default(), load)
                    .await
                    .unwrap();
                assert_eq!(got.as_deref().copied(), loaded);
                self.fill(key, loaded, false, None);
            }
            Operation::Change { key } => {
                self.next += 1;
                self.source.insert(key, self.next);
                self.cache.apply_change(&[name(key)], &[]);
                self.cached.remove(&key);
            }
            Operation::Delete { key } => {
                self.source.remove(&key);
                drop(self.cache.invalidate(&name(key)));
                self.cached.remove(&key);
            }
            Operation::InvalidateTag { tag } => {
                drop(self.cache.invalidate_tag(format!("tag {tag}")));
                self.cached.retain(|_, cached| cached.tag != Some(tag));
            }
            Operation::Purge => {
                drop(self.cache.purge());
                self.cached.clear();
            }
            Operation::Commit => {
                let number = self.cache.apply_change(&[], &[]);
                let origin = Origin::Remote;
                self.cause = Some((Cause { number, origin }, self.fills));
            }
            Operation::HandleKey { key } => {
                let since = self.handle(|cache| drop(cache.invalidate(&name(key))));
                self.cached
                    .retain(|other, cached| *other != key || cached.fill > since);
            }
            Operation::HandleTag { tag } => {
                let since = self.handle(|cache| drop(cache.invalidate_tag(format!("tag {tag}"))));
                self.cached
                    .retain(|_, cached| cached.tag != Some(tag) || cached.fill > since);
            }
            Operation::HandleAll => {
                let since = self.handle(|cache| drop(cache.purge()));
                self.cached.retain(|_, cached| cached.fill > since);
            }
            Operation::Sweep => {
                self.cache.sweep();
                self.cache.sweep_level2(Duration::ZERO);
            }
            Operation::Wait => {
                self.clock.advance(TTL / 3);
                self.now += TTL / 3;
            }
            Operation::Attach => self.guard = Some(self.cache.attach_thread("worker")),
            Operation::Detach => self.guard = None,
        }
        self.check();
    }

    /// Checks that probes show what the model holds, and that the counts agree.
    fn check(&self) {
        for key in 0..KEYS {
            let probed = self.cache.probe::<u64>(&name(key)).unwrap();
            let live = self.live(key);
            assert_eq!(probed.is_some(), live.is_some(), "key {key}");
            if let (Some(probed), Some(live)) = (probed, live) {
                assert_eq!(probed.value.as_deref().copied(), live.value);
                assert_eq!(
                    probed.remaining,
                    live.expires.map(|expires| expires - self.now)
                );
            }
        }
        let stats = self.cache.stats();
        assert!(stats.bytes <= stats.capacity && stats.in_flight == 0);
        assert!(
            (stats.entries + stats.absences) as usize
                >= (0..KEYS).filter(|key| self.live(*key).is_some()).count()
        );
    }
}
