//! The machine and the versions of the peers, on which a run's figures depend.

use std::{collections::BTreeMap, fmt, fs, sync::LazyLock, thread};

use serde::Deserialize;

/// The lock file that this program was built with.
const LOCK: &str = include_str!("../../../Cargo.lock");

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// The version of a crate in the lock file that this program was built with; the newest of several.
///
/// `None` for a crate that is not in it.
#[must_use]
pub fn peer_version(name: &str) -> Option<&'static str> {
    static VERSIONS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| versions(LOCK));
    VERSIONS.get(name).map(String::as_str)
}

/// Packages of one name are in the lock file in ascending order, so the last is the newest.
fn versions(lock: &str) -> BTreeMap<String, String> {
    toml::from_str::<Lock>(lock)
        .map(|lock| {
            lock.package
                .into_iter()
                .map(|package| (package.name, package.version))
                .collect()
        })
        .unwrap_or_default()
}

/// The processor of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The model's name, as the kernel reports it.
    pub model: String,
    /// How many threads run at once.
    pub cores: usize,
}

impl Machine {
    /// Asks the kernel. What it does not report is called unknown.
    #[must_use]
    pub fn this() -> Self {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            model: model(&text).unwrap_or("unknown processor").into(),
            cores: thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores", self.model, self.cores)
    }
}

fn model(cpuinfo: &str) -> Option<&str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "model name")
        .map(|(_, model)| model.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = r#"
            [[package]]
            name = "a"
            version = "0.16.1"
            [[package]]
            name = "a"
            version = "0.17.0"
        "#;
        assert_eq!(versions(lock)["a"], "0.17.0");
        assert!(peer_version("moka").is_some_and(|version| version.starts_with("0.12.")));
        assert_eq!(peer_version("no such crate"), None);
    }

    #[test]
    fn the_model_is_read_from_cpuinfo() {
        let text = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC: 7\n";
        assert_eq!(model(text), Some("AMD EPYC: 7"));
        assert_eq!(model(""), None);
    }
}
