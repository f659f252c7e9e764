//! `/openapi.json`: the API as OpenAPI 3.1, made from the schemas and the routing table.
//!
//! Every path and method of the table is in it, and no other. The rules of a field are given as far
//! as JSON Schema can express them; the others (check functions, one of several fields) appear only
//! in the 400.

// Rows, as JSON Schema.
mod shapes;
// The arguments, bodies and answers of an operation.
mod operation;

use serde_json::{Map, Value as Json, json};
use tidings::core::Schema;

use self::{
    operation::{operation, problem, unconfirmed},
    shapes::{answered, input},
};
use crate::routes::Routes;

/// Describes the whole API.
pub(crate) fn of(routes: &Routes, schemas: &[&'static Schema]) -> Json {
    let mut paths = Map::new();
    for (path, resource) in routes.paths() {
        let (path, names) = templated(&path);
        let mut item = Map::new();
        if !names.is_empty() {
            let names = names.iter().map(|(name, what)| {
                json!({
                    "name": name, "in": "path", "required": true, "description": described(what),
                    "schema": {"type": "string"},
                })
            });
            item.insert("parameters".to_owned(), names.collect());
        }

        for method in resource.methods() {
            let verb = method.as_str().to_ascii_lowercase();
            item.insert(verb, operation(&resource, method));
        }
        paths.insert(path, item.into());
    }

    let mut components = Map::new();
    for schema in schemas.iter().filter(|it| it.admin_api().is_some()) {
        components.insert(schema.name().to_owned(), answered(schema));
        components.insert(format!("{}.input", schema.name()), input(schema));
    }

    components.insert("problem".to_owned(), problem());
    components.insert("unconfirmed".to_owned(), unconfirmed());

    json!({
        "openapi": "3.1.0",
        "info": {"title": "tidings admin API", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        // Required if the node was given a token.
        "security": [{}, {"token": []}],
    })
}

/// Describes a placeholder in a path.
fn described(what: &str) -> String {
    if !what.contains(':') {
        return what.to_owned();
    }
    format!(
        "{what}; in each part of a key of several, the characters : % ~ @ and control characters are \
         percent-encoded, before the whole is encoded for the path"
    )
}

/// Returns a path whose places have names that differ, and what each stands for.
fn templated(path: &str) -> (String, Vec<(String, String)>) {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut template = String::new();
    let mut rest = path;
    while let Some((before, place)) = rest.split_once('{') {
        let (what, after) = place.split_once('}').unwrap_or((place, ""));
        let mut name = what.replace([' ', ':'], "_");
        while names.iter().any(|(taken, _)| *taken == name) {
            name.push_str("_2");
        }
        template.push_str(&format!("{before}{{{name}}}"));
        names.push((name, what.to_owned()));
        rest = after;
    }

    (template + rest, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_path_have_names_that_differ() {
        let (path, names) = templated("/boxes/{label}/boxes/{label}");
        assert_eq!(path, "/boxes/{label}/boxes/{label_2}");
        assert_eq!(names[1], ("label_2".to_owned(), "label".to_owned()));
        let (path, _) = templated("/consumers/{id or username}");
        assert_eq!(path, "/consumers/{id_or_username}");
    }
}
