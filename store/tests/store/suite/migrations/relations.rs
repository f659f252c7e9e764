//! References and indexes.

use tidings_core::Entity as _;
use tidings_store::{Error, Migrations, Store, WriteOptions};

use super::{
    Consumer, Credential, Fixture, attached, filled, leak, migrations, optional, row, stored_place,
    tenants,
};

#[tokio::test]
async fn references_that_act_by_themselves_are_replaced_and_cascades_work() {
    let place = stored_place().await;
    let migrations = || {
        Migrations::of(&place.url)
            .entity::<Consumer>()
            .entity::<Credential>()
    };
    migrations().apply().await.unwrap();
    let acting = migrations().step_before("a table of another program's", |sql| async move {
        let uuid = if sql.engine() == "sqlite" { "text" } else { "uuid" };
        let tags = if sql.engine() == "sqlite" { "text" } else { "jsonb" };
        let text = if sql.engine() == "sqlite" { "text" } else { "text COLLATE \"C\"" };
        sql.run(&format!(
            "DROP TABLE keyauth_credentials; CREATE TABLE keyauth_credentials (id {uuid} PRIMARY KEY, \
             created_at bigint NOT NULL, consumer {uuid} NOT NULL REFERENCES consumers ON DELETE CASCADE, \
             key {text}, tags {tags}); \
             INSERT INTO consumers (id, username, created_at, updated_at) \
               VALUES ('00000000-0000-4000-8000-000000000001', 'bob', 1, 1); \
             INSERT INTO keyauth_credentials (id, created_at, consumer, key) \
               SELECT '00000000-0000-4000-8000-000000000002', 1, id, 'k' FROM consumers"
        ))
        .await?;
        Ok(())
    });
    acting.apply().await.unwrap();

    let schemas = [Consumer::schema(), Credential::schema()];
    let store = Store::open(&place.url).await.unwrap();
    let fixture = Fixture::attach(store, &schemas).await.unwrap();
    let bob = fixture.dao::<Consumer>().select_by("username", "bob").await;
    let bob = bob.unwrap().unwrap();
    fixture.dao::<Consumer>().delete(bob.id).await.unwrap();
    let received = fixture.sink.take_one();
    assert_eq!(
        received.changes.len(),
        2,
        "the credential is told of: {received:?}"
    );
    fixture.store.close().await.unwrap();
}

/// An index with a name of ours that is not unique, is on other columns or covers only some rows.
#[tokio::test]
async fn an_index_that_has_the_name_alone_is_made_again() {
    let place = stored_place().await;
    let schema = leak(tenants().field(optional("host").unique()));
    filled(&place, schema, &[row([1.into(), "a".into()])]).await;
    for (name, index) in [
        (
            "not unique",
            "INDEX \"unique:tenants(host)\" ON tenants (host)",
        ),
        (
            "elsewhere",
            "UNIQUE INDEX \"unique:tenants(host)\" ON tenants (id)",
        ),
        (
            "wider",
            "UNIQUE INDEX \"unique:tenants(host)\" ON tenants (host, id)",
        ),
        (
            "partial",
            "UNIQUE INDEX \"unique:tenants(host)\" ON tenants (host) WHERE id > 9",
        ),
        (
            "expression",
            "UNIQUE INDEX \"unique:tenants(host)\" ON tenants (host, lower(host))",
        ),
    ] {
        let swapping = migrations(&place, schema).step_before(name, move |sql| async move {
            sql.run("DROP INDEX \"unique:tenants(host)\"").await?;
            sql.run(&format!("CREATE {index}")).await?;
            Ok(())
        });
        let plan = swapping.apply().await.unwrap().plan.to_string();
        let made = "CREATE UNIQUE INDEX \"unique:tenants(host)\" ON \"tenants\" (\"host\");";
        assert!(plan.contains(made), "{name}: {plan}");
        let left = migrations(&place, schema).plan().await.unwrap();
        assert!(left.is_empty(), "{name}: {left}");
    }
    let fixture = attached(&place, schema).await.unwrap();
    let table = fixture.store.table("tenants").unwrap();
    let twice = row([2.into(), "a".into()]);
    let refused = table.insert(twice, WriteOptions::default()).await;
    assert!(matches!(refused, Err(Error::Unique { .. })), "{refused:?}");
    fixture.store.close().await.unwrap();
}
