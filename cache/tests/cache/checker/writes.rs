//! The ways in which the random checker changes a key, and what it may promise afterwards.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tidings_cache::{Cause, GetError, GetOptions, Invalidation, Origin, Tag};

use super::{
    Check, Place, Random,
    places::{PLACES, TTL},
};

type Renewed = Result<Option<Arc<u64>>, GetError>;

impl Check {
    /// Changes a key's source and makes the cache forget the old version, in one of the ways there
    /// are.
    pub(super) fn write(&self, place: &Place, random: &mut Random) {
        if place.writing.swap(true, Ordering::SeqCst) {
            return;
        }
        let version = place.version() + 1;
        {
            let _under = place.voiding();
            match random.below(15) {
                0 | 12 | 13 => self.set_ahead(place, version, random),
                1 => self.renew(place, version, random),
                14 if place.tagged => self.renew_beside(place, version, random),
                how => {
                    place.change(version);
                    self.evict(how, place, random);
                    place.promise(version);
                    if how == 2 && place.tagged {
                        self.join_and_purge(place, random);
                    }
                }
            }
        }
        place.writing.store(false, Ordering::SeqCst);
    }

    fn evict(&self, how: u64, place: &Place, random: &mut Random) {
        let (cache, key) = (&self.cache, &place.key);
        let tag = Tag::from("all");
        match how {
            2 | 3 if place.tagged => {
                let _wide = self.places.wide.begin();
                match how {
                    2 => drop(cache.invalidate_tag(tag)),
                    _ => self.handle(random, || drop(cache.invalidate_tag("all"))),
                }
            }
            4 => {
                let _wide = self.places.wide.begin();
                drop(cache.purge());
            }
            5 => {
                let _wide = self.places.wide.begin();
                self.handle(random, || drop(cache.purge()));
            }
            6 => {
                let arrived = Invalidation::Keys {
                    cache: cache.name().into(),
                    keys: vec![key.clone()],
                };
                cache.apply_invalidation(&arrived, None);
            }
            7 => {
                let _wide = self.places.wide.begin();
                let mut keys = self.places.keys();
                keys.rotate_left(random.below(PLACES) as usize);
                cache.apply_change(&keys, &[]);
            }
            8 => self.handle(random, || drop(cache.invalidate(key))),
            9 => {
                let value = place.loaded(place.version());
                cache.set(key, value, GetOptions::default()).unwrap();
            }
            _ => drop(cache.invalidate(key)),
        }
    }

    /// As the handlers of a change of something else do, in two workers.
    fn handle(&self, random: &mut Random, handler: impl Fn()) {
        let number = self.cache.apply_change(&[], &[]);
        let origin = Origin::Local;
        for _ in 0..2 {
            dawdle(random);
            let _cause = Cause { number, origin }.enter();
            handler();
        }
    }

    /// A set is ahead of its source here. That lasts if nothing else empties the cache in between,
    /// and if nothing is loaded again in the background, which is so for keys without ttl.
    fn set_ahead(&self, place: &Place, version: u64, random: &mut Random) {
        if !place.counts_loads() {
            place.change(version);
        }
        let quiet = self.places.wide.quiet();
        let value = place.loaded(version);
        self.cache
            .set(&place.key, value, GetOptions::default())
            .unwrap();
        dawdle(random);
        place.change(version);
        if !place.counts_loads() || (quiet.is_some() && self.places.wide.quiet() == quiet) {
            place.promise(version);
        }
    }

    /// A caller that comes after a tag's invalidation may join a load that began before, which then
    /// is voided by something else.
    fn join_and_purge(&self, place: &Place, random: &mut Random) {
        let load = place.load(random);
        self.read(place, || {
            let mut get = Box::pin(self.cache.get(&place.key, place.options(random), load));
            let got = match (&mut get).now_or_never() {
                Some(got) => got,
                None => {
                    let wide = self.places.wide.begin();
                    drop(self.cache.purge());
                    drop(wide);
                    self.runtime.block_on(get)
                }
            };
            got.ok().map(|got| *got.unwrap())
        });
    }

    /// Reads a version and its position, and sets it later. Sets and not loads: a load that gives
    /// something old answers the callers that joined it too, although it is not kept.
    pub(super) fn set_late(&self, place: &Place, random: &mut Random) {
        let position = self.cache.number();
        let loaded = place.loaded(place.version()).read_at(position);
        dawdle(random);
        drop(self.cache.set(&place.key, loaded, GetOptions::default()));
    }

    /// What a renewal has loaded is what is read from then on, unless something else has voided it
    /// meanwhile. It may have joined an older load.
    fn renew(&self, place: &Place, version: u64, random: &mut Random) {
        place.change(version);
        let quiet = self.places.wide.quiet().filter(|_| !random.seldom(4));
        let (options, load) = (renewal_options(place, quiet, random), place.load(random));
        let renewed = self.cache.renew::<u64, _>(&place.key, options, load);
        self.promise_renewed(place, quiet, self.runtime.block_on(renewed));
    }

    /// A renewal, and a caller for whom it is too old, so that two loads of the key run at once
    /// while the source changes.
    fn renew_beside(&self, place: &Place, version: u64, random: &mut Random) {
        let quiet = self.places.wide.quiet().filter(|_| !random.seldom(4));
        let (options, load) = (renewal_options(place, quiet, random), place.load(random));
        let mut renewal = Box::pin(self.cache.renew(&place.key, options, load));
        let early = (&mut renewal).now_or_never();

        self.clock.advance(TTL / 2);
        let options = place.options(random).max_staleness(TTL / 2);
        let mut beside = Box::pin(self.cache.get(&place.key, options, place.load(random)));
        let ended = (&mut beside).now_or_never().is_some();
        dawdle(random);
        place.change(version);

        let renewed = early.unwrap_or_else(|| self.runtime.block_on(renewal));
        self.promise_renewed(place, quiet, renewed);
        if !ended {
            drop(self.runtime.block_on(beside));
        }
    }

    fn promise_renewed(&self, place: &Place, quiet: Option<u64>, renewed: Renewed) {
        let Ok(Some(renewed)) = renewed else {
            return; // the load failed
        };
        if quiet.is_some() && self.places.wide.quiet() == quiet {
            place.promise(*renewed);
        }
    }
}

/// A renewal that cannot be promised may serve the expired value if its load fails; one that is to
/// be promised must give what it has loaded.
fn renewal_options(place: &Place, quiet: Option<u64>, random: &mut Random) -> GetOptions {
    let options = place.options(random);
    match quiet {
        Some(_) => options.resurrect_ttl(Duration::ZERO),
        None => options,
    }
}

/// Leaves the others some time.
fn dawdle(random: &mut Random) {
    for _ in 0..random.below(4) {
        std::thread::yield_now();
    }
}
