//! The nudge file, `NAME.nudge`, which notifies other stores of the file of a commit before they
//! poll.
//!
//! Each commit of a store appends a byte, and the kernel notifies the listeners (inotify). If the
//! kernel does not, as on other systems or once a user's limit of watches is reached, they check
//! the file every few milliseconds, which costs one lookup in the system's cache of names. The file
//! is found by its name: if it was removed or replaced, all stores switch to the new one. It holds
//! no data. A lost nudge costs only time.

// Notifications of the kernel that a file was changed. Must not know the file's purpose.
#[cfg_attr(not(target_os = "linux"), path = "nudge/no_watch.rs")]
mod watch;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    clock::Clock,
    log::{LogError, LogFuture, Wake, WakeUps},
};

use self::watch::Watch;
use crate::sqlite::location::{Location, beside, for_owner_alone, number};

/// How often the file is checked if the kernel does not notify.
const EVERY: Duration = Duration::from_millis(5);
/// The length at which the file is emptied.
const LONGEST: u64 = 1 << 20;

/// Gives nudges, and listens for those of others.
#[derive(Debug)]
pub(super) struct Nudge {
    path: Option<PathBuf>,
    /// Opened at the first nudge, and again if its name belongs to another file, or to none.
    file: Mutex<Option<Opened>>,
    /// How many bytes this store has appended: its own listeners ignore them.
    given: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// The nudge file that had the name when it was opened.
#[derive(Debug)]
struct Opened {
    file: File,
    number: Option<(u64, u64)>,
}

impl Opened {
    fn at(path: &Path) -> io::Result<Self> {
        let file = for_owner_alone().create(true).append(true).open(path)?;
        let number = number(&file.metadata()?);
        Ok(Self { file, number })
    }
}

impl Nudge {
    /// Returns the nudge of a database.
    pub(super) fn beside(location: &Location, clock: &Arc<dyn Clock>) -> Self {
        let path = match location {
            Location::File(path) => Some(beside(path, "nudge")),
            Location::Memory => None,
        };
        Self {
            path,
            file: Mutex::default(),
            given: Arc::default(),
            clock: Arc::clone(clock),
        }
    }

    /// Notifies other stores that there is something to read. Never waits for them.
    pub(super) fn give(&self) {
        let Some(path) = &self.path else {
            return;
        };
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);

        // By its name, as listeners find it: no listener has a file that lost its name.
        let there = path.metadata().ok();
        let is_there = |opened: &Opened| {
            let there = there.as_ref();
            there.is_some_and(|there| number(there) == opened.number)
        };
        if !slot.as_ref().is_some_and(is_there) {
            *slot = Opened::at(path).ok();
        }

        if let Some(Opened { file, .. }) = slot.as_mut() {
            let long = there.is_some_and(|there| there.len() >= LONGEST);
            // Before the byte is written: a listener that checks in between may notice a foreign
            // byte a moment later, with this one. In the other order it would take this byte for a
            // foreign one.
            self.given.fetch_add(1, Ordering::SeqCst);
            if (long && file.set_len(0).is_err()) || file.write_all(b".").is_err() {
                self.given.fetch_sub(1, Ordering::SeqCst);
                *slot = None;
            }
        }
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> Box<dyn WakeUps> {
        Box::new(self.listener())
    }

    fn listener(&self) -> Listener {
        let watch = self.path.as_ref().and_then(|path| {
            Opened::at(path).ok()?;
            Watch::on(path).ok()
        });
        let mut listener = Listener {
            path: self.path.clone(),
            clock: Arc::clone(&self.clock),
            watch,
            given: Arc::clone(&self.given),
            seen: None,
        };
        listener.seen = listener.state();

        listener
    }
}

/// The state of the nudge file at a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    length: u64,
    given: u64,
    /// Which file it is, if the system has such a number.
    number: Option<(u64, u64)>,
}

/// Checks the length of the nudge file when the kernel reports a change.
#[derive(Debug)]
struct Listener {
    path: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    /// `None` if the kernel does not notify.
    watch: Option<Watch>,
    given: Arc<AtomicU64>,
    seen: Option<Seen>,
}

impl Listener {
    fn state(&self) -> Option<Seen> {
        let path = self.path.as_ref()?;
        let there = path.metadata().ok()?;
        let given = self.given.load(Ordering::SeqCst);
        Some(Seen {
            length: there.len(),
            given,
            number: number(&there),
        })
    }

    /// Waits until the file may have changed.
    async fn changed(&mut self) {
        let change = match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => {
                self.clock.sleep(EVERY).await;
                return;
            }
        };

        if change.is_none() {
            // The file was replaced or removed: look it up by its name.
            self.watch = None;
        }
    }

    /// Watches the file that has the name now, if it is another one than before.
    fn follow(&mut self, before: Option<Seen>, now: Option<Seen>) {
        let number = |seen: Option<Seen>| seen.map(|seen| seen.number);
        if number(before) != number(now) {
            let there = self.path.as_ref().filter(|_| now.is_some());
            self.watch = there.and_then(|path| Watch::on(path).ok());
        }
    }
}

impl Seen {
    /// Returns whether another store has appended to the file since an earlier check.
    fn has_grown_since(self, earlier: Option<Self>) -> bool {
        let Some(earlier) = earlier else {
            return true;
        };
        if self.number != earlier.number {
            return true;
        }
        let own = self.given.wrapping_sub(earlier.given);
        // If it was emptied, any number of bytes may have been appended.
        self.length.checked_sub(earlier.length) != Some(own)
    }
}

impl WakeUps for Listener {
    fn next(&mut self) -> LogFuture<'_, Result<Wake, LogError>> {
        Box::pin(async move {
            loop {
                self.changed().await;
                let now = self.state();
                let before = std::mem::replace(&mut self.seen, now);
                self.follow(before, now);

                let news = match now {
                    Some(now) => now.has_grown_since(before),
                    None => before.is_some(),
                };
                if news {
                    return Ok(Wake::Look);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::clock::{ManualClock, SystemClock};

    use super::*;

    fn nudges<const N: usize>(clock: &Arc<dyn Clock>) -> (tempfile::TempDir, [Nudge; N]) {
        let directory = tempfile::tempdir().expect("a directory");
        let location = Location::File(directory.path().join("test.db"));
        let nudges = [(); N].map(|()| Nudge::beside(&location, clock));
        (directory, nudges)
    }

    /// Returns whether there is a wake-up by now.
    async fn is_woken(listener: &mut dyn WakeUps) -> bool {
        let patience = Duration::from_secs(60);
        let wake = tokio::time::timeout(patience, listener.next()).await;
        wake.is_ok_and(|wake| wake.is_ok_and(|wake| wake == Wake::Look))
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_tells_of_the_nudges_of_others_without_a_look_by_the_clock() {
        // The clock stands still, so a check that waits for it is never made.
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let (_directory, [one, other]) = nudges(&clock);
        let mut listener = one.listen();
        for _ in 0..3 {
            one.give();
            other.give();
            assert!(is_woken(&mut *listener).await);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_tells_on_once_the_file_s_attributes_were_changed() {
        use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

        // The clock stands still, so a check that waits for it is never made.
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let (directory, [one, other]) = nudges(&clock);
        let mut listener = one.listen();
        let path = directory.path().join("test.db.nudge");
        for _ in 0..3 {
            // As a backup that takes a hard link does.
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
            other.give();
            assert!(is_woken(&mut *listener).await);
        }
    }

    #[cfg(unix)]
    #[test]
    fn nudges_are_given_to_the_file_that_has_the_name_now() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let (directory, [nudge]) = nudges(&clock);
        let path = directory.path().join("test.db.nudge");
        let length = || path.metadata().map(|it| it.len()).ok();
        nudge.give();
        nudge.give();
        assert_eq!(length(), Some(2));

        std::fs::remove_file(&path).expect("removed");
        nudge.give();
        assert_eq!(length(), Some(1), "after it was removed");
        std::fs::rename(&path, directory.path().join("moved")).expect("moved");
        nudge.give();
        assert_eq!(length(), Some(1), "after it was moved");
        let other = directory.path().join("other");
        std::fs::write(&other, "").expect("written");
        std::fs::rename(&other, &path).expect("replaced");
        nudge.give();
        assert_eq!(length(), Some(1), "after it was replaced");
    }

    #[test]
    fn a_listener_does_not_hear_of_the_nudges_of_its_own_store() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let (_directory, [one, other]) = nudges(&clock);
        let listener = one.listener();
        let before = listener.state().expect("a file");
        one.give();
        one.give();
        let own = listener.state().expect("a file");
        assert!(!own.has_grown_since(Some(before)));
        other.give();
        let both = listener.state().expect("a file");
        assert!(both.has_grown_since(Some(own)));
    }

    #[test]
    fn own_nudges_are_no_news() {
        let of = |number| {
            let number = Some((0, number));
            move |length, given| Seen {
                length,
                given,
                number,
            }
        };
        let seen = of(1);
        assert!(!seen(5, 2).has_grown_since(Some(seen(3, 0))));
        assert!(seen(6, 2).has_grown_since(Some(seen(3, 0))));
        assert!(seen(1, 2).has_grown_since(Some(seen(3, 0))));
        assert!(!seen(3, 0).has_grown_since(Some(seen(3, 0))));
        assert!(seen(0, 0).has_grown_since(None));
        assert!(of(2)(5, 2).has_grown_since(Some(seen(3, 0))));
    }

    #[tokio::test]
    async fn a_nudge_file_that_was_removed_is_found_again() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (directory, [one, other]) = nudges(&clock);
        let mut listener = one.listen();
        std::fs::remove_file(directory.path().join("test.db.nudge")).expect("removed");
        assert!(is_woken(&mut *listener).await);

        let (woken, ()) = tokio::join!(is_woken(&mut *listener), async { other.give() });
        assert!(woken);
    }
}
