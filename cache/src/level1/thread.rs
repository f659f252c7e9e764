//! The L1 of one thread: a table for each named cache that it uses, of the nodes that it is
//! attached to.

use std::{any::Any, cell::RefCell, marker::PhantomData, sync::Weak};

use tidings_core::CacheKey;

use crate::{
    fence::number::Moment,
    level1::{
        table::{Attach, CacheId, Content, Removed, Shared, Table, TableLookup},
        view::{KeyLayout, ViewIndex, ViewLookup, ViewTable},
        window::Kind,
    },
    stats::ThreadCounters,
    sync::{Arc, thread_local},
};

thread_local! {
    static THREAD: RefCell<Thread> = const {
        RefCell::new(Thread { tables: Vec::new(), nodes: Vec::new() })
    };
}

struct Thread {
    /// The tables of all nodes, which are few. The one that is used moves to the front.
    tables: Vec<Table>,
    nodes: Vec<Attached>,
}

/// A node that this thread is attached to.
struct Attached {
    node: u64,
    /// Dead once the node's last handle is dropped.
    alive: Weak<()>,
    label: Arc<str>,
    guards: usize,
}

/// Looks a key up in this thread's own table. This is the only call of a hit. Inlined, it would
/// fill its caller with the table's registers, and its arguments would travel in memory.
#[inline(never)]
pub(crate) fn get<T: Any + Send + Sync>(shared: &Shared, key: &CacheKey) -> TableLookup<T> {
    // The thread's tables are gone while a value is dropped with its thread, and borrowed while a
    // value's `Drop` uses the cache. Such a call skips L1.
    let lookup = THREAD.try_with(|thread| match thread.try_borrow_mut() {
        Ok(mut thread) => match thread.table(shared.cache_id) {
            Some(table) => table.get(key, shared),
            None => TableLookup::Miss,
        },
        Err(_) => TableLookup::Miss,
    });
    lookup.unwrap_or(TableLookup::Miss)
}

/// Returns when this thread's entry of a key was read from its backing store.
pub(crate) fn read_of(shared: &Shared, key: &CacheKey) -> Option<Moment> {
    with_table(shared, |table| table.read_of(key)).flatten()
}

/// Puts an entry into this thread's L1, if it has one. Values that leave for it are dropped.
pub(crate) fn put(shared: &Shared, key: &CacheKey, content: Content) {
    let mut gone = Removed::default(); // outlives the borrow
    with_table(shared, |table| {
        table.put(key, content, &shared.slots, &mut gone)
    });
}

/// Looks a key up in this thread's own table of a view. As for [`get`], the one call of a hit; what
/// it takes travels in registers.
#[inline(never)]
pub(crate) fn lookup_view<W: Any + Send + Sync>(
    shared: &Shared,
    view: ViewIndex,
    layout: KeyLayout,
    bytes: &[u8],
) -> ViewLookup<Option<Arc<W>>> {
    lookup_view_with(shared, view, layout, bytes, |value| value.cloned())
}

/// Looks a key up as [`lookup_view`] does, and lets a closure make something of the value in its
/// place.
#[inline(always)]
pub(crate) fn lookup_view_with<W: Any + Send + Sync, R>(
    shared: &Shared,
    view: ViewIndex,
    layout: KeyLayout,
    bytes: &[u8],
    make: impl FnOnce(Option<&Arc<W>>) -> R,
) -> ViewLookup<R> {
    // As in `get`: a call that finds the tables borrowed skips L1.
    let lookup = THREAD.try_with(|thread| {
        let Ok(mut thread) = thread.try_borrow_mut() else {
            return ViewLookup::Miss;
        };
        let Some(table) = thread.table(shared.cache_id) else {
            return ViewLookup::Miss;
        };
        let Some(Some(view)) = table.views.get_mut(view.0) else {
            return ViewLookup::Miss;
        };

        let view: &mut dyn Any = &mut **view;
        match view.downcast_mut::<ViewTable<W>>() {
            Some(view) => view.get(
                layout,
                bytes,
                &shared.slots,
                &shared.clock,
                &table.counters,
                make,
            ),
            None => ViewLookup::Miss,
        }
    });

    lookup.unwrap_or(ViewLookup::Miss)
}

/// Changes this thread's table of a view, if the thread has an L1. Returns the values that left.
pub(crate) fn change_view<W: Any + Send + Sync>(
    shared: &Shared,
    view: ViewIndex,
    kind: Kind,
    change: impl FnOnce(&mut ViewTable<W>) -> Vec<Arc<W>>,
) -> Removed {
    let gone = with_table(shared, |table| {
        if table.views.len() <= view.0 {
            table.views.resize_with(view.0 + 1, || None);
        }
        let view = table.views[view.0]
            .get_or_insert_with(|| Box::new(ViewTable::<W>::new(shared.capacity, shared.bytes)));
        let view: &mut dyn Any = &mut **view;
        let gone = view.downcast_mut().map(change);
        table.view_changed(kind, gone.unwrap_or_default(), &shared.slots)
    });
    gone.unwrap_or_default()
}

/// Counts something for this thread; returns `None` if it has no L1.
pub(crate) fn count<R>(shared: &Shared, count: impl FnOnce(&ThreadCounters) -> R) -> Option<R> {
    with_table(shared, |table| count(&table.counters))
}

/// Removes entries that are no longer valid.
pub(crate) fn sweep(shared: &Shared, now: Moment) -> Removed {
    let gone = THREAD.try_with(|thread| {
        let mut thread = thread.try_borrow_mut().ok()?;
        let mut tables = thread.tables.iter_mut();
        let table = tables.find(|table| table.cache_id == shared.cache_id)?;
        Some(table.sweep(&shared.slots, now))
    });
    gone.ok().flatten().unwrap_or_default()
}

/// Creates an L1 of a node for this thread.
pub(crate) fn attach(shared: &Shared, label: &str) -> ThreadGuard {
    let _ = THREAD.try_with(|thread| {
        let mut thread = thread.try_borrow_mut().ok()?;
        let mut nodes = thread.nodes.iter_mut();
        match nodes.find(|other| other.node == shared.node) {
            Some(attached) => attached.guards += 1,
            None => thread.nodes.push(Attached {
                node: shared.node,
                alive: Weak::clone(&shared.alive),
                label: label.into(),
                guards: 1,
            }),
        }
        Some(())
    });

    // Makes the table, so that the thread shows up in the statistics at once.
    count(shared, |_| ());
    ThreadGuard {
        node: shared.node,
        not_send: PhantomData,
    }
}

#[inline]
fn with_table<R>(shared: &Shared, run: impl FnOnce(&mut Table) -> R) -> Option<R> {
    let mut ended = None;
    let result = THREAD.try_with(|thread| {
        let mut thread = thread.try_borrow_mut().ok()?;
        if thread.table(shared.cache_id).is_none() {
            ended = Some(thread.add_table(shared)?);
        }
        Some(run(thread.table(shared.cache_id)?))
    });
    drop(ended); // values of other caches, with the thread no longer borrowed

    result.ok().flatten()
}

impl Thread {
    #[inline]
    fn table(&mut self, cache_id: CacheId) -> Option<&mut Table> {
        if self.tables.first()?.cache_id != cache_id {
            self.move_to_front(cache_id)?;
        }
        self.tables.first_mut()
    }

    /// Moves a cache's tables to the front. Most threads use one cache only; one that uses two in
    /// turn pays for the exchange, some ten instructions.
    #[cold]
    fn move_to_front(&mut self, cache_id: CacheId) -> Option<()> {
        let index = self
            .tables
            .iter()
            .position(|table| table.cache_id == cache_id)?;
        self.tables.swap(0, index);
        Some(())
    }

    /// Adds the table of a cache, if the thread is attached to its node or attaches by itself.
    /// Returns the tables of nodes that are gone, to be dropped once the thread is no longer
    /// borrowed.
    #[cold]
    fn add_table(&mut self, shared: &Shared) -> Option<Vec<Table>> {
        let attached = self
            .nodes
            .iter()
            .position(|other| other.node == shared.node);

        let index = match (attached, shared.attach) {
            (Some(index), _) => index,
            (None, Attach::ByHand) => return None,
            (None, Attach::AtFirstUse) => {
                self.nodes.push(Attached {
                    node: shared.node,
                    alive: Weak::clone(&shared.alive),
                    label: own_label(),
                    guards: 1, // its own: it lasts as long as the thread
                });
                self.nodes.len() - 1
            }
        };

        self.tables
            .push(Table::new(shared, &self.nodes[index].label));

        // Forgets nodes whose last handle was dropped. Only guards that were kept leave any.
        self.nodes.retain(|other| other.alive.strong_count() > 0);
        Some(self.take_detached())
    }

    /// Takes the tables of nodes that the thread is no longer attached to, to be dropped once it is
    /// no longer borrowed.
    fn take_detached(&mut self) -> Vec<Table> {
        let Self { tables, nodes } = self;
        let is_detached = |table: &mut Table| !nodes.iter().any(|node| node.node == table.node);
        tables.extract_if(.., is_detached).collect()
    }
}

/// Returns the label of a thread that attached by itself: its name, if it has one.
fn own_label() -> Arc<str> {
    std::thread::current().name().unwrap_or("unnamed").into()
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
    /// Keeps the L1 until the thread ends: for a runtime's `on_thread_start` hook, which has no
    /// place for a guard.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        // A thread that is ending may have lost its thread-locals already; then there is nothing to
        // do.
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
