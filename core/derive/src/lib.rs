//! `#[derive(Entity)]`: from a struct with attributes to a schema and the way to rows and back.
//!
//! The macro reads the attributes into a model, checks them against each other, and writes the
//! implementation. Every fault of a struct is reported in one go, each at the tokens that are
//! wrong, and the message says what would be right. What cannot be seen in the tokens (whether an
//! alias stands for a composite type, whether another entity is declared) is left to `check_all`
//! when a node starts.

// Layers, the lowest first: a module imports from those above it in this list alone.

// What is wrong, and near names. Must not know any attribute.
mod faults;

// What names are made of.
mod names;

// Words and values inside `#[entity(..)]`. Must not know fields or structs.
mod attributes;

// Serde attributes that would change a name.
mod serde_names;

// Where the names of Tidings are.
mod home;

// What a field's type looks like.
mod shape;

// One field. Must not know the others.
mod field;

// The attributes on the struct. Must not know fields.
mod on_struct;

// Checks across fields.
mod check;

// The struct, read and checked. Must not know the output.
mod model;

// The implementation that is written.
mod expand;

// Types of fields.
mod value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::faults::Faults;

/// Implements `Entity` for a struct with named fields.
///
/// # On the struct: `#[entity(..)]`
///
/// | attribute | meaning |
/// |---|---|
/// | `name = ".."` | the name of the entity, its table and its channel; demanded |
/// | `endpoint_key = "field"` | the unique field that may stand for the primary key in a path |
/// | `cache_key("a", "b")` | the fields that make the cache key; a single one must be unique; may be repeated, for rows that are looked up in several ways |
/// | `unique("a", "b")` | fields that are unique together; may be repeated |
/// | `at_least_one_of("a", "b")` | fields of which one must be set; may be repeated |
/// | `check = "path"` | a function `fn(&Self) -> Result<(), Violations>` that looks at each row before it is stored; may be repeated |
/// | `admin_api(name = "..", nested = "..")` | where the admin API shows the entity |
/// | `crate = "path"` | where the names of Tidings are; by default the dependency `tidings`, or else `tidings-core` |
///
/// # On a field: `#[entity(..)]`
///
/// | attribute | meaning |
/// |---|---|
/// | `primary_key` | identifies the row; demanded on one field, or on two to four that do so together, in the order of the struct; none is an `Option` |
/// | `unique` | no two rows have the same value |
/// | `required` | an insert must bring a value although the type is an `Option` |
/// | `default = ..` | the value of a new row that has none: a literal or a constant; a table that lacks the column is given it |
/// | `immutable` | refuses another value once the row is there |
/// | `secret` | masked in lists, in the `Debug` form of changes, in errors, logs and feeds |
/// | `expires` | the `Timestamp` from which on the row is gone: not returned, not served from a cache, and removed in time |
/// | `length(min = 1, max = 40)` | characters of a `String`, bytes, members of a set, a list or a map; either may be left out |
/// | `pattern = ".."` | a regular expression of the crate `regex` that the whole text, or each member of a set or list, must match |
/// | `one_of("a", "b")` | the only values that there are; of a set or list, for each member |
/// | `auto` | made on insert where absent: a random UUID, or 32 random letters and digits |
/// | `auto_create_time`, `auto_update_time` | the time of the insert, of the latest write |
/// | `version` | an `i64` that is 1 on insert and one more with each write: what a write may expect the row to be at, and the admin API's `ETag` |
/// | `foreign` | refers to another entity; the type is `Ref<X>` or `Option<Ref<X>>` |
/// | `on_delete = ".."` | with `foreign`: `restrict` (the default), `cascade` or `set_null` |
/// | `on_update = "evict"` | with `foreign`: a change of that row evicts this one from the cache |
///
/// # The types of fields
///
/// | type | JSON | SQLite | PostgreSQL |
/// |---|---|---|---|
/// | `bool` | boolean | `INTEGER` | `boolean` |
/// | `i64`, `i32`, `u32` | whole number | `INTEGER` | `bigint` |
/// | `u64` | whole number | `TEXT`, 20 digits | `numeric(20,0)` |
/// | `f64` | number | `REAL` | `double precision` |
/// | `f32` | number, as it is written | `REAL` | `real` |
/// | `String` | text, never empty | `TEXT` | `text` |
/// | `Uuid` | text | `TEXT` | `uuid` |
/// | `Timestamp` | Unix seconds | `INTEGER` | `bigint` |
/// | `TimestampMicros` | Unix microseconds; from and to `jiff::Timestamp` with the feature `jiff` | `INTEGER` | `bigint` |
/// | `Vec<u8>` | base64; serde's form too with `#[serde(with = "tidings::base64")]` | `BLOB` | `bytea` |
/// | `BTreeSet<String>` | array, each once | `TEXT` | `jsonb` |
/// | `Vec<String>` | array, in order | `TEXT` | `json` |
/// | `BTreeMap<String, V>`, `HashMap<String, V>` | object | `TEXT` | `json` |
/// | `Json<T>`, `serde_json::Value` | as the type says | `TEXT` | `json` |
/// | `Ref<X>` | `{"id": ..}` | as the primary key of `X` | as the primary key of `X` |
/// | an enum or a newtype with `#[derive(FieldValue)]` | text; as what is in it | so, too | so, too |
///
/// and an `Option` of each, which may be absent. Unique fields and parts of keys are of a type
/// whose values are equal when their texts are: no set, list, map, JSON, `f64` or `f32`; and bytes
/// are no primary key.
///
/// # A primary key of several fields
///
/// Mark each of them. The row's id is the tuple of their values; one of them may be `foreign`, and
/// one may be made (`auto`). No other entity can refer to such a row: a reference is one field. The
/// example above has one, `stocks`.
///
/// A row is selected by the tuple, `dao.select((tenant, shelf))`, cached under
/// `stocks@:TENANT:SHELF`, and named `TENANT:SHELF` in the paths of the admin API. In each part
/// `:`, `%`, `~`, `@` and control characters are percent-encoded, so that no two rows share a name.
///
/// Serde attributes that change a field's name or form (`rename`, `skip`, `flatten`, `with` and
/// their like, but for the bytes above) are refused: the schema, the stored row and the JSON of an
/// entity use one set of names.
///
/// # Errors
///
/// Anything else is a compile error at the attribute or field at fault.
#[proc_macro_derive(Entity, attributes(entity))]
pub fn derive_entity(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let mut faults = Faults::default();
    let entity = model::Entity::read(&input, &mut faults);
    let mut output = faults.into_tokens();
    output.extend(entity.as_ref().map(expand::expand));
    output.into()
}

/// Implements `FieldValue`, and `KeyPart`, for an enum without fields or a struct around one value.
///
/// An enum is stored as a text, and its field holds no other: the texts are those that serde
/// writes, by `#[serde(rename_all = "..")]` on the enum and `#[serde(rename = "..")]` on a variant.
/// A newtype is stored as what is in it. Derive serde's traits too, as for every field.
///
/// # Errors
///
/// Variants with fields, type parameters and other serde attributes are compile errors.
#[proc_macro_derive(FieldValue, attributes(serde))]
pub fn derive_field_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let mut faults = Faults::default();
    let value = value::derive(&input, &mut faults);
    let mut output = faults.into_tokens();
    output.extend(value);
    output.into()
}
