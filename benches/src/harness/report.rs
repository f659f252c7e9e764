//! [`Bench`]: a group of subjects, its rows, and where they go.

use std::{fs, io, path::Path};

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use super::{
    contestant::Contestant,
    error::BenchError,
    machine::{Machine, peer_version},
    rounds,
    settings::Settings,
    statistics::{median, spread},
};

/// The name of our own rows.
const OURS: &str = "tidings";

/// One contestant's figure in one subject.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The workload.
    pub subject: String,
    /// `tidings`, or the peer's crate.
    pub contestant: String,
    /// How many threads ran it at once.
    pub threads: usize,
    /// Median time of one operation; absent where the figure is no time.
    pub median_ns: Option<f64>,
    /// The contestant's figure over ours; absent where ours is missing.
    pub ratio_to_ours: Option<f64>,
    /// A figure that is no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The unit of [`value`](Self::value).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// How far the rounds are apart, in per cent of the median.
    #[serde(skip)]
    pub spread: Option<f64>,
}

impl Row {
    fn figure(&self) -> Option<f64> {
        self.median_ns.or(self.value)
    }
}

/// A group of subjects that is run and reported together.
#[derive(Debug)]
pub struct Bench {
    name: String,
    settings: Settings,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Bench {
    /// Starts a group; its result is written to `NAME.json`.
    #[must_use]
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        Self {
            name: name.into(),
            settings,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// How much is run, and on what input.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The rows so far.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Runs one subject on `threads` threads at once and adds a row for each contestant.
    ///
    /// # Errors
    ///
    /// When two contestants get different results from the same input.
    ///
    /// # Panics
    ///
    /// When a contestant does.
    pub fn subject(
        &mut self,
        subject: &str,
        threads: usize,
        contestants: Vec<Contestant<'_>>,
    ) -> Result<(), BenchError> {
        self.run(subject, threads, threads, contestants)
    }

    /// Runs one subject whose contestants bring threads of their own: each turn is called once, and
    /// the rows say `threads`.
    ///
    /// # Errors
    ///
    /// When two contestants get different results from the same input.
    ///
    /// # Panics
    ///
    /// When a contestant does.
    pub fn subject_with_own_threads(
        &mut self,
        subject: &str,
        threads: usize,
        contestants: Vec<Contestant<'_>>,
    ) -> Result<(), BenchError> {
        self.run(subject, threads, 1, contestants)
    }

    fn run(
        &mut self,
        subject: &str,
        threads: usize,
        callers: usize,
        contestants: Vec<Contestant<'_>>,
    ) -> Result<(), BenchError> {
        eprintln!("{}: {subject}, threads: {threads}", self.name);
        let rounds = rounds::run(subject, callers, &self.settings, &contestants)?;
        let rows = contestants
            .iter()
            .zip(rounds)
            .map(|(contestant, mut rounds)| Row {
                subject: subject.into(),
                contestant: contestant.name.clone(),
                threads,
                median_ns: Some(median(&mut rounds)),
                ratio_to_ours: None,
                value: None,
                unit: None,
                spread: Some(spread(&mut rounds)),
            });
        self.rows.extend(rate(rows.collect()));
        Ok(())
    }

    /// Adds rows of times that were measured elsewhere: contestants and nanoseconds per operation.
    pub fn times(&mut self, subject: &str, threads: usize, figures: &[(&str, f64)]) {
        self.figures(subject, threads, None, figures);
    }

    /// Adds rows of figures that are no times: contestants and their values in one unit.
    pub fn values(
        &mut self,
        subject: &str,
        threads: usize,
        unit: &'static str,
        figures: &[(&str, f64)],
    ) {
        self.figures(subject, threads, Some(unit), figures);
    }

    fn figures(
        &mut self,
        subject: &str,
        threads: usize,
        unit: Option<&'static str>,
        figures: &[(&str, f64)],
    ) {
        let rows = figures.iter().map(|(contestant, figure)| Row {
            subject: subject.into(),
            contestant: (*contestant).into(),
            threads,
            median_ns: unit.is_none().then_some(*figure),
            ratio_to_ours: None,
            value: unit.is_some().then_some(*figure),
            unit,
            spread: None,
        });
        self.rows.extend(rate(rows.collect()));
    }

    /// Adds a line that is printed below the table.
    pub fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    /// The result for a person: machine, seed, versions, the table, the notes.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header([
            "subject",
            "threads",
            "contestant",
            "median",
            "ratio to ours",
            "spread",
        ]);
        for column in [1, 3, 4, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for row in &self.rows {
            table.add_row([
                row.subject.clone(),
                row.threads.to_string(),
                row.contestant.clone(),
                match row.unit {
                    Some(unit) => format!("{} {unit}", number(row.value)),
                    None => time(row.median_ns),
                },
                row.ratio_to_ours
                    .map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
                row.spread
                    .map_or_else(|| "-".into(), |spread| format!("{spread:.0} %")),
            ]);
        }
        let notes: String = self.notes.iter().map(|note| format!("\n{note}")).collect();
        format!(
            "{}: {}; seed {:#x}; {} rounds of {} slices\n{}\n\n{table}\n{notes}",
            self.name,
            Machine::this(),
            self.settings.seed,
            self.settings.rounds,
            self.settings.slices,
            self.versions(),
        )
    }

    fn versions(&self) -> String {
        let mut names: Vec<_> = self
            .rows
            .iter()
            .map(|row| row.contestant.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let versions: Vec<_> = names
            .into_iter()
            .filter_map(|name| {
                // A row may say more than the crate: `tokio broadcast`.
                let name = name.split(' ').next().unwrap_or(name);
                Some(format!("{name} {}", peer_version(name)?))
            })
            .collect();
        format!("versions: {}", versions.join(", "))
    }

    /// Writes the rows to `NAME.json` in a directory, which is made when it is missing.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn write(&self, directory: &Path) -> Result<(), BenchError> {
        write_json(directory, &self.name, &self.rows)
    }
}

/// Writes `NAME.json` into a directory, which is made when it is missing.
///
/// # Errors
///
/// When that fails.
pub fn write_json<T: Serialize>(
    directory: &Path,
    name: &str,
    rows: &[T],
) -> Result<(), BenchError> {
    let json = serde_json::to_string_pretty(rows).map_err(io::Error::other);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(directory.join(format!("{name}.json")), json? + "\n"))
        .map_err(BenchError::Write)
}

/// A time in the unit that fits.
fn time(nanoseconds: Option<f64>) -> String {
    match nanoseconds {
        Some(time) if time >= 1e6 => format!("{} ms", number(Some(time / 1e6))),
        Some(time) if time >= 1e4 => format!("{} us", number(Some(time / 1e3))),
        _ => format!("{} ns", number(nanoseconds)),
    }
}

/// Three significant digits, and whole numbers from 100 on.
fn number(figure: Option<f64>) -> String {
    match figure {
        None => "-".into(),
        Some(figure) if figure.abs() >= 100.0 => format!("{figure:.0}"),
        Some(figure) if figure.abs() >= 10.0 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.2}"),
    }
}

/// Sets the ratio to ours in the rows of one subject.
fn rate(mut rows: Vec<Row>) -> Vec<Row> {
    let ours = rows
        .iter()
        .find(|row| row.contestant == OURS)
        .and_then(Row::figure);
    for row in &mut rows {
        row.ratio_to_ours = row
            .figure()
            .zip(ours)
            .map(|(figure, ours)| figure / ours)
            .filter(|ratio| ratio.is_finite());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_contestants_time_over_ours() {
        let mut bench = Bench::new("b", Settings::quick());
        bench.times(
            "s",
            1,
            &[("moka", 30.0), ("tidings", 10.0), ("bare_map", 5.0)],
        );
        let ratios: Vec<_> = bench.rows().iter().map(|row| row.ratio_to_ours).collect();
        assert_eq!(ratios, [Some(3.0), Some(1.0), Some(0.5)]);
    }

    #[test]
    fn without_our_row_there_is_no_ratio() {
        let mut bench = Bench::new("b", Settings::quick());
        bench.times("s", 1, &[("moka", 30.0)]);
        bench.times("t", 1, &[("tidings", 0.0), ("moka", 0.0)]);
        assert!(bench.rows().iter().all(|row| row.ratio_to_ours.is_none()));
    }

    #[test]
    fn json_rows_have_the_agreed_fields() {
        let mut bench = Bench::new("b", Settings::quick());
        bench.times("s", 2, &[("tidings", 10.0)]);
        bench.values("m", 1, "bytes", &[("tidings", 200.0)]);
        let json = serde_json::to_value(bench.rows()).expect("rows are plain data");
        assert_eq!(
            json,
            serde_json::json!([
                {"subject": "s", "contestant": "tidings", "threads": 2, "median_ns": 10.0, "ratio_to_ours": 1.0},
                {"subject": "m", "contestant": "tidings", "threads": 1, "median_ns": null, "ratio_to_ours": 1.0,
                 "value": 200.0, "unit": "bytes"},
            ])
        );
    }

    #[test]
    fn a_subject_adds_a_row_for_each_contestant_and_is_printed() {
        let mut bench = Bench::new("b", Settings::quick());
        let contestant = |name| Contestant::new(name, |_| |_| super::super::Sample::time(10, || 1));
        bench
            .subject("s", 2, vec![contestant("tidings"), contestant("moka")])
            .expect("checksums agree");
        assert_eq!(bench.rows().len(), 2);
        bench
            .subject_with_own_threads("t", 4, vec![contestant("tidings")])
            .expect("checksums agree");
        assert_eq!(bench.rows().last().map(|row| row.threads), Some(4));
        let table = bench.table();
        for part in ["moka 0.12.", "seed 0x", "| s ", "cores"] {
            assert!(table.contains(part), "{part:?} is missing from\n{table}");
        }
    }

    #[test]
    fn times_are_printed_in_the_unit_that_fits() {
        let times = [9_999.0, 10_000.0, 2_500_000.0].map(|nanoseconds| time(Some(nanoseconds)));
        assert_eq!(times, ["9999 ns", "10.0 us", "2.50 ms"]);
    }
}
