//! What the methods do to rows, for any entity.

use axum::{body::Body, response::Response};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value as Json, json};
use tidings::{
    Node,
    core::{Patch, Row, Schema, Value},
};

use crate::{
    AdminOptions, answer,
    problem::Problem,
    request::{body, query::Query},
    routes::{Nested, Referred},
    rows::{Found, Owner, Rows},
};

/// What a request brings, besides its path's meaning.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// The path as the client sent it, for links.
    pub(crate) path: &'a str,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Body,
    pub(crate) options: &'a AdminOptions,
}

/// All rows of an entity.
pub(crate) fn rows(node: &Node, schema: &'static Schema) -> Result<Rows, Problem> {
    Ok(Rows::new(node.table(schema.name())?, schema))
}

/// The rows below one row of a parent.
pub(crate) async fn nested_rows(
    node: &Node,
    nested: &Nested,
    parent: &str,
) -> Result<Rows, Problem> {
    let parent = found(rows(node, nested.parent)?.find(parent).await?)?;
    let owner = Owner {
        field: nested.foreign,
        value: parent.0[nested.parent.primary_key()].clone(),
    };
    let rows = rows(node, nested.child)?;
    Ok(rows.owned_by(owner, &nested.unique_within))
}

/// `GET` and `POST` of a list of rows.
pub(crate) async fn collection(
    rows: &Rows,
    method: &Method,
    input: Input<'_>,
) -> Result<Response, Problem> {
    if *method == Method::POST {
        let patch = patch(rows, input, |_| true).await?;
        let row = rows.insert(patch).await?;
        return Ok(answer::json(
            StatusCode::CREATED,
            &row.to_json(rows.schema()),
        ));
    }
    let paging = input.query.paging(rows.schema())?;
    let page = rows.page(&paging).await?;
    let data: Vec<_> = page
        .data
        .iter()
        .map(|row| row.to_json(rows.schema()))
        .collect();
    let mut list = json!({ "data": data, "next": null });
    if let Some(offset) = page.offset {
        list["next"] = paging.next(input.path, input.query, &offset).into();
        list["offset"] = offset.into();
    }
    Ok(answer::json(StatusCode::OK, &list))
}

/// `GET`, `PUT`, `PATCH` and `DELETE` of one row.
pub(crate) async fn item(
    rows: &Rows,
    item: &str,
    method: &Method,
    input: Input<'_>,
) -> Result<Response, Problem> {
    let row = match *method {
        Method::PUT => {
            let patch = patch(rows, input, |field| !rows.names_by(item, field)).await?;
            rows.put(item, patch).await?
        }
        Method::PATCH => {
            let patch = patch(rows, input, |_| false).await?;
            rows.patch(item, patch).await?
        }
        Method::DELETE => {
            rows.delete(item).await?;
            return Ok(answer::no_content());
        }
        _ => found(rows.find(item).await?)?,
    };
    Ok(answer::json(StatusCode::OK, &row.to_json(rows.schema())))
}

/// `GET` of the row that a field of a row refers to.
pub(crate) async fn referred(
    node: &Node,
    schema: &'static Schema,
    referred: &Referred,
    item: &str,
) -> Result<Response, Problem> {
    let row = found(rows(node, schema)?.find(item).await?)?;
    let parent = match &row.0[referred.field] {
        Value::Null => None,
        id => {
            node.table(referred.parent.name())?
                .select(id.clone())
                .await?
        }
    };
    let parent = parent.ok_or_else(Problem::not_found)?;
    Ok(answer::json(
        StatusCode::OK,
        &parent.to_json(referred.parent),
    ))
}

/// What the body of a request says of a row. `demands` tells which required fields it must hold, by index; they are
/// looked for here only to name them beside whatever else is wrong.
async fn patch(
    rows: &Rows,
    input: Input<'_>,
    demands: impl Fn(usize) -> bool,
) -> Result<Patch, Problem> {
    let (limit, patience) = (input.options.body_limit, input.options.body_patience);
    let schema = rows.schema();
    let object = body::object(schema, input.headers, input.body, limit, patience).await?;
    schema.patch_from_json(&object).map_err(|mut violations| {
        for (index, field) in schema.fields().iter().enumerate() {
            let absent = object.get(field.name()).is_none_or(Json::is_null);
            if absent && field.is_required() && demands(index) && !rows.sets(index) {
                violations.add(field.name(), "required field missing");
            }
        }
        Problem::violations(&violations)
    })
}

fn found(found: Found) -> Result<Row, Problem> {
    match found {
        Found::Row(row, _) => Ok(row),
        Found::Elsewhere | Found::Nothing => Err(Problem::not_found()),
    }
}
