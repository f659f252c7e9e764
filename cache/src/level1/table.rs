//! L1: a worker's own cache, one table per named cache on each attached thread.
//!
//! A hit takes no lock and writes nothing that another core reads: the table is a thread-local, the value is this
//! thread's own clone, and the only thing shared is one read of the key's slot. An entry is valid while its number is
//! not below its slot; its ttl, if it has one, costs a look at the clock.
//!
//! Bounded in entries; the hand of a clock evicts what was not hit since it came by last. What leaves is handed to the
//! caller, who drops it once the table is no longer borrowed: a value's `Drop` may use the cache.

use std::{any::Any, cell::RefCell, marker::PhantomData, sync::Weak};

use hashbrown::HashTable;
use tidings_core::CacheKey;

use crate::{
    engine::node::{Named, Node},
    fence::Slots,
    stats::{ThreadCounters, Threads},
    sync::{Arc, thread_local},
};

thread_local! {
    static THREAD: RefCell<Thread> = const {
        RefCell::new(Thread { tables: Vec::new(), nodes: Vec::new() })
    };
}

/// One hit in this many touches L2, so that L2 does not take the hottest keys for cold ones.
const TOUCH_EVERY: u64 = 64;

/// What a thread has.
struct Thread {
    /// The tables of all nodes, few; the one that is hit moves to the front now and then.
    tables: Vec<Table>,
    nodes: Vec<Attached>,
}

/// A node that this thread is attached to.
struct Attached {
    node: u64,
    /// Whether any handle is left.
    alive: Weak<Node>,
    label: Arc<str>,
    guards: usize,
}

/// A named cache's number in the process.
pub(crate) type Place = u64;

/// What a thread's table needs when it is made.
pub(crate) struct Fitting<'a> {
    pub(crate) place: Place,
    pub(crate) node: u64,
    pub(crate) capacity: usize,
    pub(crate) threads: &'a Arc<Threads>,
}

/// Two words, which travel in registers: a wider answer was seen to cost as much as the look-up.
pub(crate) enum Found<T> {
    /// A value, or a cached absence.
    Hit(Option<Arc<T>>),
    /// The same, and it is this hit's turn to tell L2.
    Touch(Option<Arc<T>>),
    /// Nothing that is valid and of this type; or no table.
    Miss,
}

/// What an entry holds; `None` is a cached absence. What leaves is handed on as that, too: the rest of an entry has nothing to
/// say, and a hundred bytes to move.
pub(crate) type Value = Option<Arc<dyn Any + Send + Sync>>;

struct Table {
    place: Place,
    node: u64,
    entries: HashTable<Entry>,
    capacity: usize,
    hand: usize,
    counters: Arc<ThreadCounters>,
    threads: Arc<Threads>,
}

#[repr(C)] // what a hit reads stands together, the end of the key's buffer last
struct Entry {
    value: Value,
    /// The sequence before L2 was read.
    number: u64,
    expires: u64,
    visited: bool,
    key: CacheKey,
}

/// Looks a key up in this thread's own table. The one call of a hit: inlined, it would fill its caller with the table's
/// registers, and its arguments would travel in memory.
#[inline(never)]
pub(crate) fn get<T: Any + Send + Sync>(named: &Named, key: &CacheKey, node: &Node) -> Found<T> {
    // Gone when a value is dropped with its thread, and borrowed when a value's `Drop` uses the cache meanwhile: such a
    // call goes without L1.
    let found = THREAD.try_with(|thread| match thread.try_borrow_mut() {
        Ok(mut thread) => match thread.table(named.place) {
            Some(table) => table.get(key, &named.slots, node),
            None => Found::Miss,
        },
        Err(_) => Found::Miss,
    });
    found.unwrap_or(Found::Miss)
}

/// Keeps a value on this thread, if it is attached. Gives what had to leave, or else could not stay.
#[inline]
pub(crate) fn put(
    fitting: &Fitting<'_>,
    key: &CacheKey,
    number: u64,
    expires: u64,
    mut value: Value,
    slots: &Slots,
) -> Value {
    // Exchanged in place: what travels through closures and options is written in one piece size and read in another.
    let exchanged = &mut value;
    with_table(fitting, move |table| {
        table.put(key, number, expires, exchanged, slots);
    });
    value
}

/// Counts for this thread; `None` if it is not attached.
pub(crate) fn count<R>(
    fitting: &Fitting<'_>,
    count: impl FnOnce(&ThreadCounters) -> R,
) -> Option<R> {
    with_table(fitting, |table| count(&table.counters))
}

/// Takes out what is no longer valid.
pub(crate) fn sweep(place: Place, slots: &Slots, now: u64) -> Vec<Value> {
    let gone = THREAD.try_with(|thread| {
        let mut thread = thread.try_borrow_mut().ok()?;
        let mut tables = thread.tables.iter_mut();
        let table = tables.find(|table| table.place == place)?;
        let gone: Vec<_> = table
            .entries
            .extract_if(|entry| {
                entry.expires <= now || entry.number < slots.floor(entry.key.hash_value())
            })
            .map(|entry| entry.value)
            .collect();
        table.entries_changed();
        if is_sparse(&table.entries) {
            table.entries.shrink_to_fit(|entry| entry.key.hash_value());
        }
        Some(gone)
    });
    gone.ok().flatten().unwrap_or_default()
}

/// Whether memory is to be given back.
fn is_sparse(entries: &HashTable<Entry>) -> bool {
    entries.len() * 4 < entries.capacity()
}

/// Gives this thread an L1 for a node.
pub(crate) fn attach(node: &Arc<Node>, named: &Named, label: &str) -> ThreadGuard {
    let ended = THREAD.try_with(|thread| {
        let mut thread = thread.try_borrow_mut().ok()?;
        match thread.nodes.iter_mut().find(|other| other.node == node.id) {
            Some(attached) => attached.guards += 1,
            None => thread.nodes.push(Attached {
                node: node.id,
                alive: Arc::downgrade(node),
                label: label.into(),
                guards: 1,
            }),
        }
        // Nodes whose last handle has gone. Only guards that were kept leave any.
        thread.nodes.retain(|other| other.alive.strong_count() > 0);
        Some(thread.take_detached())
    });
    drop(ended);
    // So that the thread shows up in the statistics at once.
    count(&named.fitting(node), |_| ());
    ThreadGuard {
        node: node.id,
        not_send: PhantomData,
    }
}

impl Thread {
    #[inline]
    fn table(&mut self, place: Place) -> Option<&mut Table> {
        if self.tables.first()?.place != place {
            self.move_to_front(place)?;
        }
        self.tables.first_mut()
    }

    /// Most threads use one cache only. One that uses two in turn pays for the exchange, some ten instructions.
    #[cold]
    fn move_to_front(&mut self, place: Place) -> Option<()> {
        let index = self.tables.iter().position(|table| table.place == place)?;
        self.tables.swap(0, index);
        Some(())
    }

    /// Adds the table of a cache, if the thread is attached to its node.
    #[cold]
    fn add_table(&mut self, fitting: &Fitting<'_>) -> Option<()> {
        let node = self.nodes.iter().find(|other| other.node == fitting.node)?;
        self.tables.push(Table {
            place: fitting.place,
            node: fitting.node,
            entries: HashTable::new(),
            capacity: fitting.capacity,
            hand: 0,
            counters: fitting.threads.join(&node.label),
            threads: Arc::clone(fitting.threads),
        });
        Some(())
    }

    /// The tables of nodes that the thread is no longer attached to, to be dropped once it is no longer borrowed.
    fn take_detached(&mut self) -> Vec<Table> {
        let Self { tables, nodes } = self;
        tables
            .extract_if(.., |table| {
                !nodes.iter().any(|node| node.node == table.node)
            })
            .collect()
    }
}

#[inline]
fn with_table<R>(fitting: &Fitting<'_>, run: impl FnOnce(&mut Table) -> R) -> Option<R> {
    let result = THREAD.try_with(|thread| {
        let mut thread = thread.try_borrow_mut().ok()?;
        if thread.table(fitting.place).is_none() {
            thread.add_table(fitting)?;
        }
        Some(run(thread.table(fitting.place)?))
    });
    result.ok().flatten()
}

impl Table {
    #[inline]
    fn get<T: Any + Send + Sync>(
        &mut self,
        key: &CacheKey,
        slots: &Slots,
        node: &Node,
    ) -> Found<T> {
        let hash = key.hash_value();
        // By the hash alone, so that the loop over a group's candidates holds no call, and its registers stay where they are.
        // Two keys that share all 64 bits of a secret hash evict each other, if that ever happens.
        let entry = self
            .entries
            .find_mut(hash, |entry| entry.key.hash_value() == hash);
        let Some(entry) = entry.filter(|entry| entry.key.as_bytes() == key.as_bytes()) else {
            return Found::Miss;
        };
        if below_floor(entry.number, slots.floor(hash)) || !node.is_ahead(entry.expires) {
            return Found::Miss;
        }
        let value = match &entry.value {
            None => None,
            Some(value) => match Arc::clone(value).downcast() {
                Ok(value) => Some(value),
                // L2 knows whether the caller or this entry's form is the odd one.
                Err(_) => return Found::Miss,
            },
        };
        if !entry.visited {
            entry.visited = true;
        }
        let hits = self.counters.l1_hit(value.is_none());
        if hits.is_multiple_of(TOUCH_EVERY) {
            Found::Touch(value)
        } else {
            Found::Hit(value)
        }
    }

    /// Keeps `value`, and leaves in its place what goes for it.
    fn put(&mut self, key: &CacheKey, number: u64, expires: u64, value: &mut Value, slots: &Slots) {
        let hash = key.hash_value();
        if let Some(old) = (self.entries).find_mut(hash, |entry| entry.key.hash_value() == hash) {
            if old.key != *key {
                old.key = key.clone();
            }
            (old.number, old.expires, old.visited) = (number, expires, false);
            std::mem::swap(&mut old.value, value);
            return;
        }
        if self.capacity == 0 {
            return;
        }
        let gone = if self.entries.len() >= self.capacity {
            self.evict(slots)
        } else {
            None
        };
        let entry = Entry {
            key: key.clone(),
            number,
            expires,
            value: std::mem::replace(value, gone),
            visited: false,
        };
        self.entries
            .insert_unique(hash, entry, |entry| entry.key.hash_value());
        self.entries_changed();
    }

    /// Turns the hand until it meets an entry that was not hit since last time, or is no longer valid. Gives its value.
    fn evict(&mut self, slots: &Slots) -> Value {
        // Twice round at most: the first round clears every mark.
        let buckets = self.entries.num_buckets();
        for _ in 0..2 * buckets {
            let index = self.hand;
            self.hand = if index + 1 < buckets { index + 1 } else { 0 };
            let Some(entry) = self.entries.get_bucket_mut(index) else {
                continue;
            };
            let valid = || !below_floor(entry.number, slots.floor(entry.key.hash_value()));
            if entry.visited && valid() {
                entry.visited = false;
                continue;
            }
            let value = entry.value.take();
            if let Ok(entry) = self.entries.get_bucket_entry(index) {
                entry.remove();
            }
            return value;
        }
        None
    }

    fn entries_changed(&self) {
        self.counters.entries(self.entries.len() as u64);
    }
}

/// The whole of an L1 entry's validity.
#[inline]
fn below_floor(number: u64, floor: u64) -> bool {
    #[cfg(any(shuttle, tidings_faults))]
    if crate::faults::removed(crate::faults::Step::Level1ComparesSlot) {
        return false;
    }
    number < floor
}

impl Drop for Table {
    fn drop(&mut self) {
        self.threads.leave(&self.counters);
    }
}

/// A thread's L1. It dies with this guard, or with the thread.
#[derive(Debug)]
#[must_use = "the thread's L1 lasts as long as the guard"]
pub struct ThreadGuard {
    node: u64,
    /// The table is a thread-local: only its thread can take it down.
    not_send: PhantomData<*const ()>,
}

impl ThreadGuard {
    /// Keeps the L1 until the thread ends: for a runtime's `on_thread_start` hook, which has no place for a guard.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        // A thread that is ending may have lost its thread-locals already; then there is nothing to do.
        let gone = THREAD.try_with(|thread| {
            let mut thread = thread.try_borrow_mut().ok()?;
            let nodes = &mut thread.nodes;
            let index = nodes.iter().position(|other| other.node == self.node)?;
            nodes[index].guards -= 1;
            if nodes[index].guards == 0 {
                nodes.swap_remove(index);
            }
            Some(thread.take_detached())
        });
        drop(gone);
    }
}
