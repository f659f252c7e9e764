//! The bytes of a record, and the text of an epoch.
//!
//! A record is one JSON object. `v` is the version of the form, 1; `id` is random; `epoch` is the
//! epoch in which it was appended, as its number, a dot and its id; `node` is the node that
//! appended it, left out if there is none; `kind` is the kind of the record, which decides the
//! further members:
//!
//! | kind | further members |
//! |---|---|
//! | `begin` | none: an epoch begins |
//! | `beat` | none: a node is alive, and keeps the newest record young |
//! | `evict` | `of`, the id of the eviction; `cache`; and one of `keys` and `digests`, `tag`, or `all` |
//! | `event` | `of`, the id of the event; `source`, `event`, and `payload`, JSON as text |
//!
//! `keys` is a list of cache keys as text. Those of entities with secrets are in `digests` instead:
//! an object with `check`, which identifies the cluster's key they were made with, and `of`, a list
//! of digests, both in hexadecimal digits.
//!
//! Unknown members are ignored. A record of another version or of an unknown kind, or one that
//! cannot be read, is a gap for its reader. A change that an older program must not ignore gets
//! another version or another kind. The files in `golden/` hold one record of each kind; they are
//! never changed, and every version reads them.

// The text of an epoch, and of bytes.
pub(crate) mod text;

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidings_core::{
    BoxError, CacheKey,
    log::{self, Epoch, EvictionTarget, Posted},
};
use uuid::Uuid;

pub use self::text::{epoch_of_text, epoch_text};
use crate::secret::{Check, Named, Secrets};

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Returns the id of a record, from any bytes: records with different random ids have different
/// ids.
pub(crate) fn id_of(bytes: &[u8]) -> Uuid {
    let digest = Sha256::digest(bytes);
    Uuid::from_bytes(std::array::from_fn(|at| digest[at]))
}

/// A decoded record.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) epoch: Epoch,
    pub(crate) node: Option<Arc<str>>,
    pub(crate) what: What,
}

/// The content of a record.
#[derive(Debug, PartialEq)]
pub(crate) enum What {
    /// An epoch begins.
    Begin,
    /// A node is alive.
    Beat,
    /// Every node evicts something.
    Evict {
        of: Uuid,
        cache: Arc<str>,
        target: Target,
    },
    /// The handlers of an event run on every node.
    Event(Posted),
}

/// What to evict from a cache.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    Named(Named),
    Tag(Arc<str>),
    All,
}

/// Encodes the record of an epoch's beginning, or of a node's heartbeat.
pub(crate) fn note(kind: Note, id: Uuid, epoch: Epoch, node: Option<&str>) -> Vec<u8> {
    let body = match kind {
        Note::Begin => Body::Begin,
        Note::Beat => Body::Beat,
    };
    bytes(id, epoch, node, body)
}

/// A record without content for the nodes' caches and handlers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    Begin,
    Beat,
}

/// Encodes the record of an eviction or an event.
pub(crate) fn entry(entry: &log::Appended, id: Uuid, epoch: Epoch, secrets: &Secrets) -> Vec<u8> {
    let body = match entry {
        log::Appended::Evict(eviction) => {
            let mut body = Evict {
                of: eviction.id,
                cache: Cow::Borrowed(&eviction.cache),
                keys: None,
                digests: None,
                tag: None,
                all: None,
            };
            match &eviction.target {
                EvictionTarget::Keys(keys) => {
                    let named = secrets.name(keys);
                    let text = |key: &CacheKey| Cow::Owned(key.as_str().to_owned());
                    body.keys = Some(named.keys.iter().map(text).collect());
                    body.digests = named.check.map(|check| Digests {
                        check: text::hex(&check.0),
                        of: named.digests.iter().map(|it| text::hex(&it.0)).collect(),
                    });
                }
                EvictionTarget::Tag(tag) => body.tag = Some(Cow::Borrowed(tag)),
                EvictionTarget::All => body.all = Some(true),
            }

            Body::Evict(body)
        }
        log::Appended::Event(posted) => Body::Event(Event {
            of: posted.id,
            source: Cow::Borrowed(&posted.source),
            event: Cow::Borrowed(&posted.event),
            payload: Cow::Borrowed(&posted.payload),
        }),
    };
    bytes(id, epoch, entry.origin(), body)
}

fn bytes(id: Uuid, epoch: Epoch, node: Option<&str>, body: Body<'_>) -> Vec<u8> {
    let record = Written {
        v: VERSION,
        id,
        epoch: Cow::Owned(epoch_text(epoch)),
        node: node.map(Cow::Borrowed),
        body,
    };
    serde_json::to_vec(&record).expect("strings and numbers, and no map with other keys")
}

/// Decodes a record.
///
/// # Errors
///
/// It is of another version, or malformed. The text says which, and does not repeat any of its
/// content.
pub(crate) fn read(bytes: &[u8]) -> Result<Record, BoxError> {
    let version: Version = serde_json::from_slice(bytes).map_err(|_| "it is no record")?;
    if version.v != VERSION {
        let of = version.v;
        return Err(format!("it is of version {of}, and this program reads {VERSION}").into());
    }
    let malformed = |_| "it is malformed, or of a kind that this program does not know";
    let record: Written<'_> = serde_json::from_slice(bytes).map_err(malformed)?;

    let epoch = epoch_of_text(&record.epoch).ok_or("its epoch is malformed")?;
    let node: Option<Arc<str>> = record.node.map(|node| node.into());
    let what = match record.body {
        Body::Begin => What::Begin,
        Body::Beat => What::Beat,
        Body::Evict(body) => What::Evict {
            of: body.of,
            cache: (&*body.cache).into(),
            target: body.target().ok_or("it does not say what to evict")?,
        },
        Body::Event(body) => What::Event(Posted {
            id: body.of,
            origin: node.clone(),
            source: body.source.into(),
            event: body.event.into(),
            payload: body.payload.into(),
        }),
    };
    Ok(Record { epoch, node, what })
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    v: u32,
    id: Uuid,
    epoch: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Cow<'a, str>>,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Body<'a> {
    Begin,
    Beat,
    Evict(Evict<'a>),
    Event(Event<'a>),
}

#[derive(Serialize, Deserialize)]
struct Evict<'a> {
    of: Uuid,
    cache: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<Cow<'a, str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digests: Option<Digests>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct Digests {
    check: String,
    of: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Event<'a> {
    of: Uuid,
    source: Cow<'a, str>,
    event: Cow<'a, str>,
    payload: Cow<'a, str>,
}

impl Evict<'_> {
    /// Returns what to evict; `None` unless it is exactly one thing.
    fn target(&self) -> Option<Target> {
        let is_named = self.keys.is_some() || self.digests.is_some();
        match (is_named, &self.tag, self.all) {
            (true, None, None) => {
                let keys = self.keys.iter().flatten();
                let mut named = Named {
                    keys: keys.map(|key| CacheKey::from_text(key)).collect(),
                    ..Named::default()
                };
                if let Some(digests) = &self.digests {
                    let of = digests.of.iter().map(|text| text::of_hex(text));
                    let of = of.map(|it| it.map(log::Digest));
                    named.digests = of.collect::<Option<_>>()?;
                    named.check = Some(Check(text::of_hex(&digests.check)?));
                }

                Some(Target::Named(named))
            }
            (false, Some(tag), None) => Some(Target::Tag((&**tag).into())),
            (false, None, Some(true)) => Some(Target::All),
            (true | false, _, _) => None,
        }
    }
}

#[cfg(test)]
mod tests;
