// Code that the examples of data access objects share: an entity, and its rows in an in-memory
// database.

#[derive(tidings_core::Entity, Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[entity(name = "consumers", cache_key("username"))]
struct Consumer {
    #[entity(primary_key, auto)]
    id: uuid::Uuid,
    #[entity(unique)]
    username: String,
    plan: Option<String>,
}

impl Consumer {
    /// Makes a row that is not stored yet; the insert generates its id.
    fn named(username: &str) -> Self {
        Self { id: uuid::Uuid::nil(), username: username.to_owned(), plan: None }
    }
}

/// A sink that ignores every commit. A node passes commits to its cache and its bus here.
struct Quiet;

impl tidings_store::ChangeSink for Quiet {
    fn committed(
        &self,
        _: tidings_store::ChangeSet,
    ) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn in_doubt(&self, _: &tidings_store::ChangeSet) {}
}

/// Returns access to the rows of a table that is created for the example.
async fn consumers() -> Result<tidings_store::Dao<Consumer>, tidings_store::Error> {
    let store = tidings_store::Store::open("sqlite::memory:").await?;
    let attachment = tidings_store::Attachment {
        schemas: vec![<Consumer as tidings_core::Entity>::schema()],
        sink: std::sync::Arc::new(Quiet),
        clock: std::sync::Arc::new(tidings_core::clock::SystemClock::new()),
        runtime: tokio::runtime::Handle::current(),
    };
    store.attach(attachment).await?;
    store.dao()
}
