//! [`LoggedEntity`]: an entity whose changes are read from a log.

use std::{collections::HashMap, sync::Arc};

use tidings_core::Schema;

/// An entity whose changes are read from the log.
#[derive(Debug)]
pub(crate) struct LoggedEntity {
    pub(crate) schema: &'static Schema,
    pub(crate) name: Arc<str>,
    /// The names of its fields, in order.
    pub(crate) names: Vec<Arc<str>>,
}

/// Returns the entities whose changes are read, by name.
pub(crate) fn entities_by_name<'a>(
    schemas: impl IntoIterator<Item = &'a &'static Schema>,
) -> HashMap<&'static str, LoggedEntity> {
    let entities = schemas.into_iter().map(|schema| {
        let names = schema.fields().iter().map(|field| field.name().into());
        let known = LoggedEntity {
            schema,
            name: schema.name().into(),
            names: names.collect(),
        };
        (schema.name(), known)
    });
    entities.collect()
}
