//! One carrier to another.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tidings_core::log::{LogError, Wake, WakeCarrier, WakeUps};
use tidings_testkit::Broker;
use tokio::time::timeout;

use crate::{BOTH, carrier};

const NEVER: Duration = Duration::from_secs(60);

/// Listens, and retries until it succeeds.
pub(crate) async fn listening(carrier: &Arc<dyn WakeCarrier>) -> Box<dyn WakeUps> {
    let listening = async {
        loop {
            if let Ok(wakes) = carrier.listen().await {
                return wakes;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(NEVER, listening)
        .await
        .expect("the broker is there")
}

/// Wakes until a listener has received a wake-up: a subscription takes effect a moment after its
/// request.
async fn heard(from: &Arc<dyn WakeCarrier>, to: &mut Box<dyn WakeUps>) -> Result<Wake, LogError> {
    heard_of(Wake::Look, from, to).await
}

async fn heard_of(
    wake: Wake,
    from: &Arc<dyn WakeCarrier>,
    to: &mut Box<dyn WakeUps>,
) -> Result<Wake, LogError> {
    let waking = async {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            from.wake(wake.clone());
        }
    };
    let heard = async {
        tokio::select! {
            heard = to.next() => heard,
            () = waking => unreachable!("it goes on"),
        }
    };
    timeout(NEVER, heard).await.expect("it is heard")
}

#[tokio::test]
async fn a_wake_up_reaches_the_others_of_its_cluster_and_not_itself() {
    for protocol in BOTH {
        let broker = Broker::start(protocol);
        let one = carrier(&broker, protocol, "shop");
        let mut own = listening(&one).await;
        let other = carrier(&broker, protocol, "shop");
        let foreign = carrier(&broker, protocol, "shop.eu");
        let (mut others, mut foreigners) = (listening(&other).await, listening(&foreign).await);

        let mut wrong = 0;
        for _ in 0..20 {
            let heard = heard(&one, &mut others).await.expect("a wake-up");
            assert_eq!(heard, Wake::Look);
            wrong += usize::from(own.next().now_or_never().is_some());
            wrong += usize::from(foreigners.next().now_or_never().is_some());
        }
        // Each may have received that its connection was made.
        assert!(
            wrong <= 2,
            "{protocol:?}: {wrong} of its own, or of another cluster"
        );
    }
}

#[tokio::test]
async fn a_report_is_told_from_what_is_to_be_read() {
    for protocol in BOTH {
        let broker = Broker::start(protocol);
        let one = carrier(&broker, protocol, "shop");
        let other = carrier(&broker, protocol, "shop");
        let mut wakes = listening(&other).await;
        // First comes the wake-up for the new connection, then only reports.
        while heard_of(Wake::Reported, &one, &mut wakes)
            .await
            .expect("one")
            == Wake::Look
        {}
        for _ in 0..20 {
            let heard = heard_of(Wake::Reported, &one, &mut wakes).await;
            assert_eq!(heard.expect("a wake-up"), Wake::Reported, "{protocol:?}");
        }
        // Of several concurrent wake-ups, the one that includes the others is sent.
        one.wake(Wake::Look);
        let looked = async { while wakes.next().await.expect("one") != Wake::Look {} };
        timeout(NEVER, looked).await.expect("it comes");
    }
}

#[tokio::test]
async fn a_broker_that_was_away_is_listened_to_again() {
    for protocol in BOTH {
        let mut broker = Broker::start(protocol);
        let one = carrier(&broker, protocol, "shop");
        let other = carrier(&broker, protocol, "shop");
        let mut wakes = listening(&other).await;
        heard(&one, &mut wakes).await.expect("a wake-up");

        broker.stop();
        one.wake(Wake::Look);
        broker.restart();
        // The carrier decides whether the link recovers by itself or ends.
        while heard(&one, &mut wakes).await.is_err() {
            wakes = listening(&other).await;
        }
    }
}
