//! The routing table: which paths exist and what each one means, made from the schemas alone.
//!
//! Paths are matched here and not by axum's router, because names in paths are data: a name may
//! hold an encoded slash, a trailing slash means nothing, a segment that is not UTF-8 is the
//! client's mistake, and every refusal, 404 and 405 too, has the one JSON shape. A path of the API
//! itself (`/status`, ..) wins over a collection of that name, an earlier collection over a later
//! one, and a nested collection over a foreign field of its name.

use http::Method;
use tidings::core::Schema;

/// The first segments that are the API's own.
const RESERVED: [&str; 9] = [
    "audit", "cache", "cluster", "events", "livez", "metrics", "readyz", "schemas", "status",
];

/// Every path, by its first segment.
#[derive(Debug)]
pub(crate) struct Routes {
    schemas: Vec<&'static Schema>,
    collections: Vec<Collection>,
}

/// An entity that has paths, and what lies below its rows.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) schema: &'static Schema,
    name: &'static str,
    nested: Vec<Nested>,
    referred: Vec<Referred>,
}

/// The rows of a child entity that refer to one row of a parent.
#[derive(Clone, Debug)]
pub(crate) struct Nested {
    name: &'static str,
    pub(crate) parent: &'static Schema,
    pub(crate) child: &'static Schema,
    /// The child's field that refers to the parent.
    pub(crate) foreign: usize,
    /// The child's fields that name a row among those of one parent.
    pub(crate) unique_within: Vec<usize>,
}

/// The row that a field of an item refers to.
#[derive(Clone, Debug)]
pub(crate) struct Referred {
    pub(crate) field: usize,
    pub(crate) parent: &'static Schema,
}

/// The meaning of a path.
#[derive(Debug)]
pub(crate) enum Resource<'a> {
    Collection(&'static Schema),
    Item(&'static Schema, &'a str),
    NestedCollection(&'a Nested, &'a str),
    NestedItem(&'a Nested, &'a str, &'a str),
    Referred(&'static Schema, &'a Referred, &'a str),
    Schema(&'static Schema),
    SchemaCacheKey(&'static Schema),
    Cache,
    CacheEntry(&'a str),
    CacheExplain(&'a str),
    Events,
    Cluster,
    ClusterMember(&'a str),
    ClusterConfirm,
    ClusterProbe,
    Audit,
    Status,
    Metrics,
    Livez,
    Readyz,
    OpenApi,
    Root,
}

/// What a request writes, as far as it matters to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    Nothing,
    /// Rows of the store.
    Rows,
    /// Cached entries, of this node or of all.
    Cache,
}

impl Routes {
    /// Makes the table for a node's schemas. A collection that cannot be reached is logged and left
    /// out.
    pub(crate) fn new(schemas: &[&'static Schema]) -> Self {
        let mut collections: Vec<Collection> = Vec::new();
        for &schema in schemas {
            let Some(api) = schema.admin_api() else {
                continue;
            };

            let taken = collections.iter().any(|other| other.name == api.name);
            if taken || RESERVED.contains(&api.name.as_str()) {
                tracing::error!(
                    entity = schema.name(),
                    path = api.name,
                    "the path of this entity is taken; the admin API does not show it"
                );
                continue;
            }

            collections.push(Collection {
                schema,
                name: &api.name,
                nested: nested_below(schema, schemas),
                referred: references_of(schema, schemas),
            });
        }

        Self {
            schemas: schemas.to_vec(),
            collections,
        }
    }

    /// Returns what a path means, if anything.
    pub(crate) fn resolve<'a>(&'a self, segments: &'a [String]) -> Option<Resource<'a>> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["status"] => Some(Resource::Status),
            ["metrics"] => Some(Resource::Metrics),
            ["livez"] => Some(Resource::Livez),
            ["readyz"] => Some(Resource::Readyz),
            ["openapi.json"] => Some(Resource::OpenApi),
            ["cache"] => Some(Resource::Cache),
            ["cache", key] => Some(Resource::CacheEntry(key)),
            ["cache", key, "explain"] => Some(Resource::CacheExplain(key)),
            ["events"] => Some(Resource::Events),
            ["cluster"] => Some(Resource::Cluster),
            ["cluster", "members", node] => Some(Resource::ClusterMember(node)),
            ["cluster", "confirm"] => Some(Resource::ClusterConfirm),
            ["cluster", "probe"] => Some(Resource::ClusterProbe),
            ["audit"] => Some(Resource::Audit),
            ["schemas", entity] => self.schema(entity).map(Resource::Schema),
            ["schemas", entity, "cache-key"] => self.schema(entity).map(Resource::SchemaCacheKey),
            [name, path @ ..] => {
                let collection = self.collections.iter().find(|other| other.name == *name)?;
                collection.resolve(path)
            }
            [] => Some(Resource::Root),
        }
    }

    /// Returns the paths of the collections, without their slash.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &'static str> {
        self.collections.iter().map(|collection| collection.name)
    }

    /// Returns every path with what it means; a place in braces stands for a name.
    pub(crate) fn paths(&self) -> Vec<(String, Resource<'_>)> {
        let mut paths = Vec::new();
        let mut line = |path: String, resource| paths.push((path, resource));

        for collection in &self.collections {
            let (schema, name) = (collection.schema, collection.name);
            let item = format!("/{name}/{}", placeholder(schema, &[]));
            line(format!("/{name}"), Resource::Collection(schema));
            line(item.clone(), Resource::Item(schema, ""));

            for referred in &collection.referred {
                let field = schema.fields()[referred.field].name();
                let path = format!("{item}/{field}");
                line(path, Resource::Referred(schema, referred, ""));
            }

            for nested in &collection.nested {
                let path = format!("{item}/{}", nested.name);
                let child = placeholder(nested.child, &nested.unique_within);
                line(path.clone(), Resource::NestedCollection(nested, ""));
                line(
                    format!("{path}/{child}"),
                    Resource::NestedItem(nested, "", ""),
                );
            }
        }

        for schema in &self.schemas {
            let path = format!("/schemas/{}", schema.name());
            line(path.clone(), Resource::Schema(schema));
            line(
                format!("{path}/cache-key"),
                Resource::SchemaCacheKey(schema),
            );
        }

        line("/cache".to_owned(), Resource::Cache);
        line("/cache/{cache key}".to_owned(), Resource::CacheEntry(""));
        let explain = "/cache/{cache key}/explain".to_owned();
        line(explain, Resource::CacheExplain(""));
        line("/events".to_owned(), Resource::Events);
        line("/cluster".to_owned(), Resource::Cluster);

        let member = "/cluster/members/{node_id}".to_owned();
        line(member, Resource::ClusterMember(""));
        line("/cluster/confirm".to_owned(), Resource::ClusterConfirm);
        line("/cluster/probe".to_owned(), Resource::ClusterProbe);
        line("/audit".to_owned(), Resource::Audit);
        line("/status".to_owned(), Resource::Status);
        line("/metrics".to_owned(), Resource::Metrics);
        line("/livez".to_owned(), Resource::Livez);
        line("/readyz".to_owned(), Resource::Readyz);
        line("/".to_owned(), Resource::Root);
        line("/openapi.json".to_owned(), Resource::OpenApi);

        paths
    }

    /// Returns every path with its methods, one a line: the contract.
    #[cfg(test)]
    pub(crate) fn listing(&self) -> String {
        let lines = self.paths().into_iter();
        let lines = lines.map(|(path, resource)| format!("{path}  {}\n", resource.allow()));
        lines.collect()
    }

    fn schema(&self, entity: &str) -> Option<&'static Schema> {
        self.schemas
            .iter()
            .find(|schema| schema.name() == entity)
            .copied()
    }
}

impl Collection {
    fn resolve<'a>(&'a self, path: &[&'a str]) -> Option<Resource<'a>> {
        let nested = |name: &str| self.nested.iter().find(|nested| nested.name == name);
        match *path {
            [] => Some(Resource::Collection(self.schema)),
            [item] => Some(Resource::Item(self.schema, item)),
            [parent, name] => {
                if let Some(nested) = nested(name) {
                    return Some(Resource::NestedCollection(nested, parent));
                }
                let refers = |other: &&Referred| self.schema.fields()[other.field].name() == name;
                let referred = self.referred.iter().find(refers)?;
                Some(Resource::Referred(self.schema, referred, parent))
            }
            [parent, name, item] => Some(Resource::NestedItem(nested(name)?, parent, item)),
            _ => None,
        }
    }
}

impl Resource<'_> {
    /// Returns the methods that fit, besides `HEAD`, which goes where `GET` goes.
    pub(crate) fn methods(&self) -> &'static [Method] {
        const LIST: [Method; 2] = [Method::GET, Method::POST];
        const ITEM: [Method; 4] = [Method::GET, Method::PUT, Method::PATCH, Method::DELETE];
        const READ: [Method; 1] = [Method::GET];
        const DROP: [Method; 1] = [Method::DELETE];
        const DO: [Method; 1] = [Method::POST];
        const READ_OR_DROP: [Method; 2] = [Method::GET, Method::DELETE];

        match self {
            Self::Collection(..) | Self::NestedCollection(..) => &LIST,
            Self::Item(..) | Self::NestedItem(..) => &ITEM,
            Self::ClusterMember(..) => &DROP,
            Self::Cache | Self::CacheEntry(..) => &READ_OR_DROP,
            Self::ClusterProbe | Self::Audit => &DO,
            Self::Referred(..)
            | Self::Schema(..)
            | Self::SchemaCacheKey(..)
            | Self::CacheExplain(..)
            | Self::Events
            | Self::Cluster
            | Self::ClusterConfirm
            | Self::Status
            | Self::Metrics
            | Self::Livez
            | Self::Readyz
            | Self::OpenApi
            | Self::Root => &READ,
        }
    }

    /// Returns whether it is answered without a token, under whatever name the request came in.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self, Self::Livez | Self::Readyz)
    }

    /// Returns what a method writes of this resource, as far as it matters to other nodes.
    pub(crate) fn writes(&self, method: &Method) -> Writes {
        match self {
            _ if method.is_safe() => Writes::Nothing,
            Self::Collection(..)
            | Self::NestedCollection(..)
            | Self::Item(..)
            | Self::NestedItem(..) => Writes::Rows,
            Self::Cache | Self::CacheEntry(..) => Writes::Cache,
            Self::Referred(..)
            | Self::Schema(..)
            | Self::SchemaCacheKey(..)
            | Self::CacheExplain(..)
            | Self::Events
            | Self::Cluster
            | Self::ClusterMember(..)
            | Self::ClusterConfirm
            // Its record does nothing, and its answer has the position.
            | Self::ClusterProbe
            | Self::Audit
            | Self::Status
            | Self::Metrics
            | Self::Livez
            | Self::Readyz
            | Self::OpenApi
            | Self::Root => Writes::Nothing,
        }
    }

    /// Returns whether a method has a use for arguments of the query; elsewhere they are refused.
    pub(crate) fn takes_arguments(&self, method: &Method) -> bool {
        match self {
            // Writes take `confirm`.
            Self::Item(..) | Self::NestedItem(..) | Self::CacheEntry(..) => !method.is_safe(),
            Self::Collection(..)
            | Self::NestedCollection(..)
            | Self::SchemaCacheKey(..)
            | Self::Cache
            | Self::Events
            | Self::ClusterConfirm
            | Self::ClusterProbe
            | Self::Audit
            | Self::Livez
            | Self::Readyz => true,
            Self::Referred(..)
            | Self::Schema(..)
            | Self::CacheExplain(..)
            | Self::Cluster
            | Self::ClusterMember(..)
            | Self::Status
            | Self::Metrics
            | Self::OpenApi
            | Self::Root => false,
        }
    }

    /// Returns the value of the header `Allow`.
    pub(crate) fn allow(&self) -> String {
        let mut words: Vec<&str> = self.methods().iter().map(Method::as_str).collect();
        if words.first() == Some(&"GET") {
            words.insert(1, "HEAD");
        }
        words.join(", ")
    }
}

fn nested_below(parent: &'static Schema, schemas: &[&'static Schema]) -> Vec<Nested> {
    let mut all: Vec<Nested> = Vec::new();
    for &child in schemas {
        let Some(name) = child.admin_api().and_then(|api| api.nested.as_deref()) else {
            continue;
        };
        // With two fields that refer to one entity, the first makes the path.
        let refers = |field: &tidings::core::Field| {
            field
                .reference()
                .is_some_and(|foreign| foreign.entity == parent.name())
        };
        let Some(foreign) = child.fields().iter().position(refers) else {
            continue;
        };
        if all.iter().any(|other| other.name == name) {
            tracing::error!(
                entity = child.name(),
                parent = parent.name(),
                path = name,
                "the nested path of this entity is taken; the admin API does not show it there"
            );
            continue;
        }
        all.push(Nested {
            name,
            parent,
            child,
            foreign,
            unique_within: unique_within(child, foreign),
        });
    }
    all
}

/// Returns the fields that are unique together with the foreign one alone, or the primary key.
fn unique_within(child: &Schema, foreign: usize) -> Vec<usize> {
    let name = child.fields()[foreign].name();
    let of_key = match *child.primary_key() {
        [a, b] if a == foreign => Some(b),
        [a, b] if b == foreign => Some(a),
        _ => None,
    };
    let together = child
        .unique_together()
        .iter()
        .filter_map(|names| match names.as_slice() {
            [a, b] if a == name => Some(b),
            [a, b] if b == name => Some(a),
            _ => None,
        })
        .filter_map(|name| child.field(name).map(|(index, _)| index));
    of_key.into_iter().chain(together).collect()
}

fn references_of(schema: &'static Schema, schemas: &[&'static Schema]) -> Vec<Referred> {
    let referred = |(field, reference): (usize, &tidings::core::Foreign)| {
        let parent = schemas
            .iter()
            .find(|other| other.name() == reference.entity)?;
        Some(Referred { field, parent })
    };
    schema
        .fields()
        .iter()
        .enumerate()
        .filter_map(|(index, field)| Some((index, field.reference()?)))
        .filter_map(referred)
        .collect()
}

/// Returns the part of a path that names a row, such as `{id or key}`; with colons between the
/// parts of a primary key of several fields.
fn placeholder(schema: &Schema, unique_within: &[usize]) -> String {
    let name = |index: usize| schema.fields()[index].name().to_owned();
    let further = schema.endpoint_key().into_iter();
    let further = further.chain(unique_within.iter().copied()).map(name);
    let names = std::iter::once(schema.primary_key_names().join(":")).chain(further);
    format!("{{{}}}", names.collect::<Vec<_>>().join(" or "))
}

#[cfg(test)]
mod tests;
