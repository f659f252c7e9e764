//! [`Registry`]: a recorder that is filled and rendered in turns.
//!
//! Counters and gauges have the values that were published last; those that were not published
//! again are not rendered, since what they counted is gone (a queue, a worker). Histograms are
//! given what is new each time, so they stay. The lines and their escaping are left to the library
//! that knows the format.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use indexmap::IndexMap;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString,
    Unit,
};
use metrics_exporter_prometheus::{LabelSet, formatting};
use tidings::core::meter::Distribution;

/// The published series, by name.
#[derive(Debug, Default)]
pub(super) struct Registry {
    families: Mutex<BTreeMap<String, Family>>,
}

/// The series of one name.
#[derive(Debug, Default)]
struct Family {
    help: String,
    series: BTreeMap<Vec<Label>, Series>,
}

#[derive(Debug)]
struct Series {
    key: Key,
    figure: Figure,
    /// Whether it was published since the registry was last begun.
    is_current: AtomicBool,
}

#[derive(Clone, Debug)]
enum Figure {
    Counter(Arc<AtomicU64>),
    /// The bits of a float.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// A histogram's values, by the bounds that they do not exceed.
#[derive(Debug)]
struct Buckets {
    bounds: Vec<f64>,
    counted: Mutex<Counted>,
}

#[derive(Clone, Debug)]
struct Counted {
    /// One for each bound, and one for values above all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Registry {
    /// Begins to publish everything once more.
    pub(super) fn begin(&mut self) {
        for family in self.families().values_mut() {
            for series in family.series.values_mut() {
                *series.is_current.get_mut() = matches!(series.figure, Figure::Histogram(_));
            }
        }
    }

    /// Renders what was published since, and forgets the rest.
    pub(super) fn render(&mut self) -> String {
        let mut text = String::new();
        let mut families = self.families();
        for (name, family) in families.iter_mut() {
            family
                .series
                .retain(|_, series| series.is_current.load(Relaxed));
            family.render(name, &mut text);
        }
        text
    }

    fn families(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, name: &KeyName, help: &SharedString) {
        let mut families = self.families();
        let family = families.entry(name.as_str().to_owned()).or_default();
        if family.help != **help {
            family.help = help.to_string();
        }
    }

    /// Returns the figure of a key, new or existing. A key that was of another sort before starts
    /// from zero.
    fn figure(&self, key: &Key, new: impl Fn() -> Figure) -> Figure {
        let mut labels: Vec<Label> = key.labels().cloned().collect();
        labels.sort();

        let mut families = self.families();
        let family = families.entry(key.name().to_owned()).or_default();
        let fresh = || Series {
            key: key.clone(),
            figure: new(),
            is_current: AtomicBool::new(true),
        };

        let series = family.series.entry(labels).or_insert_with(fresh);
        if std::mem::discriminant(&series.figure) != std::mem::discriminant(&new()) {
            *series = fresh();
        }
        series.is_current.store(true, Relaxed);
        series.figure.clone()
    }
}

impl Family {
    fn render(&self, name: &str, text: &mut String) {
        let Some(first) = self.series.values().next() else {
            return;
        };

        if !self.help.is_empty() {
            formatting::write_help_line(text, name, None, None, &self.help);
        }
        formatting::write_type_line(text, name, None, None, first.figure.word());

        for series in self.series.values() {
            series.render(name, text);
        }
        text.push('\n');
    }
}

impl Series {
    fn render(&self, name: &str, text: &mut String) {
        let labels = LabelSet::from_key_and_global(&self.key, &IndexMap::default());
        let none = None::<(&'static str, &str)>;
        match &self.figure {
            Figure::Counter(count) => {
                formatting::write_metric_line(
                    text,
                    name,
                    None,
                    &labels,
                    none,
                    count.load(Relaxed),
                    None,
                );
            }
            Figure::Gauge(bits) => {
                let value = f64::from_bits(bits.load(Relaxed));
                formatting::write_metric_line(text, name, None, &labels, none, value, None);
            }
            Figure::Histogram(buckets) => {
                let Counted { counts, sum } = buckets.counted();
                let mut total = 0;
                let bounds = buckets.bounds.iter().map(ToString::to_string);
                for (count, bound) in counts.iter().zip(bounds.chain(["+Inf".to_owned()])) {
                    total += count;
                    let bound = Some(("le", bound));
                    formatting::write_metric_line(
                        text,
                        name,
                        Some("bucket"),
                        &labels,
                        bound,
                        total,
                        None,
                    );
                }

                formatting::write_metric_line(text, name, Some("sum"), &labels, none, sum, None);
                formatting::write_metric_line(
                    text,
                    name,
                    Some("count"),
                    &labels,
                    none,
                    total,
                    None,
                );
            }
        }
    }
}

impl Figure {
    fn word(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Buckets {
    /// Chooses bounds by what the name says it measures: bytes in powers of four from 64, anything
    /// else as seconds.
    fn of(name: &str) -> Self {
        let bounds = if name.ends_with("_bytes") {
            (3..16).map(|power| 4_f64.powi(power)).collect()
        } else {
            Distribution::bounds()
        };
        let counts = vec![0; bounds.len() + 1];
        Self {
            bounds,
            counted: Mutex::new(Counted { counts, sum: 0.0 }),
        }
    }

    fn counted(&self) -> Counted {
        self.counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.counts[bucket] += count as u64;
        counted.sum += value * count as f64;
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.figure(key, || Figure::Counter(Arc::default())) {
            Figure::Counter(count) => Counter::from_arc(count),
            Figure::Gauge(_) | Figure::Histogram(_) => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.figure(key, || Figure::Gauge(Arc::default())) {
            Figure::Gauge(bits) => Gauge::from_arc(bits),
            Figure::Counter(_) | Figure::Histogram(_) => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.figure(key, || Figure::Histogram(Arc::new(Buckets::of(key.name())))) {
            Figure::Histogram(buckets) => Histogram::from_arc(buckets),
            Figure::Counter(_) | Figure::Gauge(_) => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, gauge, histogram};

    use super::*;

    fn rendered(registry: &mut Registry, publish: impl Fn()) -> String {
        registry.begin();
        metrics::with_local_recorder(&*registry, publish);
        registry.render()
    }

    #[test]
    fn counters_and_gauges_are_what_was_published_last() {
        let mut registry = Registry::default();
        let text = rendered(&mut registry, || {
            describe_counter!("posts_total", "Posts\nso far");
            counter!("posts_total", "event" => "a\"b\n").absolute(7);
            counter!("posts_total", "event" => "c").absolute(1);
            gauge!("depth").set(1.5);
        });
        assert_eq!(
            text,
            "# TYPE depth gauge\ndepth 1.5\n\n# HELP posts_total Posts\\nso far\n\
             # TYPE posts_total counter\nposts_total{event=\"a\\\"b\\n\"} 7\nposts_total{event=\"c\"} 1\n\n"
        );
        let text = rendered(&mut registry, || {
            counter!("posts_total", "event" => "c").absolute(2);
        });
        assert!(
            text.ends_with("counter\nposts_total{event=\"c\"} 2\n\n"),
            "{text}"
        );
        assert!(
            !text.contains("depth"),
            "what is not published is gone: {text}"
        );
    }

    #[test]
    fn histograms_add_up_and_are_cumulative() {
        let mut registry = Registry::default();
        let publish = || {
            let seconds = histogram!("took_seconds");
            seconds.record_many(3e-6, 1_000_000);
            seconds.record(0.001);
            seconds.record(10_000.0);
        };
        rendered(&mut registry, publish);
        let text = rendered(&mut registry, publish);
        let text = text + &rendered(&mut registry, || ());
        for line in [
            "# TYPE took_seconds histogram",
            "took_seconds_bucket{le=\"0.000001\"} 0",
            "took_seconds_bucket{le=\"0.000004\"} 2000000",
            "took_seconds_bucket{le=\"0.001024\"} 2000002",
            "took_seconds_bucket{le=\"+Inf\"} 2000004",
            "took_seconds_count 2000004",
        ] {
            assert_eq!(
                text.matches(&format!("{line}\n")).count(),
                2,
                "{line}: {text}"
            );
        }
    }
}
