//! Two services without a Tidings store share their invalidations over a stream. Each caches values
//! from a backing store that Tidings does not know, and invalidates them on all services when it
//! changes one.
//!
//! Run: `cargo run --example shared_invalidations` uses a stream in memory.
//! `REDIS_URL=redis://127.0.0.1:6379 cargo run --example shared_invalidations` uses a Redis stream,
//! and `NATS_URL=nats://127.0.0.1:4222` uses NATS JetStream.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings::{BoxError, CacheKey, GetOptions, Loaded, Node, NodeBuilder};
use tidings_streams::{JetStream, Redis, kit::Memory};

const DEADLINE: Duration = Duration::from_secs(10);

/// Stands in for a database, or for another service.
#[derive(Clone, Default)]
struct Prices(Arc<Mutex<HashMap<&'static str, u64>>>);

impl Prices {
    fn set(&self, product: &'static str, cents: u64) {
        let mut prices = self.0.lock().expect("no one panics with it");
        prices.insert(product, cents);
    }

    async fn read(self, product: &'static str) -> Result<Loaded<u64>, BoxError> {
        let prices = self.0.lock().expect("no one panics with it");
        let price = prices.get(product).copied();
        Ok(Loaded::from(price).tag("prices"))
    }
}

/// A service that answers from its cache.
struct Service {
    node: Node,
    prices: Prices,
}

impl Service {
    async fn start(stream: NodeBuilder, name: &str, prices: &Prices) -> Result<Self, BoxError> {
        let node = stream
            .node_id(name)
            .cluster_channel::<String>("shop", "sale")
            .start()
            .await?;
        let of = name.to_owned();
        let hear = move |sale: &String| println!("{of} hears of a sale: {sale}");
        node.worker_events().register(hear, "shop", "sale")?.keep();

        let prices = prices.clone();
        Ok(Self { node, prices })
    }

    async fn price(&self, product: &'static str) -> Result<Option<u64>, BoxError> {
        let key = CacheKey::new("prices", &[product]);
        let prices = self.prices.clone();
        let load = move || prices.read(product);
        let price = self
            .node
            .cache()
            .get::<u64, _>(&key, GetOptions::default(), load)
            .await?;
        Ok(price.map(|cents| *cents))
    }

    /// Changes a price, and returns once no service answers with the old one.
    async fn change(&self, product: &'static str, cents: u64) -> Result<(), BoxError> {
        self.prices.set(product, cents);
        let key = CacheKey::new("prices", &[product]);
        let receipt = self.node.cache().invalidate(&key);
        receipt.confirmed(DEADLINE).await?;
        Ok(())
    }
}

/// Runs both services, each over its own handle of the stream.
pub(crate) async fn run(
    stream: impl Fn() -> Result<NodeBuilder, BoxError>,
) -> Result<(), BoxError> {
    let prices = Prices::default();
    prices.set("tea", 350);
    let back_office = Service::start(stream()?, "back-office", &prices).await?;
    let shop = Service::start(stream()?, "shop", &prices).await?;

    println!("the shop's tea: {:?}", shop.price("tea").await?);
    back_office.change("tea", 400).await?;
    let after = shop.price("tea").await?;
    println!("once it was changed in the back office: {after:?}");
    assert_eq!(after, Some(400));

    // All values that carry a tag, and an event for the handlers of both services.
    prices.set("tea", 300);
    let receipt = back_office.node.cache().invalidate_tag("prices");
    receipt.confirmed(DEADLINE).await?;
    assert_eq!(shop.price("tea").await?, Some(300));
    let sale = back_office.node.cluster_channel::<String>("shop", "sale")?;
    sale.post(&"tea".to_owned()).await?;

    for service in [back_office, shop] {
        let report = service.node.shutdown(DEADLINE).await;
        assert!(report.is_clean(), "{report:?}");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let url = |variable| std::env::var(variable).ok();
    match (url("REDIS_URL"), url("NATS_URL")) {
        (Some(url), _) => run(|| Ok(Node::builder().stream(Redis::new(&url, "example")?))).await,
        (None, Some(url)) => {
            run(|| Ok(Node::builder().stream(JetStream::new(&url, "example")?))).await
        }
        (None, None) => {
            let server = Memory::new();
            run(|| Ok(Node::builder().stream(server.stream()))).await
        }
    }
}
