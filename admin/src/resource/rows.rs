//! Lists, creates, replaces, changes and deletes the rows of any entity.

use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value as Json, json};
use tidings::{
    Node,
    core::{Patch, Row, Rule, Schema, Value, Violations},
};

use crate::{
    AdminOptions, answer,
    audit::{self, AuditEntry},
    problem::Problem,
    request::{
        body,
        condition::{Condition, Tag, Verdict},
        form::{Blank, Form},
        query::Query,
        upload::Upload,
    },
    routes::{Nested, Referred},
    rows::{
        Found, Owner, Rows, references,
        seal::{Plain, Seal},
        ttl::{self, NullTtl},
    },
};

/// A request, apart from the meaning of its path.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) node: &'a Node,
    /// The path as the client sent it, for links.
    pub(crate) path: &'a str,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a mut Upload,
    pub(crate) options: &'a AdminOptions,
}

/// What a body does to a row. This decides the meaning of a field that the body leaves out or sets
/// to `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose<'a> {
    Create,
    /// Replaces or creates the row of this name, which the path may give it.
    Replace(&'a str),
    Change,
}

/// Returns all rows of an entity.
pub(crate) fn rows(
    node: &Node,
    schema: &'static Schema,
    options: &AdminOptions,
) -> Result<Rows, Problem> {
    let seal = Seal::of(options, schema);
    Ok(Rows::new(node.table(schema.name())?, schema, seal))
}

/// Returns the rows below one row of a parent.
pub(crate) async fn nested_rows(
    node: &Node,
    nested: &Nested,
    parent: &str,
    options: &AdminOptions,
) -> Result<Rows, Problem> {
    let parents = rows(node, nested.parent, options)?;
    let parent = found(parents.find(parent).await?)?;

    // Rows that others refer to have a primary key of one field.
    let key = nested.parent.single_key().ok_or_else(Problem::not_found)?;
    let owner = Owner {
        field: nested.foreign,
        value: parent.0[key].clone(),
    };
    let rows = rows(node, nested.child, options)?;
    Ok(rows.owned_by(owner, &nested.unique_within))
}

/// Answers `GET` and `POST` of a list of rows.
pub(crate) async fn collection(
    rows: &Rows,
    method: &Method,
    input: Input<'_>,
) -> Result<Response, Problem> {
    if *method == Method::POST {
        let Asked {
            patch,
            fields,
            plain,
        } = asked(rows, input, Purpose::Create).await?;
        let row = rows.insert(patch).await?;
        let made = answer::json(StatusCode::CREATED, &rows.to_json(&row, &plain));
        let made = answer::tagged(made, &rows.tag(&row).quoted());
        return Ok(audit::note(made, audit_entry(rows, Some(&row), fields)));
    }

    let paging = input.query.paging(rows.schema())?;
    let page = rows.page(&paging).await?;
    let data: Vec<_> = page
        .data
        .iter()
        .map(|row| rows.to_listed_json(row, input.options.listed))
        .collect();
    let mut list = json!({ "data": data, "next": null });
    if let Some(offset) = page.offset {
        list["next"] = input.query.next_page(input.path, &offset).into();
        list["offset"] = offset.into();
    }

    Ok(answer::json(StatusCode::OK, &list))
}

/// Answers `GET`, `PUT`, `PATCH` and `DELETE` of one row.
pub(crate) async fn item(
    rows: &Rows,
    item: &str,
    method: &Method,
    input: Input<'_>,
) -> Result<Response, Problem> {
    let condition = Condition::of(input.headers)?;
    let (row, fields, plain) = match *method {
        Method::PUT => {
            let asked = asked(rows, input, Purpose::Replace(item)).await?;
            let row = rows.put(item, asked.patch, &condition).await?;
            (row, asked.fields, asked.plain)
        }
        Method::PATCH => {
            let asked = asked(rows, input, Purpose::Change).await?;
            let row = rows.patch(item, asked.patch, &condition).await?;
            (row, asked.fields, asked.plain)
        }
        Method::DELETE => {
            let row = rows.delete(item, &condition).await?;
            let entry = audit_entry(rows, row.as_ref(), Vec::new());
            return Ok(audit::note(answer::no_content(), entry));
        }
        _ => {
            let row = found(rows.find(item).await?)?;
            return shown(rows, &row, &condition);
        }
    };
    let written = answer::json(StatusCode::OK, &rows.to_json(&row, &plain));
    let written = answer::tagged(written, &rows.tag(&row).quoted());
    Ok(audit::note(written, audit_entry(rows, Some(&row), fields)))
}

/// Answers with a row, unless the client has it already.
fn shown(rows: &Rows, row: &Row, condition: &Condition) -> Result<Response, Problem> {
    let tag: Tag = rows.tag(row);
    let response = match condition.judge(Some(&tag)) {
        Verdict::Holds => answer::json(StatusCode::OK, &rows.to_json(row, &Plain::default())),
        Verdict::AsKnown => answer::not_modified(),
        Verdict::NotAsDemanded => return Err(Problem::precondition_failed()),
    };
    Ok(answer::tagged(response, &tag.quoted()))
}

/// Returns the description of a write for the log.
fn audit_entry(rows: &Rows, row: Option<&Row>, fields: Vec<String>) -> AuditEntry {
    let schema = rows.schema();
    AuditEntry {
        what: schema.name().to_owned(),
        row: row.map(|row| schema.shown_key(&schema.key_of(row)).to_text()),
        fields,
    }
}

/// Answers `GET` of the row that a field of a row refers to.
pub(crate) async fn referred(
    node: &Node,
    schema: &'static Schema,
    referred: &Referred,
    item: &str,
    headers: &HeaderMap,
    options: &AdminOptions,
) -> Result<Response, Problem> {
    let condition = Condition::of(headers)?;
    let row = found(rows(node, schema, options)?.find(item).await?)?;
    let parent = match &row.0[referred.field] {
        Value::Null => None,
        id => {
            node.table(referred.parent.name())?
                .select(id.clone())
                .await?
        }
    };
    let parent = parent.ok_or_else(Problem::not_found)?;
    let parents = rows(node, referred.parent, options)?;
    shown(&parents, &parent, &condition)
}

/// The change that a request makes to a row.
struct Asked {
    patch: Patch,
    /// The fields that its body names.
    fields: Vec<String>,
    /// The text that it sets in a field that is stored as a digest.
    plain: Plain,
}

/// Reads the change that the body of a request describes.
///
/// The store checks the whole row. Required fields that are absent are looked for here too, so that
/// one answer names them together with everything else that is wrong.
async fn asked(rows: &Rows, input: Input<'_>, purpose: Purpose<'_>) -> Result<Asked, Problem> {
    let schema = rows.schema();
    let meaning = Form {
        schema,
        schemas: input.node.schemas(),
        blank: match purpose {
            Purpose::Create | Purpose::Replace(_) => Blank::Kept,
            Purpose::Change => Blank::Clears,
        },
    };
    let mut object = body::object(&meaning, input.headers, input.body, input.options).await?;

    for (entity, name) in &input.options.null_names {
        if entity == schema.name() && object.get(name).is_some_and(Json::is_null) {
            object.remove(name);
        }
    }
    references::resolve(input.node, schema, &mut object).await?;

    let null = match purpose {
        Purpose::Create | Purpose::Replace(_) => NullTtl::Absent,
        Purpose::Change => NullTtl::Clears,
    };
    let lifetime = ttl::resolve(input.node, schema, &mut object, null).await?;

    let read = match (schema.patch_from_json(&object), lifetime) {
        (Ok(patch), lifetime) => lifetime.or(patch),
        (Err(mut violations), lifetime) => {
            violations.0.extend(lifetime.0);
            Err(violations)
        }
    };
    let mut patch = read.map_err(|mut violations| {
        for (index, field) in schema.fields().iter().enumerate() {
            let absent = object.get(field.name()).is_none_or(Json::is_null);
            let demanded = match purpose {
                Purpose::Create => true,
                Purpose::Replace(item) => !rows.names_by(item, index),
                Purpose::Change => false,
            };
            if absent && field.is_required() && demanded && !rows.sets(index) {
                violations.add(field.name(), Rule::Required, "required field missing");
            }
        }

        Problem::violations(&violations)
    })?;

    match purpose {
        Purpose::Create | Purpose::Replace(_) => patch = without_nulls(&patch),
        Purpose::Change => refuse_clearing(schema, &patch)?,
    }

    let plain = match (rows.seal(), purpose) {
        (None, _) => Plain::default(),
        (Some(seal), Purpose::Change) => seal.seal(schema, &mut patch),
        (Some(seal), Purpose::Create | Purpose::Replace(_)) => seal.seal_new(schema, &mut patch),
    };
    Ok(Asked {
        patch,
        fields: object.keys().cloned().collect(),
        plain,
    })
}

/// Returns the values that a patch gives: in a new row `null` is absent.
fn without_nulls(patch: &Patch) -> Patch {
    let given = patch.iter().filter(|(_, value)| !value.is_null());
    given
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
}

/// Refuses a change that clears a field whose value is generated: only an insert generates it, and
/// no row may lack it.
fn refuse_clearing(schema: &Schema, patch: &Patch) -> Result<(), Problem> {
    let mut violations = Violations::default();
    for (name, value) in patch.iter() {
        let is_made = schema.field(name).is_some_and(|(_, field)| field.is_made());
        if value.is_null() && is_made {
            violations.add(name, Rule::Required, "is generated and cannot be cleared");
        }
    }

    violations
        .or(())
        .map_err(|violations| Problem::violations(&violations))
}

fn found(found: Found) -> Result<Row, Problem> {
    match found {
        Found::Row(row, _) => Ok(row),
        Found::Elsewhere | Found::Nothing => Err(Problem::not_found()),
    }
}
