//! The nudge file, `NAME.nudge`: other stores of the file hear by it of a commit before they poll.
//!
//! It grows by a byte with each commit of a store, and is looked at every few milliseconds, which
//! costs one look-up in the system's cache of names. It holds nothing. What it misses costs time
//! and nothing else.

use std::{
    fs::File,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidings_core::{
    clock::Clock,
    log::{LogError, LogFuture, Wake, WakeUps},
};

use crate::sqlite::location::{Location, beside, for_owner_alone};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(5);
/// How long the file may become before it is emptied.
const LONGEST: u64 = 1 << 20;

/// Gives nudges, and listens for those of others.
#[derive(Debug)]
pub(super) struct Nudge {
    path: Option<PathBuf>,
    /// Opened at the first nudge.
    file: Mutex<Option<File>>,
    clock: Arc<dyn Clock>,
}

impl Nudge {
    /// Makes the nudge of a database.
    pub(super) fn beside(location: &Location, clock: &Arc<dyn Clock>) -> Self {
        let path = match location {
            Location::File(path) => Some(beside(path, "nudge")),
            Location::Memory => None,
        };
        Self {
            path,
            file: Mutex::default(),
            clock: Arc::clone(clock),
        }
    }

    /// Tells other stores that there is something to read. Never waits for them.
    pub(super) fn give(&self) {
        let Some(path) = &self.path else {
            return;
        };
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = for_owner_alone().create(true).append(true).open(path).ok();
        }
        if let Some(file) = slot.as_mut() {
            let long = file.metadata().is_ok_and(|it| it.len() >= LONGEST);
            if (long && file.set_len(0).is_err()) || file.write_all(b".").is_err() {
                *slot = None;
            }
        }
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> Box<dyn WakeUps> {
        let mut listener = Listener {
            path: self.path.clone(),
            clock: Arc::clone(&self.clock),
            length: None,
        };
        listener.length = listener.look();
        Box::new(listener)
    }
}

/// Looks at the length of the nudge file.
#[derive(Debug)]
struct Listener {
    path: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    length: Option<u64>,
}

impl Listener {
    fn look(&self) -> Option<u64> {
        let path = self.path.as_ref()?;
        path.metadata().ok().map(|it| it.len())
    }
}

impl WakeUps for Listener {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(async move {
            loop {
                self.clock.sleep(EVERY).await;
                let length = self.look();
                if length != self.length {
                    self.length = length;
                    return Ok(Wake::Look);
                }
            }
        })
    }
}
