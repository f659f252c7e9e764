//! Plain sqlx on tables of your own: every node evicts what it writes and runs its handlers.
//!
//! `articles` is an ordinary table, and triggers record each write to it. A price is not a row: it
//! is computed from two tables, so no trigger sees it. The code that changes a price records the
//! change in the same transaction.
//!
//! Run: `cargo run --example plain_sqlx`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use tidings::{
    BoxError, CacheKey, CrudEvent, Entity, GetOptions, Node, Store,
    store::{Logging, outbox},
};
use tokio::sync::mpsc;

const TABLES: &str = "
    create table articles (id integer primary key, slug text not null unique, title text not null);
    create table products (id integer primary key, name text not null unique, cents integer not null);
    create table discounts (product integer not null references products (id), percent integer not null);
    insert into articles values (1, 'tea', 'On tea');
    insert into products values (7, 'green-tea', 400);
    insert into discounts values (7, 20);
";

#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "articles", cache_key("slug"))]
struct Article {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique)]
    slug: String,
    title: String,
}

/// The price of a product after its discounts.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(name = "prices", cache_key("product"))]
struct Price {
    #[entity(primary_key)]
    id: i64,
    #[entity(unique)]
    product: String,
    cents: i64,
}

impl Price {
    async fn read(
        database: impl sqlx::Executor<'_, Database = sqlx::Sqlite>,
        product: &str,
    ) -> Result<Option<Self>, sqlx::Error> {
        let sql = "select p.id, p.name, p.cents * (100 - coalesce(sum(d.percent), 0)) / 100
                   from products p left join discounts d on d.product = p.id
                   where p.name = ? group by p.id";
        let row: Option<(i64, String, i64)> = sqlx::query_as(sql)
            .bind(product)
            .fetch_optional(database)
            .await?;
        Ok(row.map(|(id, product, cents)| Self { id, product, cents }))
    }
}

/// Ends a discount, and records the change of the price.
async fn end_discount(pool: &SqlitePool, product: &str) -> Result<(), BoxError> {
    // This transaction takes its lock at the start, so that no other program changes the price in
    // between.
    let mut transaction = pool.begin_with("begin immediate").await?;
    let before = Price::read(&mut *transaction, product).await?;
    sqlx::query("delete from discounts where product = (select id from products where name = ?)")
        .bind(product)
        .execute(&mut *transaction)
        .await?;
    let after = Price::read(&mut *transaction, product).await?;

    if let (Some(before), Some(after)) = (before, after) {
        outbox::record(&mut transaction, &CrudEvent::updated(before, after)).await?;
    }
    Ok(transaction.commit().await?)
}

async fn article(node: &Node, pool: &SqlitePool, slug: &str) -> Result<String, BoxError> {
    let key = CacheKey::new(Article::NAME, &[slug]);

    // Owned, because the load may outlive this caller, for others that wait for it.
    let (pool, slug) = (pool.clone(), slug.to_owned());
    let load = move || async move {
        let sql = "select id, slug, title from articles where slug = ?";
        let row: Option<(i64, String, String)> =
            sqlx::query_as(sql).bind(slug).fetch_optional(&pool).await?;
        Ok::<_, sqlx::Error>(row.map(|(id, slug, title)| Article { id, slug, title }))
    };
    let found = node.cache().get(&key, GetOptions::default(), load).await?;
    found
        .map(|article| article.title.clone())
        .ok_or_else(|| "no such article".into())
}

async fn price(node: &Node, pool: &SqlitePool, product: &str) -> Result<i64, BoxError> {
    let key = CacheKey::new(Price::NAME, &[product]);
    let (pool, product) = (pool.clone(), product.to_owned());
    let load = move || async move { Price::read(&pool, &product).await };
    let found = node.cache().get(&key, GetOptions::default(), load).await?;
    found
        .map(|price| price.cents)
        .ok_or_else(|| "no such product".into())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    let url = format!("sqlite://{}/shop.db", directory.path().display());
    let pool = SqlitePool::connect(&format!("{url}?mode=rwc")).await?;
    sqlx::raw_sql(TABLES).execute(&pool).await?;

    let node = Node::builder()
        .store(Store::options(&url).logging(Logging::On).open().await?)
        .entity::<Article>()
        .recorded_entity::<Price>()
        .start()
        .await?;
    let (articles, mut heard) = mpsc::unbounded_channel();
    let prices = articles.clone();
    let article_changed = move |change: &CrudEvent<Article>| {
        let _ = articles.send(format!("{} {}", change.operation, change.entity.title));
    };
    let price_changed = move |change: &CrudEvent<Price>| {
        let before = change.old_entity.as_ref().map(|price| price.cents);
        let _ = prices.send(format!("price {before:?}, {}", change.entity.cents));
    };
    let events = node.worker_events();
    events.register(article_changed, "crud", "articles")?.keep();
    events.register(price_changed, "crud", "prices")?.keep();

    // A write without any code of Tidings: no line of it evicts.
    assert_eq!(article(&node, &pool, "tea").await?, "On tea");
    sqlx::query("update articles set title = 'On green tea' where slug = 'tea'")
        .execute(&pool)
        .await?;
    assert_eq!(heard.recv().await.as_deref(), Some("update On green tea"));
    assert_eq!(article(&node, &pool, "tea").await?, "On green tea");

    // No trigger sees a price, so the code records its change.
    assert_eq!(price(&node, &pool, "green-tea").await?, 320);
    end_discount(&pool, "green-tea").await?;
    assert_eq!(heard.recv().await.as_deref(), Some("price Some(320), 400"));
    assert_eq!(price(&node, &pool, "green-tea").await?, 400);

    assert_eq!(node.cache().stats().loads, 4, "each was read twice");
    println!("two programs' writes, and no line that evicts");
    let _ = node.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
