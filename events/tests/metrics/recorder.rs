//! A recorder of the `metrics` facade that keeps what is recorded. The cache's tests use it too.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
    SharedString, Unit,
};

/// What was recorded under one name and its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meter {
    /// The value of a counter.
    Counter(u64),
    /// The value of a gauge.
    Gauge(f64),
    /// Values of a histogram, and how often each was recorded, in order.
    Histogram(Vec<(f64, usize)>),
}

/// By name and labels: `name{label=value,..}`, in the order in which the labels are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<BTreeMap<String, Meter>>>);

impl Recorder {
    pub(crate) fn meters(&self) -> BTreeMap<String, Meter> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// # Panics
    ///
    /// When nothing was recorded under the name.
    pub(crate) fn meter(&self, name: &str) -> Meter {
        let meters = self.meters();
        match meters.get(name) {
            Some(meter) => meter.clone(),
            None => panic!("no {name} in {:#?}", meters.keys()),
        }
    }

    fn handle(&self, key: &Key, meter: Meter) -> Arc<Handle> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = match labels.is_empty() {
            true => key.name().to_owned(),
            false => format!("{}{{{}}}", key.name(), labels.join(",")),
        };
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters.entry(name.clone()).or_insert(meter);
        Arc::new(Handle {
            recorder: self.clone(),
            name,
        })
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key, Meter::Counter(0)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key, Meter::Gauge(0.0)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle(key, Meter::Histogram(Vec::new())))
    }
}

struct Handle {
    recorder: Recorder,
    name: String,
}

impl Handle {
    fn change(&self, change: impl FnOnce(&mut Meter)) {
        let mut meters = (self.recorder.0.lock()).unwrap_or_else(PoisonError::into_inner);
        meters.entry(self.name.clone()).and_modify(change);
    }
}

impl CounterFn for Handle {
    fn increment(&self, by: u64) {
        self.change(|meter| {
            if let Meter::Counter(count) = meter {
                *count += by;
            }
        });
    }

    fn absolute(&self, value: u64) {
        self.change(|meter| *meter = Meter::Counter(value));
    }
}

impl GaugeFn for Handle {
    fn increment(&self, by: f64) {
        self.change(|meter| {
            if let Meter::Gauge(value) = meter {
                *value += by;
            }
        });
    }

    fn decrement(&self, by: f64) {
        GaugeFn::increment(self, -by);
    }

    fn set(&self, value: f64) {
        self.change(|meter| *meter = Meter::Gauge(value));
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.change(|meter| {
            if let Meter::Histogram(values) = meter {
                values.push((value, count));
            }
        });
    }
}
