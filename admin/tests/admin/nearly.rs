//! Requests that are nearly right, byte by byte.

use super::bytes::{REQUESTS, Taker};

/// Every request whole, cut off at some places, and with some bytes changed.
#[tokio::test]
async fn whatever_bytes_come_are_answered_or_the_connection_ends() {
    let taker = Taker::new().await;
    for request in REQUESTS {
        taker.take(request).await;
        for end in (0..request.len()).step_by(3) {
            taker.take(&request[..end]).await;
        }
        for place in (0..request.len()).step_by(2) {
            let mut changed = request.to_vec();
            changed[place] ^= 1 << (place % 7);
            taker.take(&changed).await;
        }
    }
    taker.take(&REQUESTS.concat()).await;
}
