//! Path, query, headers and body of a request as values, or a refusal. Knows schemas, and no rows.

// Percent signs: paths, queries and forms as text.
pub(crate) mod decode;
// Which names the API answers to, and which pages may write.
pub(crate) mod guard;
// A body that is JSON.
mod json;
// A body of names and values, as the JSON object that it means; knows schemas.
pub(crate) mod form;
// A body of text parts, as names and values.
mod multipart;
// A body as it arrives, and its rest.
pub(crate) mod upload;
// A body by its type, within size and time; knows the formats above.
pub(crate) mod body;
// Arguments: paging, tags, `cluster`.
pub(crate) mod query;
// Preconditions: `If-Match` and `If-None-Match`.
pub(crate) mod condition;
// The admin token.
pub(crate) mod token;
