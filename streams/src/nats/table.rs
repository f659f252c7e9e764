//! [`Table`]: the values beside the stream, in a key-value bucket.
//!
//! The value of the epoch also identifies its stream, by the time of the stream's creation. So a
//! stream that was deleted and created again has no epoch, even if the bucket still exists.

use async_nats::HeaderMap;
use futures_util::future::{join_all, try_join_all};
use tidings_core::log::Epoch;

use super::{
    api::{Api, Kind, Stored},
    fault::Fault,
    shape::Shape,
};
use crate::{
    engine::{EPOCH, Expected, Held, Written},
    wire::{epoch_of_text, epoch_text},
};

/// How many values are requested at a time.
const AT_ONCE: usize = 64;
/// How often a write is retried because the value has changed in the meantime.
const ATTEMPTS: usize = 8;
/// The header by which a write names the message that it expects to be the newest of its subject.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The values of one stream.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub(super) api: &'a Api,
    pub(super) shape: &'a Shape,
}

/// The epoch in the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bound {
    epoch: Epoch,
    /// When the stream of this epoch was created.
    created: String,
}

impl Bound {
    pub(super) fn of_text(text: &str) -> Option<Self> {
        let (epoch, created) = text.split_once(' ')?;
        Some(Self {
            epoch: epoch_of_text(epoch)?,
            created: created.to_owned(),
        })
    }

    pub(super) fn text(epoch: Epoch, created: &str) -> String {
        format!("{} {created}", epoch_text(epoch))
    }

    /// Returns the epoch, if it belongs to the stream that was created at this time.
    pub(super) fn epoch_of(self, created: &str) -> Option<Epoch> {
        (self.created == created).then_some(self.epoch)
    }
}

impl Table<'_> {
    fn subject(&self, name: &str) -> String {
        format!("{}{name}", self.shape.values)
    }

    async fn newest(&self, name: &str) -> Result<Option<Stored>, Fault> {
        let (bucket, subject) = (&self.shape.bucket, self.subject(name));
        self.api.last(bucket, &subject).await
    }

    /// Reads one value.
    pub(super) async fn value(&self, name: &str) -> Result<Option<Held>, Fault> {
        let newest = self.newest(name).await?;
        let Some(stored) = newest.filter(|stored| stored.kind == Kind::Value) else {
            return Ok(None);
        };
        let value = String::from_utf8(stored.payload);
        Ok(Some(Held {
            value: value.map_err(|error| Fault::Malformed(error.into()))?,
            revision: stored.number,
        }))
    }

    /// Reads several values.
    pub(super) async fn values(&self, names: &[&str]) -> Result<Vec<Option<String>>, Fault> {
        let held = try_join_all(names.iter().map(|name| self.value(name))).await?;
        Ok(held.into_iter().map(|held| Some(held?.value)).collect())
    }

    /// Reads the epoch, and the creation time of its stream.
    pub(super) async fn epoch(&self) -> Result<Option<Bound>, Fault> {
        let held = self.value(EPOCH).await?;
        Ok(held.and_then(|held| Bound::of_text(&held.value)))
    }

    /// Lists all values except the epoch.
    pub(super) async fn all(&self) -> Result<Vec<(String, Held)>, Fault> {
        let (bucket, values) = (&self.shape.bucket, &self.shape.values);
        let info = self.api.info_of(bucket, &format!("{values}>")).await?;
        let subjects = info.state.subjects.into_keys();
        let names = subjects.filter_map(|subject| Some(subject.strip_prefix(values)?.to_owned()));
        let names: Vec<_> = names.filter(|name| name != EPOCH).collect();

        let mut all = Vec::with_capacity(names.len());
        for some in names.chunks(AT_ONCE) {
            let held = join_all(some.iter().map(|name| self.value(name))).await;
            for (name, held) in some.iter().zip(held) {
                if let Some(held) = held? {
                    all.push((name.clone(), held));
                }
            }
        }

        Ok(all)
    }

    /// Writes or removes a value, if the present one is as expected.
    pub(super) async fn replace(
        &self,
        name: &str,
        expected: Expected,
        value: Option<&str>,
    ) -> Result<Written, Fault> {
        match (expected, value) {
            (Expected::Any, Some(value)) => self.write(name, None, value).await,
            (Expected::Revision(revision), Some(value)) => {
                self.write(name, Some(revision), value).await
            }
            (Expected::Absent, Some(value)) => self.write_new(name, value).await,
            (Expected::Revision(revision), None) => self.remove(name, revision).await,
            (Expected::Absent, None) => Ok(match self.value(name).await? {
                Some(_) => Written::No,
                None => Written::Yes,
            }),
            (Expected::Any, None) => {
                for _ in 0..ATTEMPTS {
                    let Some(held) = self.value(name).await? else {
                        return Ok(Written::Yes);
                    };
                    if self.remove(name, held.revision).await? == Written::Yes {
                        return Ok(Written::Yes);
                    }
                }
                Ok(Written::No)
            }
        }
    }

    /// Writes a value that does not exist: it never did, or was removed.
    async fn write_new(&self, name: &str, value: &str) -> Result<Written, Fault> {
        if self.write(name, Some(0), value).await? == Written::Yes {
            return Ok(Written::Yes);
        }
        match self.newest(name).await? {
            Some(stored) if stored.kind == Kind::Removed => {
                self.write(name, Some(stored.number), value).await
            }
            Some(_) | None => Ok(Written::No),
        }
    }

    async fn write(
        &self,
        name: &str,
        expected: Option<u64>,
        value: &str,
    ) -> Result<Written, Fault> {
        self.publish(name, expected, HeaderMap::new(), value).await
    }

    /// Writes a removal marker, and then removes the marker too, or there would be one for every
    /// node that ever existed.
    async fn remove(&self, name: &str, revision: u64) -> Result<Written, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(Kind::HEADER, Kind::REMOVAL);
        let removed = self.publish(name, Some(revision), headers, "").await?;
        if removed == Written::Yes
            && let Err(fault) = self.tidy(name).await
        {
            tracing::debug!(?fault, "the note of a removed value is left in the bucket");
        }
        Ok(removed)
    }

    async fn tidy(&self, name: &str) -> Result<(), Fault> {
        let newest = self.newest(name).await?;
        let Some(note) = newest.filter(|stored| stored.kind == Kind::Removed) else {
            return Ok(());
        };
        let (bucket, subject) = (&self.shape.bucket, self.subject(name));
        self.api.purge(bucket, &subject, note.number + 1).await
    }

    async fn publish(
        &self,
        name: &str,
        expected: Option<u64>,
        mut headers: HeaderMap,
        value: &str,
    ) -> Result<Written, Fault> {
        if let Some(expected) = expected {
            headers.insert(EXPECTED, expected.to_string());
        }
        let (subject, value) = (self.subject(name), value.as_bytes().to_vec());
        match self.api.publish(&subject, headers, value).await {
            Ok(_) => Ok(Written::Yes),
            Err(Fault::Refused(refused)) if refused.has_another_last() => Ok(Written::No),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_epoch_is_of_one_stream() {
        let epoch = Epoch::new(7, Uuid::from_u128(5));
        let text = Bound::text(epoch, "2026-11-27T12:45:40.733700044Z");
        let of = |created| Bound::of_text(&text).expect("it is one").epoch_of(created);
        assert_eq!(of("2026-11-27T12:45:40.733700044Z"), Some(epoch));
        assert_eq!(of("2026-11-27T12:45:41Z"), None);
        for wrong in ["", "7", "7.x 2026"] {
            assert_eq!(Bound::of_text(wrong), None, "{wrong:?}");
        }
    }
}
