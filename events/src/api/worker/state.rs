//! [`LocalState`]: the state of a worker: its handlers, and the mail that it has taken out of its
//! mailbox and not handled yet.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    mem,
    panic::{self, AssertUnwindSafe},
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
};

use tidings_core::{BoxError, Operation};

use crate::{
    api::bus::WorkerEvents,
    delivery::{
        feed::Lifecycle,
        mailbox::{Mail, Mailbox},
    },
    event::{
        gap::Gap,
        handler::{AnyHandler, Entry},
        info::{self, ChannelInfo},
        name::Pattern,
        posted::Posted,
    },
    hub::Hub,
    isolate::{discard, isolated, quietly},
    route::{
        registry::Change,
        run::{
            Stopwatch, Timing, failed, handler_span, inside, next_sample, panicked, spans_are_on,
        },
    },
    thread::{
        frame::{Frame, under},
        places::{self, Leave},
    },
};

/// A worker's handler: it takes the payload out of the event itself.
pub(crate) type LocalEntry = Entry<LocalFn>;

pub(crate) type LocalFn = Box<dyn Fn(&dyn Posted) -> Result<(), BoxError>>;

pub(crate) struct LocalState {
    bus: WorkerEvents,
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    handlers: RefCell<Vec<Handler>>,
    /// The handlers of each channel seen so far, in order; emptied when a registration comes or
    /// goes.
    routes: RefCell<HashMap<u32, Rc<LocalRoute>>>,
    last_route: RefCell<Option<(u32, Rc<LocalRoute>)>>,
    /// Mail taken out of the mailbox and not handled yet. Here, and not on the stack of `run`, so
    /// that a `run` that is dropped loses nothing.
    in_hand: RefCell<VecDeque<Mail>>,
    on_gap: RefCell<Vec<GapHandler>>,
    running: Cell<bool>,
    turns: Cell<u64>,
    /// The next turn whose handlers are timed.
    sample_at: Cell<u64>,
    /// Whether the place was given up.
    left: Cell<bool>,
}

pub(crate) type GapHandler = Rc<dyn Fn(&Gap)>;

struct Handler {
    pattern: Pattern,
    entry: Rc<LocalEntry>,
}

struct LocalRoute {
    wide: Box<[Rc<LocalEntry>]>,
    narrow: [Box<[Rc<LocalEntry>]>; 3],
}

impl LocalState {
    pub(crate) fn new(bus: WorkerEvents, mailbox: &Arc<Mailbox>) -> Rc<Self> {
        let inner = Rc::new(Self {
            hub: Arc::clone(bus.hub()),
            bus,
            mailbox: Arc::clone(mailbox),
            handlers: RefCell::new(Vec::new()),
            routes: RefCell::new(HashMap::new()),
            last_route: RefCell::new(None),
            in_hand: RefCell::new(VecDeque::new()),
            on_gap: RefCell::new(Vec::new()),
            running: Cell::new(false),
            turns: Cell::new(0),
            sample_at: Cell::new(0),
            left: Cell::new(false),
        });

        let taken: Weak<Self> = Rc::downgrade(&inner);
        places::take(inner.hub.id(), mailbox.index(), taken);
        inner.hub.signal(Lifecycle::WorkerAttached(mailbox.index()));
        inner
    }

    pub(crate) fn bus(&self) -> &WorkerEvents {
        &self.bus
    }

    pub(crate) fn index(&self) -> usize {
        self.mailbox.index()
    }

    /// Returns how many events the mailbox can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.hub.settings().mailbox_capacity
    }

    pub(crate) fn has_mail(&self) -> bool {
        self.mailbox.has_mail()
    }

    /// Reports to a shutdown that this worker may have become idle. If the shutdown begins just
    /// now, the worker's task finds its mailbox closed and reports again.
    pub(crate) fn work_ended(&self) {
        self.hub.work().ended();
    }

    /// Reports the same for a thread that may not call again.
    pub(crate) fn turn_ended(&self) {
        self.hub.work().ended_unlocked();
    }

    pub(crate) fn on_gap(&self, handler: GapHandler) {
        self.on_gap.borrow_mut().push(handler);
    }

    pub(crate) fn add(&self, patterns: &[Pattern], entry: &Rc<LocalEntry>) {
        let info = Arc::clone(&entry.info);
        for pattern in patterns {
            self.handlers.borrow_mut().push(Handler {
                pattern: pattern.clone(),
                entry: Rc::clone(entry),
            });
        }

        drop(self.forget_routes());
        self.hub.registry().describe(info, Some(self.index()));
        for pattern in patterns {
            let bus = self.bus.bus();
            bus.change_interest(pattern, self.index(), Change::Listens);
        }
    }

    pub(crate) fn remove(&self, serial: u64) {
        let removed: Vec<_> = self
            .handlers
            .borrow_mut()
            .extract_if(.., |handler| handler.entry.info.serial == serial)
            .collect();
        let stale = self.forget_routes();
        self.forget(&removed);

        // Last, with nothing borrowed: what a closure has captured may call back when it is
        // dropped.
        drop_each(stale, removed);
    }

    /// Takes the routes away, to be dropped where nothing is borrowed.
    fn forget_routes(&self) -> Vec<Rc<LocalRoute>> {
        let all = mem::take(&mut *self.routes.borrow_mut());
        let last = self.last_route.borrow_mut().take();
        let last = last.map(|(_, route)| route);
        all.into_values().chain(last).collect()
    }

    fn forget(&self, removed: &[Handler]) {
        for handler in removed {
            handler.entry.end();
            self.hub.registry().forget(handler.entry.info.serial);
            let bus = self.bus.bus();
            bus.change_interest(&handler.pattern, self.index(), Change::Stops);
        }
    }

    /// Claims the right to run the mailbox, unless another call has it.
    pub(crate) fn claim(&self) -> Option<Running<'_>> {
        (!self.running.replace(true)).then(|| Running(self))
    }

    /// Waits for mail: ready with true when there is some in hand, with false when none can come
    /// any more.
    pub(crate) fn poll_mail(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut in_hand = self.in_hand.borrow_mut();
        if in_hand.is_empty() {
            self.mailbox.poll_batch(context, &mut in_hand)
        } else {
            Poll::Ready(true)
        }
    }

    /// Returns whether there is mail in hand now, without going to sleep for it.
    pub(crate) fn take_mail(&self) -> bool {
        let mut in_hand = self.in_hand.borrow_mut();
        !in_hand.is_empty() || self.mailbox.take(&mut in_hand)
    }

    pub(crate) fn next_mail(&self) -> Option<Mail> {
        self.in_hand.borrow_mut().pop_front()
    }

    /// Runs the handlers; returns whether it was an event (and no gap).
    pub(crate) fn handle(&self, mail: Mail) -> bool {
        match mail {
            Mail::Event(event) => {
                Frame::with(|frame| {
                    self.run_handlers(frame, &*event);
                    self.mailbox.finished(&*event);
                    drop(event);
                    frame.run_deferred();
                });
                true
            }
            Mail::Gap { channel, missed } => {
                self.report_gap(channel, missed);
                false
            }
        }
    }

    fn run_handlers(&self, frame: &Frame, event: &dyn Posted) {
        let info = event.info();
        let meta = event.meta();
        let route = self.route(info);
        let timing = self.count_turn();
        let spans = spans_are_on();
        let handlers = || {
            frame.run(info.id, meta.trail(), || {
                let record = frame.record();
                record.begin();

                let mut stopwatch = timing.is_on().then(Stopwatch::start);
                for entry in route.of(meta.operation) {
                    let Some(serial) = entry.live() else { continue };
                    record.runs(serial);
                    if spans {
                        inside(&handler_span(&entry.info, info), || call(entry, event));
                    } else {
                        call(entry, event);
                    }

                    if let Some(stopwatch) = &mut stopwatch {
                        entry.info.took(stopwatch.lap());
                    }
                }

                record.end();
            });
        };
        inside(meta.span(), || under(meta.cause(), handlers));

        // A handler may have removed itself: then this is its last reference.
        discard("a handler's capture", route);
    }

    /// Counts a turn; returns whether its handlers are timed.
    fn count_turn(&self) -> Timing {
        let turn = self.turns.get();
        self.turns.set(turn + 1);
        if turn != self.sample_at.get() {
            return Timing::Off;
        }
        self.sample_at.set(next_sample(turn));
        Timing::On
    }

    fn route(&self, info: &ChannelInfo) -> Rc<LocalRoute> {
        // Events of one channel come in runs: the last route is asked before the table.
        if let Some((index, route)) = &*self.last_route.borrow()
            && *index == info.id
        {
            return Rc::clone(route);
        }
        let route = self.find_route(info);
        *self.last_route.borrow_mut() = Some((info.id, Rc::clone(&route)));
        route
    }

    fn find_route(&self, info: &ChannelInfo) -> Rc<LocalRoute> {
        if let Some(route) = self.routes.borrow().get(&info.id) {
            return Rc::clone(route);
        }
        let route = Rc::new(self.make_route(info));
        self.routes.borrow_mut().insert(info.id, Rc::clone(&route));
        route
    }

    fn make_route(&self, info: &ChannelInfo) -> LocalRoute {
        let handlers = self.handlers.borrow();
        let mut covering: Vec<_> = handlers
            .iter()
            .filter(|handler| handler.pattern.covers(&info.source, &info.event))
            .collect();
        covering.sort_by_key(|handler| (handler.pattern.level(), handler.entry.info.serial));

        let of = |operation: Option<Operation>| {
            covering
                .iter()
                .filter(|handler| handler.pattern.operation() == operation)
                .map(|handler| Rc::clone(&handler.entry))
                .collect()
        };

        LocalRoute {
            wide: of(None),
            narrow: Operation::ALL.map(|operation| of(Some(operation))),
        }
    }

    fn report_gap(&self, channel: u32, missed: u64) {
        let (source, event) = info::name_of(channel);
        let gap = Gap {
            source,
            event,
            missed,
        };
        quietly(|| {
            tracing::warn!(
                source = &*gap.source,
                event = &*gap.event,
                worker = self.index(),
                missed,
                "a worker's mailbox was full"
            );
        });

        let handlers = self.on_gap.borrow().clone();
        for handler in handlers {
            isolated("a gap handler", || handler(&gap));
        }
    }

    /// Gives the place up: the mailbox closes, what was not handled is counted or passed on, and
    /// the handlers go.
    fn give_up(&self) {
        // The end of the thread and that of the last handle both come here.
        if self.left.replace(true) {
            return;
        }
        let in_hand = mem::take(&mut *self.in_hand.borrow_mut());
        self.hub.signal(Lifecycle::WorkerLeft(self.index()));

        for event in self.mailbox.vacate(in_hand) {
            // Another worker takes a unique event over. Any other is missed, and its completion
            // says so to the callers that wait.
            let unique = event.meta().unique().is_some();
            if unique {
                Arc::clone(&event).reassign();
            }

            if let Some(completion) = event.meta().completion() {
                if !unique {
                    completion.missed_by_one();
                }
                completion.worker_done(self.index());
            }
        }

        let handlers = mem::take(&mut *self.handlers.borrow_mut());
        let routes = self.forget_routes();
        let on_gap = mem::take(&mut *self.on_gap.borrow_mut());
        self.forget(&handlers);
        self.work_ended();
        drop_each(routes, handlers);

        for handler in on_gap {
            discard("a gap handler's capture", handler);
        }
    }
}

/// Drops handlers with nothing borrowed. What they captured may panic, and this may be the end of
/// the thread, where a panic would end the process: so each is dropped by itself.
fn drop_each(routes: Vec<Rc<LocalRoute>>, handlers: Vec<Handler>) {
    drop(routes); // not the last references: the handlers are those
    for handler in handlers {
        discard("a handler's capture", handler);
    }
}

impl Leave for LocalState {
    fn leave(&self) {
        self.give_up();
    }
}

impl Drop for LocalState {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Calls one handler, isolated.
fn call(entry: &LocalEntry, event: &dyn Posted) {
    match panic::catch_unwind(AssertUnwindSafe(|| (entry.call)(event))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => failed(&entry.info, event.info(), error),
        Err(panic) => panicked(&entry.info, event.info(), panic),
    }
}

impl LocalRoute {
    fn of(&self, operation: Option<Operation>) -> impl Iterator<Item = &Rc<LocalEntry>> {
        let narrow = match operation {
            None => None,
            Some(Operation::Create) => Some(&self.narrow[0]),
            Some(Operation::Update) => Some(&self.narrow[1]),
            Some(Operation::Delete) => Some(&self.narrow[2]),
        };
        self.wide.iter().chain(narrow.into_iter().flatten())
    }
}

/// Returns the right to run the mailbox when dropped.
pub(crate) struct Running<'a>(&'a LocalState);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
    }
}
