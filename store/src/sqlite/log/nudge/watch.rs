//! [`Watch`]: the kernel's word that a file was changed.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd, path::Path, sync::Arc, thread};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use tokio::sync::mpsc;

/// Watches a file, by a thread of its own: a runtime without an I/O driver is enough. The thread
/// ends with the watch.
#[derive(Debug)]
pub(super) struct Watch {
    /// Holds one word however often the file was changed.
    told: mpsc::Receiver<()>,
    kernel: Arc<OwnedFd>,
    number: i32,
}

impl Watch {
    /// Watches the file that has this name now.
    pub(super) fn on(path: &Path) -> io::Result<Self> {
        let kernel = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        // A file that loses its name while it is open is told of as a change of its attributes.
        let changes = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let number = inotify::add_watch(&kernel, path, changes)?;
        let (tell, told) = mpsc::channel(1);

        // Made first, so that the watch ends if no thread can be had.
        let watch = Self {
            told,
            kernel: Arc::clone(&kernel),
            number,
        };

        thread::Builder::new()
            .name("tidings-nudge".to_owned())
            .spawn(move || tell_of(&kernel, &tell))?;

        Ok(watch)
    }

    /// Waits until the file, or what is known of it, was changed since the last time; none if it is
    /// not there any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(super) async fn told(&mut self) -> Option<()> {
        self.told.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It is the last event that the thread reads. An error means that the file is gone, and
        // the thread with it.
        let _ = inotify::remove_watch(&self.kernel, self.number);
    }
}

/// Reads what the kernel says until it does not watch any more.
fn tell_of(kernel: &OwnedFd, tell: &mpsc::Sender<()>) {
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut reader = Reader::new(kernel, &mut buffer);
    loop {
        match reader.next() {
            // A change of attributes may be the loss of the name, and the one that is told of it
            // sees whether it is.
            Ok(event) if matches!(event.events(), ReadFlags::MODIFY | ReadFlags::ATTRIB) => {
                // Full: a word is waiting that stands for this change too.
                let _ = tell.try_send(());
            }
            // More was changed than the kernel has kept.
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                let _ = tell.try_send(());
            }
            // It may not have this name any more.
            Ok(_) => return,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
