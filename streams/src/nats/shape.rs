//! [`Shape`]: the names of the stream and of the table beside it, and the settings that they must
//! have.
//!
//! | what | name on the server | subjects |
//! |---|---|---|
//! | stream | `tidings-NAME` | `tidings-log.NAME` |
//! | table | the key-value bucket `tidings-NAME`, a stream `KV_tidings-NAME` | `$KV.tidings-NAME.>` |
//! | nudges | no stream keeps them | `tidings-nudge.NAME` |
//!
//! A reader detects missing records by their numbers, and a member by its value. So the server must
//! not remove single records, nor any value. Settings that would do so are refused.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    api::{Api, Info},
    fault::Fault,
};

/// How long the server recognizes a message that it already had.
const DUPLICATES: Duration = Duration::from_secs(120);
/// The shortest retention that a stream may have. Zero would mean unlimited.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long an existing stream must be missing before it is created again. A server forgets a
/// stream that is being deleted before it removes the files. A stream that is created in between
/// loses its files: it accepts writes and holds nothing, until it is deleted too.
const LEFT_ALONE: Duration = Duration::from_millis(500);
/// The maximum size of a message without its record: its headers.
pub(super) const HEADERS: usize = 512;

/// How many servers of a NATS cluster keep a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replicas(pub(super) u8);

/// What is known about a stream before it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Perhaps there never was one.
    Unknown,
    /// It existed: if it is missing, it may be in deletion.
    There,
}

/// Names and settings.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) stream: String,
    pub(super) records: String,
    pub(super) bucket: String,
    /// The beginning of the subjects of values.
    pub(super) values: String,
    pub(super) nudges: String,
    replicas: Replicas,
    largest: usize,
}

impl Shape {
    pub(super) fn new(cluster: &str, replicas: Replicas, largest: usize) -> Self {
        Self {
            stream: format!("tidings-{cluster}"),
            records: format!("tidings-log.{cluster}"),
            bucket: format!("KV_tidings-{cluster}"),
            values: format!("$KV.tidings-{cluster}."),
            nudges: format!("tidings-nudge.{cluster}"),
            replicas,
            largest,
        }
    }

    /// Creates stream and table if they are missing, and checks them if they exist.
    pub(super) async fn ensure(&self, api: &Api, before: Before) -> Result<(), Fault> {
        let (stream, bucket) = (self.stream_config(), self.bucket_config());
        let info = find_or_make(api, &self.stream, &stream, before).await?;
        self.check_stream(&info)?;
        let info = find_or_make(api, &self.bucket, &bucket, before).await?;
        self.check_bucket(&info)
    }

    /// Returns the settings with which the stream keeps its records for a time; `None` if it
    /// already has them.
    pub(super) fn kept_for(info: &Info, retention: Duration) -> Option<Map<String, Value>> {
        let retention = retention.max(SHORTEST);
        let (age, window) = (nanos(retention), nanos(retention.min(DUPLICATES)));
        if info.config.get("max_age").and_then(Value::as_u64) == Some(age) {
            return None;
        }
        let mut config = info.config.clone();
        config.insert("max_age".to_owned(), age.into());
        config.insert("duplicate_window".to_owned(), window.into());
        Some(config)
    }

    fn stream_config(&self) -> Value {
        json!({
            "name": self.stream,
            "subjects": [self.records],
            "retention": "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": self.replicas.0,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msgs_per_subject": -1,
            "max_age": 0, // set once the retention is known
            "duplicate_window": nanos(DUPLICATES),

            "deny_delete": true,
        })
    }

    fn bucket_config(&self) -> Value {
        json!({
            "name": self.bucket,
            "subjects": [format!("{}>", self.values)],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "num_replicas": self.replicas.0,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msgs_per_subject": 1,
            "max_age": 0,
            "deny_delete": true,

            "allow_rollup_hdrs": true, // as other clients make buckets
        })
    }

    fn check_stream(&self, info: &Info) -> Result<(), Fault> {
        let config = Config(&info.config);
        config.check(&self.stream, "subjects", json!([self.records]))?;
        config.check(&self.stream, "retention", json!("limits"))?;
        config.check_unset(&self.stream, "max_msgs_per_subject")?;
        for setting in ["mirror", "sources", "subject_transform", "sealed", "no_ack"] {
            config.check_unset(&self.stream, setting)?;
        }

        match config.number("max_msg_size") {
            Some(most) if most > 0 && most < (self.largest + HEADERS) as i64 => {
                Err(Fault::Unfit(format!(
                    "the stream {} takes messages of {most} bytes, and a record may have {} and \
                     its headers {HEADERS}: raise max_msg_size, or lower the limit of a record",
                    self.stream, self.largest
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_bucket(&self, info: &Info) -> Result<(), Fault> {
        let config = Config(&info.config);
        let subjects = json!([format!("{}>", self.values)]);
        config.check(&self.bucket, "subjects", subjects)?;
        config.check(&self.bucket, "retention", json!("limits"))?;

        for setting in [
            "max_age",
            "mirror",
            "sources",
            "subject_transform",
            "sealed",
            "no_ack",
        ] {
            config.check_unset(&self.bucket, setting)?;
        }

        // With a smaller limit, the bucket would lose members.
        match config.number("max_msgs") {
            Some(most) if most > 0 => Err(unfit(&self.bucket, "max_msgs", &json!(most), "-1")),
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads the settings and the state of a stream, and creates it if it is missing.
async fn find_or_make(
    api: &Api,
    stream: &str,
    config: &Value,
    before: Before,
) -> Result<Info, Fault> {
    match api.info(stream).await {
        Err(fault) if fault.has_no_stream() => {}
        found => return found,
    }
    match before {
        Before::Unknown => {}
        Before::There => api.link.clock.sleep(LEFT_ALONE).await,
    }

    match api.create(stream, config).await {
        // Another node has created it first, with other settings.
        Err(Fault::Refused(refused)) if refused.has_another_stream() => api.info(stream).await,
        made => made,
    }
}

/// The settings of an existing stream.
struct Config<'a>(&'a Map<String, Value>);

impl Config<'_> {
    fn number(&self, setting: &str) -> Option<i64> {
        self.0.get(setting).and_then(Value::as_i64)
    }

    fn check(&self, stream: &str, setting: &str, expected: Value) -> Result<(), Fault> {
        match self.0.get(setting) {
            Some(found) if *found == expected => Ok(()),
            found => {
                let found = found.unwrap_or(&Value::Null);
                Err(unfit(stream, setting, found, &expected.to_string()))
            }
        }
    }

    /// Checks that something is off, without a limit, or not set.
    fn check_unset(&self, stream: &str, setting: &str) -> Result<(), Fault> {
        let Some(found) = self.0.get(setting) else {
            return Ok(());
        };

        let is_unset = match found {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_i64().is_some_and(|number| number <= 0),
            Value::Array(several) => several.is_empty(),
            Value::Bool(true) | Value::String(_) | Value::Object(_) => false,
        };

        match is_unset {
            true => Ok(()),
            false => Err(unfit(stream, setting, found, "unset")),
        }
    }
}

fn unfit(stream: &str, setting: &str, found: &Value, expected: &str) -> Fault {
    Fault::Unfit(format!(
        "the stream {stream} has {setting} {found}, and it must be {expected}: give it that \
         setting, or delete it and have a node make it again"
    ))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape::new("shop", Replicas(1), 1 << 18)
    }

    fn info(config: Value) -> Info {
        let info = json!({
            "created": "2026-11-27T12:45:40.733700044Z",
            "config": config,
            "state": { "messages": 0, "first_seq": 0, "last_seq": 0 },
        });
        serde_json::from_value(info).expect("it is what a server says")
    }

    fn reason(checked: Result<(), Fault>) -> String {
        match checked {
            Err(Fault::Unfit(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_node_makes_fits() {
        let shape = shape();
        shape
            .check_stream(&info(shape.stream_config()))
            .expect("it fits");
        shape
            .check_bucket(&info(shape.bucket_config()))
            .expect("it fits");
    }

    #[test]
    fn a_stream_that_drops_records_is_refused_by_the_setting() {
        let shape = shape();
        for (setting, value) in [
            ("max_msgs_per_subject", json!(1)),
            ("retention", json!("workqueue")),
            ("subjects", json!([shape.records, "more"])),
            ("sources", json!([{ "name": "other" }])),
            ("max_msg_size", json!(1_000)),
        ] {
            let mut config = shape.stream_config();
            config[setting] = value;
            let reason = reason(shape.check_stream(&info(config)));
            assert!(reason.contains(setting), "{reason}");
        }
    }

    #[test]
    fn a_bucket_that_forgets_members_is_refused_by_the_setting() {
        let shape = shape();
        for (setting, value) in [("max_age", json!(1_000)), ("max_msgs", json!(5))] {
            let mut config = shape.bucket_config();
            config[setting] = value;
            let reason = reason(shape.check_bucket(&info(config)));
            assert!(reason.contains(setting), "{reason}");
        }
    }

    #[test]
    fn a_retention_is_set_once_and_leaves_other_settings_alone() {
        let mut config = shape().stream_config();
        config["placement"] = json!({ "cluster": "east" });
        let hour = Duration::from_secs(3_600);
        let kept = Shape::kept_for(&info(config), hour).expect("it differs");
        assert_eq!(kept["placement"]["cluster"], "east");
        assert_eq!(kept["max_age"], 3_600_000_000_000_u64);
        assert_eq!(kept["duplicate_window"], 120_000_000_000_u64);
        assert_eq!(Shape::kept_for(&info(kept.into()), hour), None);

        let none = Shape::kept_for(&info(shape().stream_config()), Duration::ZERO);
        assert_eq!(none.expect("it differs")["max_age"], 1_000_000_000);
    }
}
