//! [`KeyAuth`]: identifies the client by the key it sends.
//!
//! It makes two lookups through the cache: the credential by its cache key, then the consumer by
//! its primary key. Both keys are the rows' own, so a change of either row evicts its entry without
//! a handler of this plugin. A worker's L1 holds both in the form in which they are used, with
//! headers ready to be set, and finds them by the bytes of the key and of the id. A request whose
//! rows are in L1 formats nothing.
//!
//! A key without a credential is cached as absent. Absences have a zone of their own.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use tidings::{
    BoxError, Dao, Entity, Field, LoadRows as _, Worker,
    cache::{GetError, View as Cached},
};
use uuid::Uuid;

use super::api_key::{ApiKey, api_key, take_api_key};
use crate::{
    digest,
    entities::{Consumer, KeyAuthCredential},
    live::{Live, View},
    plugin::{Plugin, ProxyRequest, Refusal, Response},
    settings::{KeyForwarding, KeyNames, KeyStorage},
};

const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Lets requests with a known key pass, and tells the upstream whose key it is.
pub(crate) struct KeyAuth {
    names: View<KeyNames>,
    forwarding: KeyForwarding,
    storage: KeyStorage,
    /// By key.
    credentials: Cached<KeyAuthCredential, Credential>,
    /// By id.
    consumers: Cached<Consumer, Identity>,
    credential_rows: Dao<KeyAuthCredential>,
    consumer_rows: Dao<Consumer>,
    /// The maximum number of bytes of a key that can be stored.
    longest_key: usize,
}

/// Where keys are looked for, and whether the upstream sees them.
#[derive(Debug)]
pub(crate) struct KeyAuthConfig {
    pub(crate) names: Live<KeyNames>,
    pub(crate) forwarding: KeyForwarding,
    pub(crate) storage: KeyStorage,
}

/// A credential as a worker's L1 holds it.
#[derive(Debug)]
struct Credential {
    id: HeaderValue,
    /// The id of the consumer; `None` if the row has none or is disabled.
    consumer: Option<Uuid>,
}

/// A consumer as a worker's L1 holds it.
#[derive(Debug)]
struct Identity {
    consumer: Arc<Consumer>,
    id: HeaderValue,
    username: Option<HeaderValue>,
    custom_id: Option<HeaderValue>,
}

impl Credential {
    fn of(row: &KeyAuthCredential) -> Self {
        Self {
            id: text(&row.id.to_string()).unwrap_or_else(|| HeaderValue::from_static("")),
            consumer: row
                .consumer
                .as_ref()
                .filter(|_| row.enabled)
                .map(|consumer| consumer.id),
        }
    }
}

impl Identity {
    fn of(row: &Consumer) -> Self {
        Self {
            id: text(&row.id.to_string()).unwrap_or_else(|| HeaderValue::from_static("")),
            username: row.username.as_deref().and_then(text),
            custom_id: row.custom_id.as_deref().and_then(text),
            consumer: Arc::new(row.clone()),
        }
    }
}

/// Makes a header value of a text; `None` if no header can hold it, for example a line end.
fn text(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

impl KeyAuth {
    async fn credential(&self, key: &str) -> Result<Option<Arc<Credential>>, GetError> {
        let rows = &self.credential_rows;
        // The load carries the time that the row has left by the database's clock, so the cache
        // does not serve it later.
        let load = || rows.load_by("key", key);
        self.credentials.get(key, load).await
    }

    async fn identity(&self, id: Uuid) -> Result<Option<Arc<Identity>>, GetError> {
        let rows = &self.consumer_rows;
        let load = || rows.select(id);
        self.consumers.get(id, load).await
    }

    async fn authenticate(&self, key: &[u8]) -> Result<(Arc<Credential>, Arc<Identity>), Response> {
        // A key that is too long to be stored need not be looked up. If its absence were cached,
        // any client could fill the cache with keys as long as a head may be.
        if key.len() > self.longest_key {
            return Err(Refusal::UnknownKey.answer());
        }

        // Keys are text: bytes that are not UTF-8 are no one's key.
        let key = std::str::from_utf8(key).map_err(|_| Refusal::UnknownKey.answer())?;
        // Nor is a digest a key: reading the database gives no one access.
        if digest::is_one(key) {
            return Err(Refusal::UnknownKey.answer());
        }

        let digest = match self.storage {
            KeyStorage::Plain => None,
            KeyStorage::Digest => Some(digest::of(key)),
        };
        let stored = digest.as_deref().unwrap_or(key);
        let credential = self
            .credential(stored)
            .await
            .map_err(|error| failed(&error))?;
        let credential = credential.ok_or_else(|| Refusal::UnknownKey.answer())?;
        let Some(id) = credential.consumer else {
            return Err(Refusal::UnknownKey.answer());
        };

        let identity = self.identity(id).await.map_err(|error| failed(&error))?;
        // It was deleted between the two lookups, and its credentials with it.
        let identity = identity.ok_or_else(|| Refusal::UnknownKey.answer())?;
        Ok((credential, identity))
    }
}

impl Plugin for KeyAuth {
    type Config = KeyAuthConfig;

    fn init_worker(config: &KeyAuthConfig, worker: &Worker) -> Result<Self, BoxError> {
        let (_, key) = KeyAuthCredential::schema()
            .field("key")
            .ok_or("credentials have no key")?;
        let credentials = worker.cache().of::<KeyAuthCredential>()?;
        let consumers = worker.cache().of::<Consumer>()?.primary()?;
        Ok(Self {
            names: config.names.view(),
            forwarding: config.forwarding,
            storage: config.storage,
            longest_key: key.max_length().unwrap_or(Field::KEY_LENGTH),
            credentials: credentials.decoded(|row: &_| Ok(Credential::of(row)))?,
            consumers: consumers.decoded(|row: &_| Ok(Identity::of(row)))?,
            credential_rows: worker.dao()?,
            consumer_rows: worker.dao()?,
        })
    }

    async fn access(&self, request: &mut ProxyRequest) -> Result<(), Response> {
        let (head, claims) = request.said();
        let key = self.names.with(|names| match self.forwarding {
            KeyForwarding::Forwarded => api_key(head, claims, names),
            KeyForwarding::Hidden => take_api_key(head, claims, names),
        });
        let (credential, identity, key) = match key {
            ApiKey::Missing => return Err(Refusal::NoKey.answer()),
            ApiKey::Several => return Err(Refusal::DuplicateKey.answer()),
            ApiKey::One(key) => {
                let (credential, identity) = self.authenticate(&key).await?;
                let key = match self.forwarding {
                    KeyForwarding::Forwarded => HeaderValue::from_bytes(&key).ok(),
                    KeyForwarding::Hidden => None,
                };
                (credential, identity, key)
            }
        };

        introduce(request.headers_mut(), &credential, &identity, key);
        request.set_consumer(Arc::clone(&identity.consumer));
        Ok(())
    }
}

/// Sets the headers that identify the client to the upstream, in place of those that it sent.
fn introduce(
    headers: &mut HeaderMap,
    credential: &Credential,
    identity: &Identity,
    key: Option<HeaderValue>,
) {
    let said = [
        (CONSUMER_ID, Some(identity.id.clone())),
        (CONSUMER_USERNAME, identity.username.clone()),
        (CONSUMER_CUSTOM_ID, identity.custom_id.clone()),
        (CREDENTIAL_IDENTIFIER, Some(credential.id.clone())),
        (API_KEY, key),
    ];

    for (name, value) in said {
        match value {
            // Replaces all values of the name, not only the first.
            Some(value) => headers.insert(name, value),
            None => headers.remove(name),
        };
    }
}

fn failed(error: &GetError) -> Response {
    Refusal::of_lookup(error, "a credential or its consumer").answer()
}

impl fmt::Debug for KeyAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAuth")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidings::{Ref, Timestamp};

    use super::*;

    #[test]
    fn what_the_client_says_of_itself_is_forgotten() {
        let consumer = Consumer {
            id: Uuid::from_u128(1),
            username: Some("bob".into()),
            custom_id: None,
            created_at: Timestamp::from_unix(0),
            updated_at: Timestamp::from_unix(0),
            tags: None,
        };
        let credential = KeyAuthCredential {
            id: Uuid::from_u128(2),
            created_at: Timestamp::from_unix(0),
            consumer: Some(Ref::to(&consumer)),
            key: Some("abcd".into()),
            enabled: true,
            expires_at: None,
            tags: None,
        };
        let mut headers = HeaderMap::new();
        for name in [
            CONSUMER_ID,
            CONSUMER_USERNAME,
            CONSUMER_CUSTOM_ID,
            CREDENTIAL_IDENTIFIER,
            API_KEY,
        ] {
            headers.append(name.clone(), HeaderValue::from_static("forged"));
            headers.append(name, HeaderValue::from_static("twice"));
        }
        introduce(
            &mut headers,
            &Credential::of(&credential),
            &Identity::of(&consumer),
            Some(HeaderValue::from_static("abcd")),
        );
        assert_eq!(headers.len(), 4);
        assert_eq!(headers[CONSUMER_ID], consumer.id.to_string().as_str());
        assert_eq!(headers[CONSUMER_USERNAME], "bob");
        assert_eq!(
            headers[CREDENTIAL_IDENTIFIER],
            credential.id.to_string().as_str()
        );
        assert_eq!(headers[API_KEY], "abcd");
    }

    #[test]
    fn a_name_that_no_header_can_carry_is_left_out() {
        assert_eq!(text("line\nend"), None);
        assert!(text("jürgen").is_some());
    }
}
