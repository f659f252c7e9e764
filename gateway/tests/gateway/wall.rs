//! The time of day of each node, which jumps: Debian's `faketime` goes between a process and the
//! system's clock, and asks a file how far it is off. The monotonic clock stays as it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tidings::core::entropy::{Entropy as _, SeededEntropy};

/// The farthest that one jumps, in seconds: beyond every lease and retention.
const FARTHEST: u64 = 100_000;

/// A file for each node.
#[derive(Debug)]
pub(crate) struct WallClocks {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl WallClocks {
    /// Makes clocks that are right.
    pub(crate) fn new(nodes: usize) -> Self {
        let clocks = Self {
            folder: tempfile::tempdir().expect("a directory"),
            library: library().expect("faketime is installed: scripts/prepare does it"),
        };
        for node in 0..nodes {
            clocks.set(node, "+0");
        }
        clocks
    }

    fn file(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("n{node}"))
    }

    /// Makes a node's time of day be off by this many seconds from now on.
    pub(crate) fn shift(&self, node: usize, seconds: i64) {
        self.set(node, &format!("{seconds:+}"));
    }

    fn set(&self, node: usize, offset: &str) {
        // Whole or not at all: the process reads it all the time.
        let new = self.folder.path().join("new");
        fs::write(&new, offset).expect("a file");
        fs::rename(&new, self.file(node)).expect("a file");
    }

    /// Makes a node start under its clock.
    pub(crate) fn apply(&self, node: usize, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library);
        command.env("FAKETIME_TIMESTAMP_FILE", self.file(node));
        command.env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Moves a node's time of day, forward or back. Returns by how many seconds it is off then.
    pub(crate) fn jump(&self, node: usize, chance: &SeededEntropy) -> i64 {
        let most = [5, 600, FARTHEST][chance.below(3) as usize];
        let far = i64::try_from(chance.below(most)).expect("it is less than a day or two");
        let offset = match chance.below(2) {
            0 => far,
            _ => -far,
        };
        self.shift(node, offset);
        offset
    }
}

impl Drop for WallClocks {
    fn drop(&mut self) {
        // What the library shares with other processes is left behind by those that were killed.
        for file in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = file.file_name();
            let shared = ["faketime_shm_", "sem.faketime_sem_"];
            let process = shared.iter().find_map(|it| name.to_str()?.strip_prefix(it));
            if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
                drop(fs::remove_file(file.path())); // another run may have been faster
            }
        }
    }
}

/// The library for programs with threads, where Debian puts it for this machine's kind.
fn library() -> Option<PathBuf> {
    let kinds = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut places = kinds.map(|kind| kind.path().join("faketime/libfaketimeMT.so.1"));
    places.find(|place| place.exists())
}
