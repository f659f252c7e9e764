//! Some thousand seeds of the simulation, in a process of their own: the secret of cache keys is
//! set once.
//!
//! `TIDINGS_SEEDS` says how many, `TIDINGS_FIRST_SEED` from which on. `scripts/simulate` sets both.

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_cluster::kit::simulation::{
    DELAY, Outcome, Plan, Receipts, Verbosity, run, shortest, spread,
};

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// Runs seeds on every core. Returns the lowest one that fails, with how many reads and polls there
/// were.
fn first_failure(seeds: std::ops::Range<u64>) -> (Option<u64>, u64, u64) {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(u64::MAX);
    let (reads, polls) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failed.load(Ordering::Relaxed) != u64::MAX {
                return;
            }
            let outcome = run(&Plan::of(seed), Verbosity::Violations).expect("a run");
            reads.fetch_add(outcome.reads as u64, Ordering::Relaxed);
            polls.fetch_add(outcome.polls, Ordering::Relaxed);
            if !outcome.violations.is_empty() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner();
    let failed = (failed != u64::MAX).then_some(failed);
    (failed, reads.into_inner(), polls.into_inner())
}

fn report(seed: u64) -> String {
    let plan = shortest(&Plan::of(seed)).expect("a run");
    let Outcome {
        violations, lines, ..
    } = run(&plan, Verbosity::History).expect("a run");
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|(at, step)| format!("  {at:?}: {step:?}"))
        .collect();
    let violations: Vec<_> = violations.iter().map(ToString::to_string).collect();
    format!(
        "seed {seed} fails: {}\n{:#?}\nthe shortest plan that fails, {} steps:\n{}\nits history:\n{}",
        violations.join("; "),
        plan.profile,
        steps.len(),
        steps.join("\n"),
        lines.join("\n")
    )
}

#[test]
fn no_seed_has_an_impossible_history() {
    let first = number("TIDINGS_FIRST_SEED", 0);
    let count = number("TIDINGS_SEEDS", 3_000);
    let (failed, reads, polls) = first_failure(first..first + count);
    if let Some(seed) = failed {
        panic!("{}", report(seed));
    }
    println!("{count} seeds from {first}: {reads} reads, {polls} polls, none impossible");
    assert!(reads > count, "reads were made and checked");
}

#[test]
fn a_seed_repeats_itself() {
    for seed in 0..60 {
        let lines = || {
            run(&Plan::of(seed), Verbosity::History)
                .expect("a run")
                .lines
        };
        let (one, other) = (lines(), lines());
        assert!(one.len() > 20, "{one:#?}");
        assert_eq!(one, other);
    }
}

/// Prints the table of BENCHMARKS.md: the same each time, since the seed is.
#[test]
fn a_change_costs_each_node_one_wake_up_and_one_read() {
    println!(
        "| nodes | wake-ups | reads and answers | of members | bytes | all have it | confirmed |"
    );
    for receipts in [Receipts::None, Receipts::Awaited] {
        for nodes in [10, 30, 100] {
            let spread = spread(nodes, 20, receipts).expect("a run");
            println!(
                "| {nodes} | {} | {} | {} | {} | {:?} | {:?} | at rest {} reads and answers a second",
                spread.wakes,
                spread.reads,
                spread.of_members,
                spread.bytes,
                spread.all_have_it,
                spread.confirmed,
                spread.at_rest,
            );
            let nodes = nodes as u64;
            if receipts == Receipts::None {
                assert_eq!(spread.wakes, nodes - 1);
                assert_eq!(spread.of_members, 0);
            } else {
                // The change, and the question; one node looks for the reports.
                assert_eq!(spread.wakes, 2 * (nodes - 1));
                assert!(spread.of_members <= 3 * nodes, "{}", spread.of_members);
            }
            assert!(
                spread.reads <= 4 * nodes,
                "a question and an answer, or two"
            );
            assert!(spread.all_have_it < 20 * DELAY, "no one waits for a poll");
            assert_eq!(spread.confirmed.is_some(), receipts == Receipts::Awaited);
        }
    }
}
