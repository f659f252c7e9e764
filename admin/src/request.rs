//! What a client said: path, query, body and token as values, or a refusal. Knows schemas, and no rows.

// Percent signs: paths, queries and forms as text.
pub(crate) mod decode;
// A body that is one JSON object.
mod json;
// A body of names and values, as the JSON object that it means; knows schemas.
mod form;
// A body by its type, within size and time; knows the formats above.
pub(crate) mod body;
// Arguments: paging, tags, `cluster`.
pub(crate) mod query;
// The admin token.
pub(crate) mod token;
