//! Runs one subject's rounds and returns each contestant's figures.

use std::{sync::Mutex, thread};

use super::{
    contestant::{Contestant, Sample, Turn},
    error::BenchError,
    gate::Gate,
    settings::Settings,
    statistics::median,
};

/// For each contestant the medians of its rounds, in nanoseconds per operation.
///
/// # Errors
///
/// When two contestants' checksums of one slice differ on some thread.
///
/// # Panics
///
/// When a contestant does; on the other threads too.
pub(super) fn run(
    subject: &str,
    threads: usize,
    settings: &Settings,
    contestants: &[Contestant<'_>],
) -> Result<Vec<Vec<f64>>, BenchError> {
    let plan = plan(settings);
    let gate = Gate::new(threads);
    let samples: Vec<_> = (0..threads).map(|_| Mutex::new(Vec::new())).collect();
    thread::scope(|scope| {
        for (index, samples) in samples.iter().enumerate() {
            let (plan, gate) = (&plan, &gate);
            scope.spawn(move || {
                let _guard = gate.guard();
                let recorded = one_thread(index, plan, gate, contestants);
                // Only this thread takes the lock before the scope ends.
                *samples
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner()) = recorded;
            });
        }
    });
    let samples: Vec<_> = samples
        .into_iter()
        .map(|samples| samples.into_inner().unwrap_or_default())
        .collect();
    check(subject, &samples, contestants)?;
    Ok(medians(&plan, &samples, contestants.len()))
}

/// The turns of a subject: a warm-up round, whose figures do not count, and the rounds.
fn plan(settings: &Settings) -> Vec<(Turn, bool)> {
    let warm_up = (0..settings.slices.div_ceil(2)).map(|slice| (0, slice, false));
    let rounds = (0..settings.rounds)
        .flat_map(|round| (0..settings.slices).map(move |slice| (round, slice, true)));
    warm_up
        .chain(rounds)
        .enumerate()
        .map(|(number, (round, slice, counts))| {
            (
                Turn {
                    round,
                    slice,
                    number,
                },
                counts,
            )
        })
        .collect()
}

/// For each turn the samples of the contestants, in the contestants' order.
fn one_thread(
    index: usize,
    plan: &[(Turn, bool)],
    gate: &Gate,
    contestants: &[Contestant<'_>],
) -> Vec<Vec<Sample>> {
    let mut runners: Vec<_> = contestants
        .iter()
        .map(|contestant| (contestant.prepare)(index))
        .collect();
    plan.iter()
        .map(|(turn, _)| {
            let mut samples = vec![None; runners.len()];
            for place in 0..runners.len() {
                // Each contestant follows each other one equally often.
                let whose = (place + turn.number) % runners.len();
                gate.pass();
                samples[whose] = Some(runners[whose](*turn));
            }
            samples.into_iter().flatten().collect()
        })
        .collect()
}

/// Compares the checksums of each slice on each thread.
fn check(
    subject: &str,
    samples: &[Vec<Vec<Sample>>],
    contestants: &[Contestant<'_>],
) -> Result<(), BenchError> {
    for (thread, turns) in samples.iter().enumerate() {
        for (turn, slice) in turns.iter().enumerate() {
            let Some(other) = slice
                .iter()
                .position(|sample| sample.checksum != slice[0].checksum)
            else {
                continue;
            };
            return Err(BenchError::Checksums {
                subject: subject.into(),
                thread,
                turn,
                left: (contestants[0].name.clone(), slice[0].checksum),
                right: (contestants[other].name.clone(), slice[other].checksum),
            });
        }
    }
    Ok(())
}

fn medians(
    plan: &[(Turn, bool)],
    samples: &[Vec<Vec<Sample>>],
    contestants: usize,
) -> Vec<Vec<f64>> {
    let rounds = plan
        .iter()
        .map(|(turn, _)| turn.round + 1)
        .max()
        .unwrap_or(0);
    (0..contestants)
        .map(|who| {
            (0..rounds)
                .map(|round| {
                    let mut figures: Vec<_> = plan
                        .iter()
                        .enumerate()
                        .filter(|(_, (turn, counts))| *counts && turn.round == round)
                        .map(|(at, _)| {
                            let total: f64 = samples
                                .iter()
                                .map(|turns| turns[at][who].nanoseconds())
                                .sum();
                            total / samples.len() as f64
                        })
                        .collect();
                    median(&mut figures)
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Takes `base` nanoseconds per operation, but in the first slice of each round a thousand
    /// times that.
    fn disturbed(base: u64) -> impl FnMut(Turn) -> Sample {
        move |turn| Sample {
            elapsed: Duration::from_nanos(base * if turn.slice == 0 { 1_000 } else { 1 } * 10),
            operations: 10,
            checksum: turn.number as u64,
        }
    }

    fn settings(rounds: usize, slices: usize) -> Settings {
        Settings {
            rounds,
            slices,
            ..Settings::quick()
        }
    }

    #[test]
    fn a_disturbed_slice_does_not_move_the_median() {
        for threads in [1, 2] {
            let contestants = [
                Contestant::new("a", |_| disturbed(20)),
                Contestant::new("b", |_| disturbed(30)),
            ];
            let figures =
                run("s", threads, &settings(4, 3), &contestants).expect("checksums agree");
            assert_eq!(figures, [vec![20.0; 4], vec![30.0; 4]]);
        }
    }

    #[test]
    fn a_turn_on_several_threads_is_the_mean_of_them() {
        let contestants = [Contestant::new("a", |thread| {
            move |_| Sample {
                elapsed: Duration::from_nanos(10 + 20 * thread as u64),
                operations: 1,
                checksum: 0,
            }
        })];
        let figures = run("s", 2, &settings(1, 1), &contestants).expect("checksums agree");
        assert_eq!(figures, [vec![20.0]]);
    }

    #[test]
    fn warm_up_does_not_count() {
        let contestants = [Contestant::new("a", |_| {
            move |turn: Turn| Sample {
                elapsed: Duration::from_nanos(if turn.number < 2 { 1_000_000 } else { 5 }),
                operations: 1,
                checksum: 0,
            }
        })];
        let figures = run("s", 1, &settings(2, 4), &contestants).expect("checksums agree");
        assert_eq!(figures, [vec![5.0, 5.0]]);
    }

    #[test]
    fn contestants_that_disagree_are_named() {
        let digest = |checksum| {
            move |_| {
                move |turn: Turn| Sample::time(1, || if turn.number == 3 { checksum } else { 0 })
            }
        };
        let contestants = [
            Contestant::new("a", digest(1)),
            Contestant::new("b", digest(1)),
            Contestant::new("c", digest(2)),
        ];
        let error = run("s", 1, &settings(2, 2), &contestants).expect_err("c differs");
        assert_eq!(
            error.to_string(),
            "s: thread 0, turn 3: a has checksum 1 but c has 2"
        );
    }

    #[test]
    fn every_contestant_takes_every_place() {
        let order = Mutex::new(Vec::new());
        let named = |name: &'static str| {
            let order = &order;
            Contestant::new(name, move |_| {
                move |_| {
                    order.lock().expect("no test panics with it").push(name);
                    Sample::time(1, || 0)
                }
            })
        };
        run("s", 1, &settings(1, 2), &[named("a"), named("b")]).expect("checksums agree");
        assert_eq!(
            *order.lock().expect("no test panics with it"),
            ["a", "b", "b", "a", "a", "b"]
        );
    }
}
