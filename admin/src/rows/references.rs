//! References that are given by a unique field of the row that is meant, `{"username": ..}`, in
//! place of its primary key.

use serde_json::{Map, Value as Json, json};
use tidings::{
    Node,
    core::{Breach, Field, Foreign, Schema},
    store::Table,
};

use crate::problem::{Kind, Problem};

/// Replaces such references with primary keys. Values that are not references are left for the
/// schema to refuse.
pub(crate) async fn resolve(
    node: &Node,
    schema: &Schema,
    object: &mut Map<String, Json>,
) -> Result<(), Problem> {
    for field in schema.fields() {
        let (Some(foreign), Some(Json::Object(given))) =
            (field.reference(), object.get(field.name()))
        else {
            continue;
        };
        if given.contains_key(&foreign.key) || given.len() != 1 {
            continue;
        }
        let Some((name, value)) = given.iter().next() else {
            continue;
        };

        let parents = node.table(&foreign.entity)?;
        let found = find(&parents, field, foreign, name, value).await?;
        if let Some(key) = found {
            object.insert(field.name().to_owned(), json!({ &foreign.key: key }));
        }
    }

    Ok(())
}

/// Returns the primary key of the row with this value of a field, if that field says which row is
/// meant.
async fn find(
    parents: &Table,
    field: &Field,
    foreign: &Foreign,
    name: &str,
    value: &Json,
) -> Result<Option<Json>, Problem> {
    let schema = parents.schema();
    let Some((_, by)) = schema.field(name).filter(|(_, by)| by.is_unique()) else {
        return Ok(None);
    };

    let wrong = |breach: Breach| {
        let message = format!("{name}: {}", breach.message);
        Problem::field(field.name(), breach.rule, message)
    };
    let value = by.from_json(value).map_err(wrong)?;
    if value.is_null() {
        return Ok(None);
    }

    let Some(row) = parents.select_by(by.name(), value).await? else {
        let message = format!("there is no such row in {}", foreign.entity);
        let fields = Map::from_iter([(field.name().to_owned(), message.clone().into())]);
        let message = format!("foreign key violation ({}: {message})", field.name());
        return Err(Problem::new(Kind::ForeignKeyViolation, message).with_fields(fields));
    };
    Ok(schema.single_key().map(|key| row.0[key].to_json()))
}
