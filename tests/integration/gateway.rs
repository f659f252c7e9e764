//! The gateway in this process, on ports of its own and a database in memory.

use std::net::SocketAddr;

use tidings_gateway::{Gateway, Settings};

use crate::client::Client;

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Served {
    gateway: Gateway,
}

/// A gateway with this many workers and the built-in echo.
pub(crate) async fn served(workers: usize) -> Served {
    served_with(|settings| settings.workers = workers).await
}

pub(crate) async fn served_with(change: impl FnOnce(&mut Settings)) -> Served {
    let mut settings = Settings {
        proxy_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database: "sqlite::memory:".to_owned(),
        workers: 2,
        ..Settings::default()
    };
    change(&mut settings);
    let gateway = Gateway::start(settings).await.expect("the gateway starts");
    Served { gateway }
}

impl Served {
    pub(crate) async fn proxy(&self) -> Client {
        Client::connect(self.gateway.proxy_address()).await
    }

    pub(crate) async fn admin(&self) -> Client {
        Client::connect(self.gateway.admin_address()).await
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.gateway.admin_address()
    }

    pub(crate) fn node(&self) -> &tidings::Node {
        self.gateway.node()
    }

    pub(crate) async fn stop(self) {
        self.gateway.shutdown().await;
    }
}
