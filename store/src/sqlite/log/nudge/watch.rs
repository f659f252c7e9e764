//! [`Watch`]: receives the kernel's notifications that a file was changed.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd, path::Path, sync::Arc, thread};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::sync::mpsc;

/// Watches a file with a thread of its own, so that a runtime without an I/O driver is enough. The
/// thread ends with the watch.
#[derive(Debug)]
pub(super) struct Watch {
    /// Holds one notification, however often the file was changed.
    changed: mpsc::Receiver<()>,
    kernel: Arc<OwnedFd>,
    number: i32,
}

impl Watch {
    /// Watches the file that has this name now.
    pub(super) fn on(path: &Path) -> io::Result<Self> {
        let kernel = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        // If a file loses its name while it is open, that is reported as a change of its
        // attributes.
        let changes = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let number = inotify::add_watch(&kernel, path, changes)?;
        let (notify, changed) = mpsc::channel(1);

        // Made first, so that the watch is removed if no thread can be started.
        let watch = Self {
            changed,
            kernel: Arc::clone(&kernel),
            number,
        };

        thread::Builder::new()
            .name("tidings-nudge".to_owned())
            .spawn(move || notify_changes(&kernel, &notify))?;

        Ok(watch)
    }

    /// Waits until the file or its attributes have changed since the last call; `None` if the file
    /// is gone.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn changed(&mut self) -> Option<()> {
        self.changed.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The removal is the last event that the thread reads. An error means that the file is
        // gone, and the thread has ended.
        let _ = inotify::remove_watch(&self.kernel, self.number);
    }
}

/// Passes on the kernel's notifications until the watch ends.
fn notify_changes(kernel: &OwnedFd, notify: &mpsc::Sender<()>) {
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut reader = Reader::new(kernel, &mut buffer);
    loop {
        match reader.next() {
            // A change of attributes may be the loss of the name; the receiver checks.
            Ok(event) if matches!(event.events(), ReadFlags::MODIFY | ReadFlags::ATTRIB) => {
                // If the channel is full, the waiting notification covers this change too.
                let _ = notify.try_send(());
            }
            // The kernel's queue overflowed.
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                let _ = notify.try_send(());
            }
            // The file may have lost its name.
            Ok(_) => return,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
