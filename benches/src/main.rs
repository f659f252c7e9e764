//! Runs a group of subjects, prints its table and writes its JSON.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use tidings_benches::{
    bus, cluster, conformance,
    harness::{BenchError, Settings},
    hit, miss, store,
};

/// Ours beside the peers, in one run.
#[derive(Debug, Parser)]
struct Options {
    /// The group of subjects.
    group: Group,

    /// As little as shows that everything runs; the figures mean nothing.
    #[arg(long)]
    quick: bool,

    /// The rounds whose median counts.
    #[arg(long)]
    rounds: Option<usize>,

    /// How often every contestant takes its turn in a round.
    #[arg(long)]
    slices: Option<usize>,

    /// Seeds every random choice.
    #[arg(long)]
    seed: Option<u64>,

    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Group {
    /// Posts, and the time until every listener has the event.
    Bus,
    /// Nodes that receive each other's changes, beside the raw clients of their engines and
    /// brokers.
    Cluster,
    /// A lookup of what is cached.
    Hit,
    /// Loads, promotions and invalidations.
    Miss,
    /// Data access on both engines, beside bare sqlx.
    Store,
    /// Loads that began before a change: is their value served afterwards?
    Conformance,
}

impl Group {
    fn run(self, settings: Settings, out: &Path) -> Result<(), BenchError> {
        let bench = match self {
            Self::Bus => bus::run(settings)?,
            Self::Cluster => cluster::run(settings)?,
            Self::Hit => hit::run(settings)?,
            Self::Miss => miss::run(settings)?,
            Self::Store => store::run(settings)?,
            Self::Conformance => return conform(out),
        };
        println!("{}", bench.table());
        bench.write(out)
    }
}

fn conform(out: &Path) -> Result<(), BenchError> {
    let conformance = conformance::run();
    println!("{}", conformance.table());
    conformance.write(out)?;
    let faults = conformance.faults("tidings");
    if faults.is_empty() {
        return Ok(());
    }
    Err(BenchError::Failed(format!(
        "ours is not clean: {}",
        faults.join("; ")
    )))
}

impl Options {
    fn settings(&self) -> Settings {
        let mut settings = if self.quick {
            Settings::quick()
        } else {
            Settings::full()
        };
        settings.rounds = self.rounds.unwrap_or(settings.rounds).max(1);
        settings.slices = self.slices.unwrap_or(settings.slices).max(1);
        settings.seed = self.seed.unwrap_or(settings.seed);
        settings
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.group.run(options.settings(), &options.out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(source) = error.source() {
                eprintln!("  because: {source}");
            }
            ExitCode::FAILURE
        }
    }
}
