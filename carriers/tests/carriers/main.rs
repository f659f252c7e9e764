//! Wake-ups over real brokers, alone and between nodes. One binary, so that it links once.

mod floods;
mod keepalives;
mod lies;
mod nodes;
mod returns;
mod rights;
mod silence;
mod wakes;

use std::sync::Arc;

use tidings_carriers::{CarrierError, Nats, Redis};
use tidings_core::log::WakeCarrier;
use tidings_testkit::{Broker, Protocol};

const BOTH: [Protocol; 2] = [Protocol::Nats, Protocol::Redis];

/// A carrier to a broker, for the cluster with a name.
fn carrier(broker: &Broker, protocol: Protocol, name: &str) -> Arc<dyn WakeCarrier> {
    match protocol {
        Protocol::Nats => Arc::new(Nats::new(&broker.url(), name).expect("an address")),
        Protocol::Redis => Arc::new(Redis::new(&broker.url(), name).expect("an address")),
    }
}

#[tokio::test]
async fn what_is_no_address_or_name_is_refused_and_no_password_is_repeated() {
    let nats = |address: &str, name: &str| Nats::new(address, name).expect_err(address);
    let redis = |address: &str, name: &str| Redis::new(address, name).expect_err(address);
    let refused = [
        nats("127.0.0.1:4222", "a"),
        nats("http://user:secret@host", "a"),
        nats("nats://user:secret@", "a"),
        redis("rediss://user:secret@host", "a"),
        redis("redis://user:secret@host:port", "a"),
    ];
    for error in refused {
        let text = format!("{}", tidings_core::Chain(&error));
        assert!(matches!(error, CarrierError::Address { .. }), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let name = nats("nats://127.0.0.1:4222", "a b");
    assert!(matches!(name, CarrierError::Name(_)), "{name}");
}

#[test]
fn a_carrier_outside_a_runtime_is_refused() {
    let nats = Nats::new("nats://127.0.0.1:4222", "a").expect_err("no runtime");
    let redis = Redis::new("redis://127.0.0.1:6379", "a").expect_err("no runtime");
    for error in [nats, redis] {
        assert!(matches!(error, CarrierError::NoRuntime), "{error}");
    }
}

#[tokio::test]
async fn a_password_is_not_shown() {
    let nats = Nats::new("nats://user:secret@127.0.0.1:4222", "a").expect("an address");
    let redis = Redis::new("redis://user:secret@127.0.0.1:6379", "a").expect("an address");
    let shown = format!("{nats:?} {redis:?}");
    assert!(!shown.contains("secret"), "{shown}");
}
