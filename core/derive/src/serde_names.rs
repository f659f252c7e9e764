//! Refusing serde attributes under which an entity's JSON would differ from its schema.

use syn::{Attribute, Expr, ExprLit, Lit, Meta, Token, punctuated::Punctuated};

use crate::{attributes::word, faults::Faults};

/// The attributes that change neither the names nor the form of what is written.
const HARMLESS: [&str; 5] = [
    "default",
    "crate",
    "bound",
    "deny_unknown_fields",
    "expecting",
];

/// Returns whether an attribute gives bytes the form that they have in the JSON of a row: `with =
/// ".."`, where the path leads to a module `base64`.
fn is_base64(item: &Meta) -> bool {
    let text = match item {
        Meta::NameValue(item) if item.path.is_ident("with") => &item.value,
        _ => return false,
    };

    match text {
        Expr::Lit(ExprLit {
            lit: Lit::Str(path),
            ..
        }) => path.value().rsplit("::").next() == Some("base64"),
        _ => false,
    }
}

/// Notes each serde attribute that is not harmless.
pub(crate) fn check(attributes: &[Attribute], faults: &mut Faults) {
    for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
        // One that cannot be read is serde's to complain about.
        let Ok(items) = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        else {
            continue;
        };

        for item in items {
            let word = word(&item);
            if !HARMLESS.contains(&word.as_str()) && !is_base64(&item) {
                faults.add(
                    item,
                    format!(
                        "an entity cannot have `#[serde({word})]`: its schema, its rows and its JSON use the \
                         names and types of the struct"
                    ),
                );
            }
        }
    }
}
