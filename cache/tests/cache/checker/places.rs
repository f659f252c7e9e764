//! What the random checker reads: a few keys, the source of each, and what has been promised about
//! it.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tidings_cache::{CacheKey, GetOptions, Loaded, Ttl};

use super::Random;
use crate::kit::key;

/// Of the values that have one.
pub(super) const TTL: Duration = Duration::from_millis(8);

/// How many there are. The first counts its loads and has neither ttl nor tag; the second has a
/// tag; the third both.
pub(super) const PLACES: u64 = 3;

type FoundInBulk = io::Result<Vec<(CacheKey, Loaded<u64>)>>;

/// One key and its source.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) key: CacheKey,
    /// The key's only part.
    pub(super) part: String,
    pub(super) tagged: bool,
    timed: bool,
    /// One writer at a time: versions grow.
    pub(super) writing: AtomicBool,
    source: Arc<SourceOf>,
    /// Below this version nothing may be read by who begins now.
    promised: AtomicU64,
}

struct SourceOf {
    version: AtomicU64,
    /// What may void a load: operations on this key, and those on all.
    voiding: Voiding,
    wide: Arc<Voiding>,
    /// How much had been voided when the last load began; `None` if another may follow it.
    last_load: Mutex<Option<u64>>,
    twice: AtomicBool,
}

/// Operations that began and ended.
#[derive(Default)]
pub(super) struct Voiding {
    began: AtomicU64,
    ended: AtomicU64,
}

/// One of them, until it is dropped.
pub(super) struct Under<'a>(&'a Voiding);

impl Voiding {
    pub(super) fn begin(&self) -> Under<'_> {
        self.began.fetch_add(1, Ordering::SeqCst);
        Under(self)
    }

    /// How many there were, if none is under way.
    pub(super) fn quiet(&self) -> Option<u64> {
        // Ended is read first: it is never ahead of what has begun.
        let ended = self.ended.load(Ordering::SeqCst);
        (self.began.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// All keys of a check.
pub(super) struct Places {
    pub(super) all: [Place; PLACES as usize],
    pub(super) wide: Arc<Voiding>,
}

impl Places {
    pub(super) fn new() -> Self {
        let wide = Arc::<Voiding>::default();
        let place = |index: usize| Place {
            name: format!("key {index}"),
            key: key(&index.to_string()),
            part: index.to_string(),
            tagged: index > 0,
            timed: index == 2,
            writing: AtomicBool::new(false),
            source: Arc::new(SourceOf {
                version: AtomicU64::new(0),
                voiding: Voiding::default(),
                wide: Arc::clone(&wide),
                last_load: Mutex::new(None),
                twice: AtomicBool::new(false),
            }),
            promised: AtomicU64::new(0),
        };
        Self {
            all: std::array::from_fn(place),
            wide,
        }
    }

    pub(super) fn keys(&self) -> Vec<CacheKey> {
        self.all.iter().map(|place| place.key.clone()).collect()
    }

    /// Loads any of the keys.
    pub(super) fn bulk_load(
        &self,
    ) -> impl Fn(Vec<CacheKey>) -> BoxFuture<'static, FoundInBulk> + Send + Sync + use<'_> {
        // Noted before the call begins.
        let before = self.all.each_ref().map(|place| place.source.quiet());
        move |keys| {
            let asked = |(place, _): &(&Place, _)| keys.contains(&place.key);
            let sources: Vec<_> = (self.all.iter().zip(before).filter(asked))
                .map(|(place, before)| {
                    place.source.load_begins(before);
                    (place.key.clone(), place.tagged, Arc::clone(&place.source))
                })
                .collect();
            Box::pin(async move {
                let found = sources.into_iter().map(|(key, tagged, source)| {
                    let version = source.version.load(Ordering::SeqCst);
                    (key, loaded(version, tagged))
                });
                let found: Vec<_> = found.collect();
                tokio::task::yield_now().await;
                Ok(found)
            })
        }
    }
}

async fn yield_times(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

fn loaded(version: u64, tagged: bool) -> Loaded<u64> {
    let loaded = Loaded::new(version);
    if tagged { loaded.tag("all") } else { loaded }
}

impl SourceOf {
    /// How much has been voided, if nothing is being voided. Equal numbers mean that nothing was in
    /// between.
    fn quiet(&self) -> Option<u64> {
        let quiet = self.voiding.quiet().zip(self.wide.quiet());
        quiet.map(|(own, wide)| own + wide)
    }

    /// `before` is from before the call that starts the load. If something was voided since, the
    /// flight may have been, and the load says nothing, neither as the first of two nor as the
    /// second.
    fn load_begins(&self, before: Option<u64>) {
        let mut last = self.last_load.lock().unwrap();
        let now = self.quiet().filter(|now| before == Some(*now));
        if now.is_some() && now == *last {
            self.twice.store(true, Ordering::SeqCst);
        }
        *last = now;
    }

    fn load_fails(&self) {
        *self.last_load.lock().unwrap() = None;
    }
}

impl Place {
    pub(super) fn counts_loads(&self) -> bool {
        !self.tagged
    }

    pub(super) fn promised(&self) -> u64 {
        self.promised.load(Ordering::SeqCst)
    }

    pub(super) fn promise(&self, version: u64) {
        self.promised.fetch_max(version, Ordering::SeqCst);
    }

    pub(super) fn version(&self) -> u64 {
        self.source.version.load(Ordering::SeqCst)
    }

    pub(super) fn change(&self, version: u64) {
        self.source.version.store(version, Ordering::SeqCst);
    }

    /// Something that may void this key's loads begins.
    pub(super) fn voiding(&self) -> Under<'_> {
        self.source.voiding.begin()
    }

    pub(super) fn loaded_twice(&self) -> bool {
        self.counts_loads() && self.source.twice.load(Ordering::SeqCst)
    }

    /// A late load is followed by another, so a count of them has no end. Where loads are not
    /// counted, each call brings bounds of its own now and then.
    pub(super) fn options(&self, random: &mut Random) -> GetOptions {
        let options = GetOptions::default();
        if self.counts_loads() {
            return options.no_deadline().abandon_after(Ttl::Never);
        }
        match random.below(16) {
            0 => options.max_staleness(TTL / 2),
            1 => options.max_staleness(TTL).deadline(TTL / 2),
            2 => options.deadline(TTL),
            3 => options.stale_after(TTL / 2),
            4 => options.abandon_after(Ttl::After(TTL)),
            _ => options,
        }
    }

    pub(super) fn loaded(&self, version: u64) -> Loaded<u64> {
        loaded(version, self.tagged)
    }

    /// A load that takes its time before and after it reads the source; now and then it fails.
    pub(super) fn load(
        &self,
        random: &mut Random,
    ) -> impl FnOnce() -> BoxFuture<'static, io::Result<Loaded<u64>>> + Send + use<> {
        let source = Arc::clone(&self.source);
        let tagged = self.tagged;
        let ttl = (self.timed && random.seldom(2)).then_some(TTL);
        let fails = random.seldom(if self.timed { 3 } else { 16 });
        let mut slow = || match random.below(8) {
            0..3 => 0,
            3..6 => random.below(4),
            _ => random.below(64),
        };
        let (before_it, after_it) = (slow(), slow());
        let before = source.quiet();
        move || {
            source.load_begins(before);
            Box::pin(async move {
                yield_times(before_it).await;
                let version = source.version.load(Ordering::SeqCst);
                yield_times(after_it).await;
                if fails {
                    source.load_fails();
                    return Err(io::Error::other("the source is down"));
                }
                let loaded = loaded(version, tagged);
                Ok(match ttl {
                    Some(ttl) => loaded.ttl(ttl),
                    None => loaded,
                })
            })
        }
    }
}
