//! `#[derive(Entity)]`: makes a schema from a struct with attributes, and converts the struct to
//! rows and back.
//!
//! The macro reads the attributes into a model, checks them against each other, and writes the
//! implementation. It reports all faults of a struct at once, each at its tokens, and each message
//! says what would be right. Some faults do not show in the tokens, for example an alias for a
//! composite type, or a reference to an entity that is not declared. `check_all` finds those when a
//! node starts.

// Layers, the lowest first: a module imports from those above it in this list alone.

// Collects faults, and suggests similar names. Must not know any attribute.
mod faults;

// The rules of names.
mod names;

// Words and values inside `#[entity(..)]`. Must not know fields or structs.
mod attributes;

// Serde attributes that would change a name.
mod serde_names;

// Where the generated code finds Tidings' names.
mod crate_path;

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

// Writes the implementation of an entity.
mod expand;

// The other macro, for types of fields.
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
/// | `name = ".."` | the name of the entity, its table and its channel; mandatory |
/// | `endpoint_key = "field"` | a unique field that paths accept in place of the primary key |
/// | `cache_key("a", "b")` | the fields of a cache key; a single field must be unique. Repeat it if rows are looked up in several ways |
/// | `unique("a", "b")` | fields that are unique together; may be repeated |
/// | `at_least_one_of("a", "b")` | at least one of these fields must be set; may be repeated |
/// | `check = "path"` | a function `fn(&Self) -> Result<(), Violations>` that checks each row before it is stored; may be repeated |
/// | `admin_api(name = "..", nested = "..")` | the path segments under which the admin API shows the entity |
/// | `crate = "path"` | the crate that the generated code names; by default the dependency `tidings`, or else `tidings-core` |
///
/// # On a field: `#[entity(..)]`
///
/// | attribute | meaning |
/// |---|---|
/// | `primary_key` | identifies the row. Mandatory on one field, or on two to four fields that form the key together, in the order of the struct; none may be an `Option` |
/// | `unique` | no two rows have the same value |
/// | `required` | an insert must set the field although its type is an `Option` |
/// | `default = ..` | the value of the field in a new row that does not set it: a literal or a constant. A column that is added to a table gets it as its default |
/// | `immutable` | the value cannot change after the insert |
/// | `secret` | masked in lists, in the `Debug` form of changes, in errors, logs and feeds |
/// | `expires` | the `Timestamp` at which the row expires: from then on it is not returned and not served from a cache, and later it is removed |
/// | `length(min = 1, max = 40)` | the number of characters of a `String`, of bytes, or of members of a set, a list or a map; either bound may be left out |
/// | `pattern = ".."` | a regular expression of the crate `regex` that the whole text, or each member of a set or list, must match |
/// | `one_of("a", "b")` | the allowed values, or the allowed members of a set or list |
/// | `auto` | generated on insert if absent: a random UUID, or 32 random letters and digits |
/// | `auto_create_time`, `auto_update_time` | the time of the insert, or of the latest write |
/// | `version` | an `i64` that is 1 on insert and grows by one with each write. A write can name the version that it expects; the admin API uses it as the `ETag` |
/// | `foreign` | refers to another entity; the type is `Ref<X>` or `Option<Ref<X>>` |
/// | `on_delete = ".."` | with `foreign`: `restrict` (the default), `cascade` or `set_null` |
/// | `on_update = "evict"` | with `foreign`: a change of the referenced row evicts this row from the cache |
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
/// | an enum with `#[derive(FieldValue)]` | text | as text | as text |
/// | a newtype with `#[derive(FieldValue)]` | as the inner type | as the inner type | as the inner type |
///
/// An `Option` of each of these types is a field that may be absent. In unique fields and in parts
/// of keys, two values must be equal exactly if their texts are equal. So a set, a list, a map,
/// JSON, an `f64` or an `f32` cannot be one, and bytes cannot be a primary key.
///
/// # A primary key of several fields
///
/// Mark each of the fields. The row's id is the tuple of their values. One of the fields may be
/// `foreign`, and one may be generated (`auto`). No other entity can refer to such a row, because a
/// reference is one field. The entity `stocks` in the example above has such a key.
///
/// `dao.select((tenant, shelf))` selects a row by the tuple. The cache keeps it under
/// `stocks@:TENANT:SHELF`, and paths of the admin API name it `TENANT:SHELF`. In each part `:`,
/// `%`, `~`, `@` and control characters are percent-encoded, so that no two rows share a name.
///
/// # Serde attributes
///
/// The macro refuses serde attributes that change a field's name or form (`rename`, `skip`,
/// `flatten`, `with` and the like, except for the bytes above). The schema, the stored row and the
/// JSON of an entity use one set of names.
///
/// # Errors
///
/// Any other attribute, value or combination is a compile error at that attribute or field.
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
/// An enum is stored as text: the text that serde writes, which `#[serde(rename_all = "..")]` on
/// the enum and `#[serde(rename = "..")]` on a variant can change. The field refuses any other
/// text. A newtype is stored as its inner value. Derive serde's traits too, as for every field.
///
/// # Errors
///
/// Variants with fields, type parameters and other serde attributes, also on the inner value of a
/// newtype, are compile errors.
#[proc_macro_derive(FieldValue, attributes(serde))]
pub fn derive_field_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let mut faults = Faults::default();
    let value = value::derive(&input, &mut faults);
    let mut output = faults.into_tokens();
    output.extend(value);
    output.into()
}
