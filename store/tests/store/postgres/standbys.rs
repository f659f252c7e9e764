//! A name that leads to a standby, and then to a primary again.

use tidings_store::{Error, Store};
use tidings_testkit::{Link, Proxy, Server};

use super::support::{Fixture, schemas};
use crate::entities::{Consumer, consumer};

// CL12
#[tokio::test]
async fn a_store_whose_server_became_a_standby_says_so_until_there_is_a_primary() {
    let primary = Server::start();
    let database = primary.database().await;
    let proxy = Proxy::to(&database).await;
    let store = Store::open(&proxy.url(&database)).await.unwrap();
    let fixture = Fixture::attach(store, &schemas()).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();

    let standby = primary.standby();
    proxy.lead_to(&standby.existing(database.name()));
    proxy.set(Link::Refusing);
    drop(primary);
    proxy.set(Link::Open);
    let read = consumers.select(bob.id).await.err();
    let written = consumers.insert(consumer("eve")).await.err();
    for refused in [read, written] {
        let told =
            matches!(&refused, Some(Error::Unfit { reason, .. }) if reason.contains("standby"));
        assert!(told, "{refused:?}");
    }

    standby.promote();
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));
    consumers.insert(consumer("eve")).await.unwrap();
}
