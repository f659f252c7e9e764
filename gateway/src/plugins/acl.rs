//! [`Acl`]: which consumers may pass, by their groups.
//!
//! A consumer's groups are many rows cached as one value, under a key that no schema derives: so
//! nothing evicts it but the handler registered here, on every worker, for the consumer that a
//! changed row belongs to and, when the row moved, for the one that it belonged to before. Within
//! the handling of one change the evictions of all workers count as one: a list that another worker
//! has loaded again in between stays.

use std::fmt;

use http::{HeaderName, HeaderValue};
use tidings::{
    BoxError, Cache, CacheKey, CrudEvent, Dao, GetOptions, PageQuery, Worker,
    store::{Error, MAX_SIZE},
};
use uuid::Uuid;

use crate::{
    entities,
    live::{Live, View},
    plugin::{Plugin, ProxyRequest, Refusal, Response},
};

const CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");

/// Lets members of the allowed groups pass.
pub(crate) struct Acl {
    /// The groups that pass; all consumers do if there are none.
    allowed: View<Option<AllowedGroups>>,
    cache: Cache,
    rows: Dao<entities::Acl>,
}

/// The groups whose consumers pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedGroups(Box<[String]>);

impl AllowedGroups {
    /// Takes these groups.
    pub(crate) fn new(groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        groups.sort_unstable();
        groups.dedup();
        Self(groups.into())
    }

    fn contains(&self, group: &str) -> bool {
        self.0
            .binary_search_by(|allowed| allowed.as_str().cmp(group))
            .is_ok()
    }
}

/// Returns the key that a consumer's groups are cached under.
fn groups_key(consumer: Uuid) -> CacheKey {
    CacheKey::new("acl_groups", &[consumer])
}

impl Plugin for Acl {
    type Config = Live<Option<AllowedGroups>>;

    fn init_worker(
        config: &Live<Option<AllowedGroups>>,
        worker: &Worker,
    ) -> Result<Self, BoxError> {
        let cache = worker.cache().clone();
        let evict = cache.clone();
        let changed = move |change: &CrudEvent<entities::Acl>| {
            let consumer = change.entity.consumer.id;
            // The change itself travels to every node, and each evicts by its own handlers: a
            // receipt of this eviction would say nothing that the write's own does not.
            let _ = evict.invalidate(&groups_key(consumer));
            let before = change.old_entity.as_ref().map(|row| row.consumer.id);
            if let Some(before) = before.filter(|&before| before != consumer) {
                let _ = evict.invalidate(&groups_key(before));
            }
        };

        worker
            .worker_events()
            .register(changed, "crud", "acls")?
            .keep();

        Ok(Self {
            allowed: config.view(),
            cache,
            rows: worker.dao()?,
        })
    }

    fn is_active(&self) -> bool {
        self.allowed.with(Option::is_some)
    }

    async fn access(&self, request: &mut ProxyRequest) -> Result<(), Response> {
        let Some(consumer) = request.consumer() else {
            return Err(Refusal::NotInGroup.answer());
        };

        let id = consumer.id;
        let rows = &self.rows;
        let load = || groups(rows.clone(), id);
        let groups = self
            .cache
            .get(&groups_key(id), GetOptions::default(), load)
            .await;

        let groups =
            groups.map_err(|error| Refusal::of_lookup(&error, "a consumer's groups").answer())?;
        let groups = groups.unwrap_or_default();

        // A reload that came while the groups were being loaded counts.
        let member = self.allowed.with(|allowed| match allowed {
            Some(allowed) => groups.iter().any(|group| allowed.contains(group)),
            None => true,
        });
        if !member {
            return Err(Refusal::NotInGroup.answer());
        }

        if let Some(listed) = listed(&groups) {
            request.headers_mut().insert(CONSUMER_GROUPS, listed);
        }
        Ok(())
    }
}

/// Lists the groups for `X-Consumer-Groups`. A group that would read as several, or that no header
/// can carry, is left out.
fn listed(groups: &[String]) -> Option<HeaderValue> {
    let tellable = |group: &&str| !group.contains(',') && HeaderValue::from_str(group).is_ok();
    let groups: Vec<&str> = groups.iter().map(String::as_str).filter(tellable).collect();
    if groups.is_empty() {
        return None;
    }
    HeaderValue::from_str(&groups.join(", ")).ok()
}

/// Reads all groups of a consumer; an absence for one that is in none.
async fn groups(rows: Dao<entities::Acl>, consumer: Uuid) -> Result<Option<Box<[String]>>, Error> {
    let mut groups = Vec::new();
    let mut offset = None;
    loop {
        let query = PageQuery::new()
            .filter("consumer", consumer)
            .size(MAX_SIZE)
            .offset(offset);
        let page = rows.page(query).await?;
        groups.extend(page.data.into_iter().map(|row| row.group));
        offset = page.offset;

        if offset.is_none() {
            return Ok((!groups.is_empty()).then(|| groups.into()));
        }
    }
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acl")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_compared_whole() {
        let allowed = AllowedGroups::new(["b".to_owned(), "admins".to_owned(), "b".to_owned()]);
        assert!(allowed.contains("admins") && allowed.contains("b"));
        assert!(!allowed.contains("admin") && !allowed.contains("") && !allowed.contains("B"));
    }
}
