//! [`Shared`]: what the handles of one store share.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Mutex as AsyncMutex;

use crate::{
    error::Error,
    sqlite::{
        connection::{Readers, Writer, execute},
        location::{Location, Lock},
    },
    write::attached::Attached,
};

/// What the handles of one store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) location: Location,
    pub(crate) writer: Arc<AsyncMutex<Writer>>,
    pub(crate) readers: Readers,
    pub(crate) attached: OnceLock<Arc<Attached>>,
    pub(crate) closed: AtomicBool,
    /// Goes last: nobody may open the file before the connections are told to close.
    pub(crate) lock: Mutex<Option<Lock>>,
}

impl Shared {
    /// Whether calls are still taken.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.check_open()?;
        let mut reader = self.readers.acquire().await?;
        Ok(execute(
            reader.connection().await?,
            "SELECT count(*) FROM sqlite_schema",
        )
        .await?)
    }
}
