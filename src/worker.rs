//! [`Worker`]: one thread with its own event loop, its own L1 and its own handlers.
//!
//! A worker starts in this order: runtime, L1, mailbox, then the `init_worker` hooks. The node has
//! started only when the hooks of every worker have returned. So no event is posted to a worker
//! that has not registered its handlers yet.
//!
//! When the node stops a worker, the worker waits for the tasks spawned on it, which should watch
//! [`Worker::stopping`]. When the node stops waiting, the worker drops the unfinished tasks.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

use futures_util::future::{join_all, select};
use tidings_cache::Cache;
use tidings_core::{
    BoxError, Entity,
    log::{Gap, GapReason},
    panic_text,
};
use tidings_events::{CRUD, LocalWorkerEvents, RegisterError};
use tidings_store::Dao;
use tokio::{
    runtime,
    sync::oneshot,
    task::{JoinHandle as TaskHandle, LocalSet},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    changes::GAP,
    error::StartError,
    node::{Node, WorkerThread},
};

/// A hook that runs on each worker.
pub(crate) type InitWorker = dyn Fn(&Worker) -> Result<(), BoxError> + Send + Sync;

/// How often a worker sweeps values that are no longer valid out of its L1, so that a revoked
/// secret does not linger in the memory of an idle worker.
const SWEEP: Duration = Duration::from_secs(1);
/// How long the workers that did start may take to stop when another one did not.
const FAILED_START: Duration = Duration::from_secs(5);

/// One worker, seen from its own thread. Clones are handles of the same worker.
#[derive(Clone)]
pub struct Worker {
    shared: Rc<Local>,
}

struct Local {
    id: usize,
    node: Node,
    events: LocalWorkerEvents,
    tasks: TaskTracker,
}

impl Worker {
    /// Returns the index of this worker, counted from zero.
    #[must_use]
    pub fn id(&self) -> usize {
        self.shared.id
    }

    /// Returns the node. This handle does not keep the node running.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// Returns the node's cache; a `get` on this thread looks in this worker's L1 first.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        self.shared.node.cache()
    }

    /// Returns this worker's side of the bus. Handlers registered here run on this thread and need
    /// not be `Send`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder()
    ///     .store(store)
    ///     .workers(2)
    ///     .init_worker(|worker| {
    ///         let own = Rc::new(worker.id()); // a handler need not be `Send`
    ///         let events = worker.node().worker_events();
    ///         events.declare::<u64>("test", "numbers")?;
    ///         let print = move |number: &u64| println!("worker {own}: {number}");
    ///         worker.worker_events().register(print, "test", "numbers")?.keep();
    ///         Ok(())
    ///     })
    ///     .start()
    ///     .await?;
    /// node.worker_events().post("test", "numbers", 7_u64)?;
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn worker_events(&self) -> &LocalWorkerEvents {
        &self.shared.events
    }

    /// Registers a handler for changes and events that were not received; see
    /// [`NodeBuilder::on_gap`](crate::NodeBuilder::on_gap). It runs on this thread, in the order of
    /// the worker's other events. It also receives the gaps of this worker alone: events that it
    /// missed because its mailbox was full, with the reason
    /// [`Overflow`](crate::core::log::GapReason::Overflow).
    ///
    /// # Errors
    ///
    /// The bus was shut down.
    pub fn on_gap(&self, handler: impl Fn(&Gap) + 'static) -> Result<(), RegisterError> {
        let handler = Rc::new(handler);
        let own = Rc::clone(&handler);
        let events = &self.shared.events;
        events
            .register(move |gap: &Gap| handler(gap), GAP.0, GAP.1)?
            .keep();
        events.on_gap(move |missed| own(&overflow(missed)));
        Ok(())
    }

    /// Returns access to the rows of an entity.
    ///
    /// # Errors
    ///
    /// The entity was not declared.
    pub fn dao<E: Entity>(&self) -> Result<Dao<E>, tidings_store::Error> {
        self.shared.node.dao()
    }

    /// Runs a future on this worker. It need not be `Send`.
    ///
    /// A shutdown waits for the future until its deadline. A future that does not end by itself
    /// should watch [`stopping`](Self::stopping).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use tidings::{Node, Store};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder()
    ///     .store(store)
    ///     .init_worker(|worker| {
    ///         let (own, stopping) = (Rc::new("this thread's own"), worker.stopping());
    ///         worker.spawn_local(async move {
    ///             stopping.await;
    ///             println!("{own}: done");
    ///         });
    ///         Ok(())
    ///     })
    ///     .start()
    ///     .await?;
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn spawn_local<F>(&self, future: F) -> TaskHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.shared.tasks.spawn_local(future)
    }

    /// Resolves when the node is stopping.
    pub fn stopping(&self) -> impl Future<Output = ()> + 'static {
        self.shared.node.shared().stop.clone().cancelled_owned()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Turns the gap of a full mailbox into one of the log.
fn overflow(missed: &tidings_events::Gap) -> Gap {
    match &*missed.source {
        CRUD => Gap::of_entity(GapReason::Overflow, Arc::clone(&missed.event)),
        _ => Gap::of_all(GapReason::Overflow),
    }
}

/// Starts every worker and waits until the hooks of each have run; on a failure stops those that
/// did start.
pub(crate) async fn start_all(node: &Node, hooks: &[Arc<InitWorker>]) -> Result<(), StartError> {
    let mut starting = Vec::new();
    let mut failed = None;
    for id in 0..node.workers() {
        match start(node, id, hooks.to_vec()) {
            Ok(started) => starting.push(started),
            Err(error) => {
                failed = Some((id, error));
                break;
            }
        }
    }

    for (id, outcome) in join_all(starting).await.into_iter().enumerate() {
        if let Err(error) = outcome {
            failed.get_or_insert((id, error));
        }
    }

    let Some((worker, source)) = failed else {
        return Ok(());
    };
    node.stop_workers(node.clock().now().plus(FAILED_START))
        .await;
    Err(StartError::Worker { worker, source })
}

/// Starts one worker's thread; the future resolves when its hooks have run.
fn start(
    node: &Node,
    id: usize,
    hooks: Vec<Arc<InitWorker>>,
) -> Result<impl Future<Output = Result<(), BoxError>>, BoxError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (ready, is_ready) = oneshot::channel();
    let (ends, ended) = oneshot::channel();
    let own = node.for_worker();

    let handle = thread::Builder::new()
        .name(format!("tidings-worker-{id}"))
        .spawn(move || {
            let _ends: oneshot::Sender<()> = ends; // dropped when the thread is done, by a panic too
            let tasks = LocalSet::new();
            runtime.block_on(tasks.run_until(run(own, id, hooks, ready)));
            drop(tasks); // what is left of them must not outlive the worker's L1 and handlers
        })?;

    let thread = WorkerThread { id, handle, ended };
    node.shared()
        .threads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(thread);

    Ok(async move {
        is_ready
            .await
            .unwrap_or_else(|_| Err("its thread ended early".into()))
    })
}

/// Runs a worker from its start to its end, on its own thread.
async fn run(
    node: Node,
    id: usize,
    hooks: Vec<Arc<InitWorker>>,
    ready: oneshot::Sender<Result<(), BoxError>>,
) {
    let _l1 = node.cache().attach_thread(format!("worker-{id}"));
    let worker = match init(node.clone(), id, &hooks) {
        Ok(worker) => worker,
        Err(error) => {
            // The receiver is gone only if the start was cancelled, and then no one asks why.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let stop = node.shared().stop.clone();
    let events = worker.worker_events().clone();
    let mailbox = tokio::task::spawn_local(async move { events.run().await });
    let sweep = tokio::task::spawn_local(sweep(node.clone(), stop.clone()));
    let _ = ready.send(Ok(()));

    stop.cancelled().await;
    worker.shared.tasks.close();
    let abandon: &CancellationToken = &node.shared().abandon;
    let finished = pin!(worker.shared.tasks.wait());
    let _ = select(finished, pin!(abandon.cancelled())).await;
    mailbox.abort();
    sweep.abort();
}

fn init(node: Node, id: usize, hooks: &[Arc<InitWorker>]) -> Result<Worker, BoxError> {
    let events = node.worker_events().attach_worker(id)?;
    let cache = node.cache().clone();

    // Which entries the handlers of the lost events would have invalidated by hand is unknown.
    events.on_gap(move |gap| {
        tracing::warn!(
            worker = id,
            ?gap,
            "a worker missed events; the cache is purged"
        );
        cache.purge_local();
    });

    let tasks = TaskTracker::new();
    let shared = Rc::new(Local {
        id,
        node,
        events,
        tasks,
    });
    let worker = Worker { shared };

    for hook in hooks {
        catch_unwind(AssertUnwindSafe(|| hook(&worker)))
            .unwrap_or_else(|panic| Err(panicked(&*panic).into()))?;
    }
    Ok(worker)
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    format!("an init_worker hook panicked: {}", panic_text(panic))
}

async fn sweep(node: Node, stop: CancellationToken) {
    while !stop.is_cancelled() {
        node.clock().sleep(SWEEP).await;
        node.cache().sweep();
    }
}
