//! NATS connections that are lost and opened again, on a clock that stands still: only the
//! connection itself ends a wait.

use std::{sync::Arc, time::Duration};

use tidings_carriers::Nats;
use tidings_core::{
    clock::ManualClock,
    log::{Wake, WakeCarrier, WakeUps},
};
use tidings_testkit::{Broker, Protocol};
use tokio::time::timeout;

use crate::wakes::listening;

const NEVER: Duration = Duration::from_secs(60);

fn carrier(broker: &Broker) -> Arc<dyn WakeCarrier> {
    let clock = Arc::new(ManualClock::new());
    let carrier = Nats::with_clock(&broker.url(), "shop", clock);
    Arc::new(carrier.expect("an address"))
}

/// Listens, and receives that the connection was made.
async fn settled(carrier: &Arc<dyn WakeCarrier>) -> Box<dyn WakeUps> {
    let mut wakes = listening(carrier).await;
    while let Ok(heard) = timeout(Duration::from_millis(200), wakes.next()).await {
        assert_eq!(heard.expect("the broker is there"), Wake::Look);
    }
    wakes
}

#[tokio::test]
async fn a_listener_hears_that_its_connection_is_lost_and_that_it_was() {
    let mut broker = Broker::start(Protocol::Nats);
    let carrier = carrier(&broker);
    let (mut first, mut second) = (settled(&carrier).await, settled(&carrier).await);

    broker.stop();
    let lost = timeout(NEVER, first.next()).await.expect("it is told");
    lost.expect_err("the connection is away");
    broker.restart();
    let again = settled(&carrier).await;

    // A listener that did not wait while the connection was down has missed the wake-ups of that
    // time.
    let heard = timeout(NEVER, second.next()).await.expect("it is told");
    assert_eq!(heard.expect("it hears again"), Wake::Look);
    drop(again);
}

#[tokio::test]
async fn a_listener_waits_for_a_broker_that_is_not_there_yet() {
    let mut broker = Broker::start(Protocol::Nats);
    broker.stop();
    let carrier = carrier(&broker);
    let waits = timeout(Duration::from_millis(200), carrier.listen()).await;
    assert!(waits.is_err(), "no one answers");
    broker.restart();
    let mut wakes = settled(&carrier).await;

    let other = Nats::new(&broker.url(), "shop").expect("an address");
    let waking = async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            other.wake(Wake::Look);
        }
    };
    tokio::select! {
        heard = timeout(NEVER, wakes.next()) => {
            assert_eq!(heard.expect("it comes").expect("the link is there"), Wake::Look);
        }
        () = waking => unreachable!("it goes on"),
    }
}
