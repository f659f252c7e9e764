//! The location of a database, and the lock that keeps a second store away from it.
//!
//! The lock is an advisory lock of the operating system on a file beside the database, `NAME.lock`.
//! It is bound to the open file and not to the process, so a second store of the same process is
//! refused too. It ends with the process, however that ends (`kill -9`). Stores that share a file
//! share the lock, so a store that does not is kept away. The lock file itself stays: if it were
//! removed, two processes could lock two files of the same name.
//!
//! Only SQLite opens the database file: POSIX drops all of a process's locks on a file, including
//! those of SQLite, when *any* descriptor of it is closed.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use percent_encoding::percent_decode_str;
use tidings_core::BoxError;

use crate::{error::Error, settings::Sharing};

/// The location that a database URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Memory,
    File(PathBuf),
}

impl Location {
    /// Reads `sqlite://PATH` or `sqlite::memory:`; the path may be percent-encoded.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| {
            Err(Error::Url {
                reason: reason.to_owned(),
            })
        };
        let Some((scheme, rest)) = url.split_once(':') else {
            return invalid("expected sqlite://PATH or sqlite::memory:");
        };

        // Only the scheme of another URL is repeated, because the URL may hold a password.
        if !scheme.eq_ignore_ascii_case("sqlite") {
            return Err(Error::Unsupported {
                scheme: scheme.to_ascii_lowercase(),
            });
        }

        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path == ":memory:" {
            return Ok(Self::Memory);
        }
        if path.contains('?') {
            return invalid("parameters after ? are not supported");
        }
        let Ok(path) = percent_decode_str(path).decode_utf8() else {
            return invalid("the path is not UTF-8");
        };
        if path.is_empty() {
            return invalid("the path is empty: expected sqlite://PATH or sqlite::memory:");
        }
        if path.contains('\0') {
            return invalid("the path holds a NUL");
        }

        Ok(Self::File(PathBuf::from(path.as_ref())))
    }
}

/// Returns the canonical path of a database file, with links resolved. The file itself need not
/// exist yet.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, Error> {
    let refused = |reason: &str, source: Option<io::Error>| Error::Open {
        path: path.to_owned(),
        reason: source
            .as_ref()
            .map_or_else(|| reason.to_owned(), |error| format!("{reason} ({error})")),
        source: source.map(BoxError::from),
    };

    let found = match path.canonicalize() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if path.is_symlink() {
                return Err(refused("it is a symbolic link to nothing", None));
            }
            let Some(name) = path.file_name() else {
                return Err(refused("it is not the name of a file", None));
            };

            let parent = match path.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            let parent = parent
                .canonicalize()
                .map_err(|error| refused("its directory cannot be used", Some(error)))?;
            parent.join(name)
        }
        Err(error) => return Err(refused("its path cannot be resolved", Some(error))),
    };

    if found.to_str().is_none() {
        return Err(refused("its path is not UTF-8", None));
    }

    match found.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(refused("it is a directory", None)),
        Ok(metadata) if !metadata.is_file() => Err(refused("it is not a regular file", None)),
        Ok(metadata) if has_other_names(&metadata) => Err(refused(
            "it has a second name (a hard link), through which it could be opened twice",
            None,
        )),
        _ => Ok(found),
    }
}

#[cfg(unix)]
fn has_other_names(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &std::fs::Metadata) -> bool {
    false
}

/// The file that a database path named when it was opened.
///
/// SQLite keeps using a file that was removed or replaced: its commits are lost with the last
/// connection, and a connection opened later reads another file, or creates one. So the name is
/// looked up again before each use.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    /// Device and number; `None` if the system has no such numbers.
    number: Option<(u64, u64)>,
}

impl Identity {
    /// Returns the identity of a file that has just been opened; `None` for an in-memory database.
    pub(crate) fn of(location: &Location) -> Result<Option<Self>, Error> {
        let Location::File(path) = location else {
            return Ok(None);
        };
        let gone = |_| Error::FileGone { path: path.clone() };
        let metadata = path.metadata().map_err(gone)?;
        Ok(Some(Self {
            path: path.clone(),
            number: number(&metadata),
        }))
    }

    /// Returns device and number; `None` if the system has no such numbers.
    pub(crate) fn number(&self) -> Option<(u64, u64)> {
        self.number
    }

    /// Checks that the path still names that file. Costs one lookup in the system's cache of names.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.path.metadata() {
            Ok(metadata) if number(&metadata) == self.number => Ok(()),
            _ => Err(Error::FileGone {
                path: self.path.clone(),
            }),
        }
    }
}

/// Returns device and number of a file; `None` if the system has no such numbers.
#[cfg(unix)]
pub(super) fn number(metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(super) fn number(_: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// The lock on a database file, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// Returns the path of a file beside a database: `NAME.EXTENSION`.
pub(crate) fn beside(database: &Path, extension: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

impl Lock {
    pub(crate) fn take(database: &Path, sharing: Sharing) -> Result<Self, Error> {
        let path = beside(database, "lock");
        let refused = |error: io::Error| Error::Open {
            path: database.to_owned(),
            reason: format!("its lock file {} cannot be used ({error})", path.display()),
            source: Some(error.into()),
        };

        // Not truncated, because its text belongs to the holder of the lock.
        let mut file = for_owner_alone()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(refused)?;
        let taken = match sharing {
            Sharing::Alone => file.try_lock(),
            Sharing::Cluster => file.try_lock_shared(),
        };

        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    path: database.to_owned(),
                    process: process_named_in(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }

        // Stores that share the lock are not named.
        let named = file.set_len(0).and_then(|()| match sharing {
            Sharing::Alone => {
                file.rewind()?;
                writeln!(file, "{}", std::process::id())
            }
            Sharing::Cluster => Ok(()),
        });
        named.map_err(refused)?;

        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would not do: a process that another thread is starting shares the file,
        // and with it the lock, until its own program runs. An error leaves what closing does.
        drop(self.file.unlock());
    }
}

/// Creates a missing database file, empty and readable by its owner only, because it holds keys.
/// SQLite would make it readable by everyone, and gives its other files the mode of this one. An
/// existing file stays as it is.
///
/// Call it before SQLite opens the file: closing a descriptor drops the locks that the process has
/// on it.
pub(super) fn make_private(database: &Path) -> io::Result<()> {
    match for_owner_alone()
        .write(true)
        .create_new(true)
        .open(database)
    {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Returns the options for opening a file that no other user can read.
pub(crate) fn for_owner_alone() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Returns the holder's process id, only for the message: it may not have been written yet.
fn process_named_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_lock_ends_when_it_is_dropped_although_its_file_is_still_shared() {
        let folder = TempDir::new().unwrap();
        let database = folder.path().join("a.db");
        for sharing in [Sharing::Alone, Sharing::Cluster] {
            let lock = Lock::take(&database, sharing).unwrap();
            let _inherited = lock.file.try_clone().unwrap(); // as a new process has it
            drop(lock);
            drop(Lock::take(&database, Sharing::Alone).unwrap());
        }
    }

    #[test]
    fn urls_are_read_and_the_wrong_ones_refused_by_name() {
        let file = |path: &str| Location::File(PathBuf::from(path));
        for (url, expected) in [
            ("sqlite::memory:", Location::Memory),
            ("sqlite://:memory:", Location::Memory),
            ("sqlite://tidings.db", file("tidings.db")),
            ("sqlite:tidings.db", file("tidings.db")),
            ("sqlite:///var/lib/a%20b%3F.db", file("/var/lib/a b?.db")),
        ] {
            assert_eq!(Location::parse(url).unwrap(), expected, "{url}");
        }
        for (url, expected) in [
            ("tidings.db", "expected sqlite://PATH"),
            ("sqlite://", "the path is empty"),
            ("sqlite://a.db?mode=ro", "parameters"),
            ("sqlite://a%00b", "NUL"),
            ("sqlite://a%ff", "UTF-8"),
            ("postgres://user:secret@host/db", "not supported"),
        ] {
            let message = Location::parse(url).unwrap_err().to_string();
            assert!(message.contains(expected), "{url}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
