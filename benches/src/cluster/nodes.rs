//! Nodes of one cluster in this process.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidings::{
    CacheKey, CachedRows as _, CrudEvent, Dao, Entity, Node, NodeBuilder, Store, store::Sharing,
};
use tokio::sync::mpsc;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Entity, Clone, Debug, Serialize, Deserialize)]
#[entity(name = "flags", cache_key("name"))]
pub(super) struct Flag {
    #[entity(primary_key)]
    pub(super) id: i64,
    #[entity(unique)]
    pub(super) name: String,
    pub(super) count: i64,
}

impl Flag {
    pub(super) fn numbered(id: i64) -> Self {
        Self {
            id,
            name: format!("flag-{id}"),
            count: 0,
        }
    }
}

pub(super) fn file_url(directory: &Path) -> String {
    format!("sqlite://{}/bench.db", directory.display())
}

/// The nodes. The first one writes, and a handler on the second one notes when it ran.
pub(super) struct Members {
    nodes: Vec<Node>,
    flags: Dao<Flag>,
    hears: mpsc::UnboundedReceiver<Instant>,
}

impl Members {
    /// Starts this many nodes on one database.
    pub(super) async fn on(
        url: &str,
        count: usize,
        wake: impl Fn(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let mut nodes = Vec::new();
        for number in 0..count {
            let store = Store::options(url).sharing(Sharing::Cluster).open().await;
            let node = Node::builder()
                .store(store.expect("the database opens"))
                .node_id(format!("n{number}"))
                .entity::<Flag>();
            nodes.push(wake(node).start().await.expect("a node"));
        }
        let (tell, hears) = mpsc::unbounded_channel();
        let heard = move |_: &CrudEvent<Flag>| {
            let _over = tell.send(Instant::now());
        };
        let registered = nodes[1].worker_events().register(heard, "crud", "flags");
        registered.expect("declared").keep();

        let flags = nodes[0].dao::<Flag>().expect("declared");
        flags.insert(Flag::numbered(0)).await.expect("an insert");
        let mut members = Self {
            nodes,
            flags,
            hears,
        };
        members.hears(1).await;
        members
    }

    pub(super) fn flags(&self) -> &Dao<Flag> {
        &self.flags
    }

    /// Forgets the runs of the second node's handler so far.
    pub(super) fn forget(&mut self) {
        while self.hears.try_recv().is_ok() {}
    }

    /// Waits until the second node's handler has run this many times.
    pub(super) async fn hears(&mut self, times: usize) {
        for _ in 0..times {
            let heard = tokio::time::timeout(PATIENCE, self.hears.recv()).await;
            heard.expect("it is heard").expect("the node lives");
        }
    }

    /// Writes, and returns how many nanoseconds passed from the acknowledgement until the second
    /// node's handler ran; 0 if that was earlier.
    pub(super) async fn trip(&mut self) -> f64 {
        let written = self.flags.update(0, |flag| flag.count += 1).await;
        let acknowledged = Instant::now();
        written.expect("an update");
        let heard = tokio::time::timeout(PATIENCE, self.hears.recv()).await;
        let heard = heard.expect("it is heard").expect("the node lives");
        heard.saturating_duration_since(acknowledged).as_nanos() as f64
    }

    /// Writes a row that the second node has cached, and returns how many nanoseconds passed from
    /// the acknowledgement until that node had evicted it; 0 if that was earlier. No handler waits
    /// for it.
    pub(super) async fn evicted(&self) -> f64 {
        let other = &self.nodes[1];
        let flags = other.dao::<Flag>().expect("declared");
        let flags = flags.cached().expect("lookups");
        let loaded = flags.select_by("name", "flag-0").await;
        loaded.expect("an answer").expect("a flag");

        let key = CacheKey::new(Flag::NAME, &["flag-0"]);
        let is_kept = || {
            other
                .cache()
                .cached::<Flag>(&key)
                .expect("a flag")
                .is_some()
        };
        assert!(is_kept(), "it is cached");
        let written = self.flags.update(0, |flag| flag.count += 1).await;
        let acknowledged = Instant::now();
        written.expect("an update");
        while is_kept() {
            assert!(acknowledged.elapsed() < PATIENCE, "it is evicted");
            tokio::task::yield_now().await;
        }
        acknowledged.elapsed().as_nanos() as f64
    }

    /// Writes, and returns how many nanoseconds passed from the acknowledgement until all nodes
    /// had confirmed.
    pub(super) async fn confirmed(&self) -> f64 {
        let update = self.flags.update(0, |flag| flag.count += 1);
        let (written, receipt) = self.nodes[0].with_receipt(update).await;
        let acknowledged = Instant::now();
        written.expect("an update");
        receipt.confirmed(PATIENCE).await.expect("all confirm");
        acknowledged.elapsed().as_nanos() as f64
    }

    pub(super) async fn close(self) {
        join_all(self.nodes.iter().map(|node| node.shutdown(PATIENCE))).await;
    }
}
