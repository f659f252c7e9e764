//! Subject group `memory`: what an entry costs, what a bound is worth, and what survives a flood.
//!
//! - `bytes_per_entry_N`: live bytes after N credentials were put in, over N. Key, value, and
//!   everything that the cache keeps for them; the crate `allocation-counter` counts on the thread
//!   that fills.
//! - `live_bytes_of_capacity`: four times as many credentials as there is room for are put in; the
//!   most bytes that were live at any time, in per cent of the capacity that was configured.
//! - `api_key_to_credential_allocations`: allocations per look-up that builds its key and hits.
//! - `flood_hit_ratio`: 10,000 credentials are cached, in a cache with room for twice as many. Then
//!   ten million keys that do not exist are asked for, and their absence is cached; after every
//!   tenth of them a credential is asked for, Zipf 0.99. The figure is how many of these were hits.
//! - `junk_keys_of_budget`: 100,000 keys of 60 KB that do not exist are asked for on a thread with
//!   an L1; the most bytes that were live, and what the process grew by, in per cent of both
//!   levels' bounds.
//! - `stalled_source_loads`: a source hangs for ten seconds under 2,000 new keys a second; how many
//!   loads were in progress at once. `stalled_source_per_load`: the most bytes that were live, over
//!   these; each has a caller that waits, in a task.
//! - `hit_ratio_zipf_S_at_P`: 100,000 keys, a million look-ups, room for P per cent of the keys.
//!
//! A program of its own: its allocator counts, and a counting allocator has no place under a clock.

// Lowest first: a module imports from lines above it alone.
// The caches, behind one face.
mod caches;
// Bytes per entry, and allocations per look-up.
mod entries;
// Hit ratios under a bound in bytes.
mod ratios;
// Keys that do not exist, and a source that hangs.
mod edges;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use tidings_benches::harness::{Bench, BenchError, Settings};

/// What an entry costs, what a bound is worth, and what survives a flood.
#[derive(Debug, Parser)]
struct Options {
    /// As little as shows that everything runs; the figures mean nothing.
    #[arg(long)]
    quick: bool,

    /// Seeds every random choice.
    #[arg(long)]
    seed: Option<u64>,

    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

fn measure(settings: Settings) -> Result<Bench, BenchError> {
    let mut bench = Bench::new("memory", settings);
    edges::run(&mut bench)?; // first: what is resident is not what others have left
    entries::run(&mut bench)?;
    ratios::run(&mut bench);
    Ok(bench)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut settings = if options.quick {
        Settings::quick()
    } else {
        Settings::full()
    };
    // Counts do not scatter: once is enough.
    (settings.rounds, settings.slices) = (1, 1);
    settings.seed = options.seed.unwrap_or(settings.seed);
    let done = measure(settings).and_then(|bench| {
        println!("{}", bench.table());
        bench.write(&options.out)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_plausible() {
        let settings = Settings {
            scale: 2,
            ..Settings::quick()
        };
        let bench = measure(settings).expect("every entry is found again");
        for row in bench.rows() {
            let figure = row.value.expect("no row is a time");
            let plausible = match row.unit {
                Some("bytes") => (150.0..20_000.0).contains(&figure),
                // Tables and sketches have a least size, which tells in a small cache.
                Some("%") => (0.0..=400.0).contains(&figure),
                _ => figure >= 0.0,
            };
            assert!(plausible, "{row:?}");
        }
    }
}
