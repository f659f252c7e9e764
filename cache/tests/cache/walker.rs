//! Sequences of operations against a model that is a plain map.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use tidings_cache::{Cache, CacheKey, GetOptions, Loaded, ManualClock};

use crate::kit::{Failure, key, timed};

/// Keys of the walk; fewer than the operations, so that they meet.
const KEYS: usize = 4;
const TTL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Operation {
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
    Attach,
    Detach,
    Sweep,
    Wait,
}

fn operation() -> impl Strategy<Value = Operation> {
    let tag = || prop::option::of(0..2_usize);
    prop_oneof![
        8 => (0..KEYS, tag(), any::<bool>()).prop_map(|(key, tag, ttl)| Operation::Get { key, tag, ttl }),
        1 => prop::collection::vec(0..KEYS, 0..6).prop_map(|keys| Operation::Bulk { keys }),
        2 => (0..KEYS, any::<bool>(), tag()).prop_map(|(key, absent, tag)| Operation::Set { key, absent, tag }),
        1 => (0..KEYS).prop_map(|key| Operation::Renew { key }),
        3 => (0..KEYS).prop_map(|key| Operation::Change { key }),
        1 => (0..KEYS).prop_map(|key| Operation::Delete { key }),
        1 => (0..2_usize).prop_map(|tag| Operation::InvalidateTag { tag }),
        1 => Just(Operation::Purge),
        1 => Just(Operation::Attach),
        1 => Just(Operation::Detach),
        1 => Just(Operation::Sweep),
        2 => Just(Operation::Wait),
    ]
}

/// What a cache that never evicts for space holds.
struct Walk {
    cache: Cache,
    clock: ManualClock,
    now: Duration,
    next: u64,
    source: HashMap<usize, u64>,
    cached: HashMap<usize, Cached>,
}

#[derive(Clone, Debug)]
struct Cached {
    value: Option<u64>,
    expires: Option<Duration>,
    tag: Option<usize>,
}

fn name(key: usize) -> CacheKey {
    crate::kit::key(&key.to_string())
}

fn tagged(value: Option<u64>, tag: Option<usize>) -> Loaded<u64> {
    match tag {
        None => Loaded::from(value),
        Some(tag) => Loaded::from(value).tag(format!("tag {tag}")),
    }
}

impl Walk {
    fn live(&self, key: usize) -> Option<&Cached> {
        let live = |cached: &&Cached| cached.expires.is_none_or(|expires| expires > self.now);
        self.cached.get(&key).filter(live)
    }

    fn fill(&mut self, key: usize, value: Option<u64>, ttl: bool, tag: Option<usize>) {
        let expires = ttl.then(|| self.now + TTL);
        self.cached.insert(
            key,
            Cached {
                value,
                expires,
                tag,
            },
        );
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
                let load = || async move { Ok::<_, Failure>(tagged(loaded, tag)) };
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
                    async move { Ok::<_, Failure>(found) }
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
            Operation::Renew { key } => {
                let loaded = self.source.get(&key).copied();
                let load = || async move { Ok::<_, Failure>(loaded) };
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
            Operation::Sweep => {
                self.cache.sweep();
                self.cache.sweep_level2(Duration::ZERO);
            }
            Operation::Wait => {
                self.clock.advance(TTL / 3);
                self.now += TTL / 3;
            }
            Operation::Attach | Operation::Detach => {}
        }
        self.check();
    }

    /// What probe shows is what the model holds, and the counts agree.
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_agrees_with_a_plain_map(operations in prop::collection::vec(operation(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (builder, clock) = timed();
            let cache = builder.build().unwrap();
            let mut guard = None;
            let mut walk = Walk {
                cache,
                clock,
                now: Duration::ZERO,
                next: 0,
                source: HashMap::new(),
                cached: HashMap::new(),
            };
            for operation in operations {
                match operation {
                    Operation::Attach => guard = Some(walk.cache.attach_thread("worker")),
                    Operation::Detach => guard = None,
                    _ => {}
                }
                walk.step(operation).await;
            }
            drop(guard);
            drop(walk.cache.purge());
            prop_assert_eq!(walk.cache.stats().bytes, 0);
            prop_assert!(walk.cache.probe::<u64>(&key("0")).unwrap().is_none());
            Ok(())
        })?;
    }
}
