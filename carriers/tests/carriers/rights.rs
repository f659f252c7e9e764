//! Carriers whose user lacks rights.

use std::sync::Arc;

use futures_util::future::join_all;
use tidings_carriers::{Nats, Redis};
use tidings_core::{
    Chain,
    log::{Wake, WakeCarrier},
};
use tidings_testkit::{Broker, Protocol};

use crate::BOTH;

/// Users of NATS: one with all rights, one that may not subscribe, one that may not publish.
const NATS: &str = r#"
authorization {
  users = [
    { user: well, password: well, permissions: { publish: ">", subscribe: ">" } }
    { user: deaf, password: deaf, permissions: { publish: ">", subscribe: "_INBOX.>" } }
    { user: mute, password: mute, permissions: { publish: "_INBOX.>", subscribe: ">" } }
  ]
}
"#;

/// The same for Redis.
const REDIS: &str = "
user well on >well allchannels +@all
user deaf on >deaf allchannels +@all -subscribe
user mute on >mute allchannels +@all -publish
";

fn carrier(broker: &Broker, protocol: Protocol, user: &str) -> Arc<dyn WakeCarrier> {
    let address = broker.url_of(user);
    match protocol {
        Protocol::Nats => Arc::new(Nats::new(&address, "shop").expect("an address")),
        Protocol::Redis => Arc::new(Redis::new(&address, "shop").expect("an address")),
    }
}

#[tokio::test]
async fn a_user_without_the_rights_that_it_needs_is_not_told_that_it_listens() {
    let cases = BOTH.map(async |protocol| {
        let users = match protocol {
            Protocol::Nats => NATS,
            Protocol::Redis => REDIS,
        };
        let broker = Broker::start_for(protocol, users);
        let well = carrier(&broker, protocol, "well");
        let mut wakes = well.listen().await.expect("it may do all");

        let refused = ["deaf", "mute"].map(async |user| {
            let carrier = carrier(&broker, protocol, user);
            let refused = carrier.listen().await.expect_err(user);
            Chain(&refused).to_string()
        });
        for error in join_all(refused).await {
            let is_told = match protocol {
                Protocol::Nats => error.contains("the right to publish and to subscribe there"),
                Protocol::Redis => error.contains("NOPERM") || error.contains("no permissions"),
            };
            assert!(is_told, "{protocol:?}: {error}");
        }

        // A wake-up of a user with the rights.
        let other = carrier(&broker, protocol, "well");
        other.wake(Wake::Look);
        while wakes.next().await.expect("a wake-up") != Wake::Look {}
    });
    join_all(cases).await;
}
