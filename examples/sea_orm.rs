//! SeaORM writes rows, and the cache of every node stays coherent with them.
//!
//! One struct is the model of both. SeaORM reads and writes its rows; Tidings makes its cache keys
//! and its events. Neither of them created the table.
//!
//! Run: `cargo run --example sea_orm`

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, Database,
    DatabaseConnection, EntityTrait as _, QueryFilter as _, TransactionTrait as _,
};
use tidings::{BoxError, CacheKey, CrudEvent, GetOptions, Node, Store, store::Logging};
use tokio::sync::mpsc;

mod post {
    use sea_orm::entity::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(
        Clone, Debug, PartialEq, DeriveEntityModel, Serialize, Deserialize, tidings::Entity,
    )]
    #[sea_orm(table_name = "posts")]
    #[entity(name = "posts", cache_key("slug"))]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        #[entity(primary_key)]
        pub(crate) id: i64,
        #[sea_orm(unique)]
        #[entity(unique)]
        pub(crate) slug: String,
        pub(crate) title: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

async fn title(
    node: &Node,
    database: &DatabaseConnection,
    slug: &str,
) -> Result<Option<String>, BoxError> {
    let key = CacheKey::new("posts", &[slug]);
    // Owned, because the load may outlive this caller, for others that wait for it.
    let database = database.clone();
    let of_slug = post::Entity::find().filter(post::Column::Slug.eq(slug));
    let load = move || async move { of_slug.one(&database).await };
    let found = node.cache().get(&key, GetOptions::default(), load).await?;
    Ok(found.map(|post| post.title.clone()))
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    let url = format!("sqlite://{}/blog.db", directory.path().display());
    let database = Database::connect(format!("{url}?mode=rwc")).await?;
    let table = "create table posts (id integer primary key, slug text not null unique, title text not null)";
    database.execute_unprepared(table).await?;

    let node = Node::builder()
        .store(Store::options(&url).logging(Logging::On).open().await?)
        .entity::<post::Model>()
        .start()
        .await?;
    let (changes, mut heard) = mpsc::unbounded_channel();
    let post_changed = move |change: &CrudEvent<post::Model>| {
        let old = change.old_entity.as_ref().map(|post| post.title.as_str());
        let _ = changes.send(format!(
            "{} {old:?} {}",
            change.operation, change.entity.title
        ));
    };
    let events = node.worker_events();
    events.register(post_changed, "crud", "posts")?.keep();

    // The absence is cached, and the insert evicts it.
    assert_eq!(title(&node, &database, "tea").await?, None);

    let post = post::ActiveModel {
        slug: Set("tea".to_owned()),
        title: Set("On tea".to_owned()),
        ..Default::default()
    };
    let post = post.insert(&database).await?;

    assert_eq!(heard.recv().await.as_deref(), Some("create None On tea"));
    assert_eq!(
        title(&node, &database, "tea").await?.as_deref(),
        Some("On tea")
    );

    // Handlers do not run for a transaction that is rolled back. They run for one that commits,
    // with the predecessor.
    let renamed = |title: &str| {
        let mut post = post::ActiveModel::from(post.clone());
        post.title = Set(title.to_owned());
        post
    };
    let transaction = database.begin().await?;
    renamed("Never").update(&transaction).await?;
    transaction.rollback().await?;

    let transaction = database.begin().await?;
    renamed("On green tea").update(&transaction).await?;
    transaction.commit().await?;

    assert_eq!(
        heard.recv().await.as_deref(),
        Some("update Some(\"On tea\") On green tea")
    );
    assert_eq!(
        title(&node, &database, "tea").await?.as_deref(),
        Some("On green tea")
    );
    println!("what SeaORM wrote was evicted and heard");

    let _ = node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
