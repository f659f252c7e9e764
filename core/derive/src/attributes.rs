//! The grammar of `#[entity(..)]`: flags, `key = "text"`, `key("text", ..)`.

use quote::ToTokens;
use syn::{
    Attribute, Expr, ExprLit, ExprUnary, Lit, LitInt, LitStr, Meta, MetaNameValue, Token, UnOp,
    punctuated::Punctuated,
};

use crate::faults::{Faults, listed, nearest};

/// The attributes of the struct.
pub(crate) const ON_STRUCT: &[&str] = &[
    "name",
    "endpoint_key",
    "cache_key",
    "unique",
    "at_least_one_of",
    "check",
    "admin_api",
    "crate",
];

/// The attributes of a field.
pub(crate) const ON_FIELD: &[&str] = &[
    "primary_key",
    "auto",
    "unique",
    "required",
    "default",
    "immutable",
    "secret",
    "expires",
    "length",
    "pattern",
    "one_of",
    "auto_create_time",
    "auto_update_time",
    "version",
    "foreign",
    "on_delete",
    "on_update",
];

/// Returns the items of all attributes of this name; what cannot be read is noted as a fault.
///
/// The flag says whether all could be read: if not, an item that seems to be missing may only be
/// unreadable.
pub(crate) fn items(
    attributes: &[Attribute],
    name: &str,
    faults: &mut Faults,
) -> (Vec<Meta>, bool) {
    let mut items = Vec::new();
    let mut all_read = true;
    for attribute in attributes.iter().filter(|a| a.path().is_ident(name)) {
        match attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) {
            Ok(found) => items.extend(found),
            Err(error) => {
                all_read = false;
                faults.push(error);
            }
        }
    }

    (items, all_read)
}

/// Returns the first word of an item: `on_delete` in `on_delete = "cascade"`.
pub(crate) fn word(item: &Meta) -> String {
    item.path().to_token_stream().to_string().replace(' ', "")
}

/// Returns which of the words allowed here an item begins with.
///
/// Another word is a fault, and is then taken for the nearest one, so that one misspelling makes
/// one message.
pub(crate) fn known(
    item: &Meta,
    here: &[&'static str],
    elsewhere: &[&str],
    faults: &mut Faults,
) -> Option<&'static str> {
    let word = word(item);
    let exact = here.iter().copied().find(|known| *known == word);
    if exact.is_some() {
        return exact;
    }

    let allowed = listed(&word, here.iter().copied());
    if elsewhere.contains(&word.as_str()) {
        let other = if here == ON_FIELD {
            "the struct"
        } else {
            "a field"
        };
        faults.add(
            item.path(),
            format!("`{word}` belongs on {other}; allowed here: {allowed}"),
        );
        return None;
    }

    faults.add(
        item.path(),
        format!("unknown attribute `{word}`; allowed here: {allowed}"),
    );
    nearest(&word, here.iter().copied())
}

/// Reads an item that should be a bare word. One with a value is a fault, but still counts as the
/// word.
pub(crate) fn flag(item: &Meta, faults: &mut Faults) -> Option<Meta> {
    if !matches!(item, Meta::Path(_)) {
        faults.add(item, format!("`{}` takes no value", word(item)));
    }
    Some(item.clone())
}

/// Returns the text of `word = "text"`.
pub(crate) fn text(item: &Meta, faults: &mut Faults) -> Option<LitStr> {
    let text = literal(item);
    if text.is_none() {
        let word = word(item);
        faults.add(item, format!("expected a text: `{word} = \"..\"`"));
    }
    text
}

/// Returns the text of `word = "text"` where it is one of a few.
pub(crate) fn choice(item: &Meta, allowed: &[&str], faults: &mut Faults) -> Option<LitStr> {
    let word = word(item);
    let Some(text) = literal(item) else {
        let allowed = allowed.iter().map(|text| format!("`{word} = \"{text}\"`"));
        let allowed = allowed.collect::<Vec<_>>().join(" or ");
        faults.add(item, format!("expected {allowed}"));
        return None;
    };

    let value = text.value();
    if allowed.contains(&value.as_str()) {
        return Some(text);
    }

    let allowed = listed(&value, allowed.iter().copied());
    faults.add(
        &text,
        format!("`{word}` cannot be {value:?}; allowed: {allowed}"),
    );
    None
}

fn literal(item: &Meta) -> Option<LitStr> {
    match item {
        Meta::NameValue(MetaNameValue {
            value:
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }),
            ..
        }) => Some(text.clone()),
        _ => None,
    }
}

/// Returns the value of `word = value`: a literal, with or without a sign, or the path of a
/// constant.
pub(crate) fn value(item: &Meta, faults: &mut Faults) -> Option<Expr> {
    if let Meta::NameValue(MetaNameValue { value, .. }) = item
        && is_value(value)
    {
        return Some(value.clone());
    }

    let word = word(item);
    faults.add(
        item,
        format!(
            "expected a literal or a constant: `{word} = \"..\"`, `{word} = 7`, `{word} = true`"
        ),
    );
    None
}

/// Returns the values of `word(value, ..)`, at least one.
pub(crate) fn values(item: &Meta, faults: &mut Faults) -> Option<Vec<Expr>> {
    let parsed = match item {
        Meta::List(list) => list
            .parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated)
            .ok(),
        _ => None,
    };
    let values: Vec<_> = parsed.into_iter().flatten().collect();
    if values.is_empty() || !values.iter().all(is_value) {
        let word = word(item);
        faults.add(
            item,
            format!("expected at least one value: `{word}(\"a\", \"b\")`"),
        );
        return None;
    }

    Some(values)
}

fn is_value(value: &Expr) -> bool {
    match value {
        Expr::Lit(_) | Expr::Path(_) => true,
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_),
            expr,
            ..
        }) => matches!(**expr, Expr::Lit(_)),
        // A macro passed it on.
        Expr::Group(group) => is_value(&group.expr),
        _ => false,
    }
}

/// The bounds of a length, each if it was given.
pub(crate) struct Length {
    pub(crate) min: Option<LitInt>,
    pub(crate) max: Option<LitInt>,
}

/// Returns the numbers of `word(min = 1, max = 40)`, at least one of them.
pub(crate) fn length(item: &Meta, faults: &mut Faults) -> Option<Length> {
    let mut length = Length {
        min: None,
        max: None,
    };
    let parsed = match item {
        Meta::List(list) => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .ok(),
        _ => None,
    };
    let bounds: Vec<_> = parsed.into_iter().flatten().collect();
    for bound in &bounds {
        let slot = match known(bound, &["min", "max"], &[], faults) {
            Some("min") => &mut length.min,
            Some(_) => &mut length.max,
            None => continue,
        };
        let number = number(bound);
        if number.is_none() {
            let word = word(bound);
            faults.add(bound, format!("expected a whole number: `{word} = 3`"));
        }

        set(slot, number, bound, faults);
    }

    if bounds.is_empty() {
        let word = word(item);
        faults.add(
            item,
            format!("expected `{word}(min = 1, max = 40)`, or one of both"),
        );
        return None;
    }

    Some(length)
}

fn number(item: &Meta) -> Option<LitInt> {
    match item {
        Meta::NameValue(MetaNameValue {
            value:
                Expr::Lit(ExprLit {
                    lit: Lit::Int(number),
                    ..
                }),
            ..
        }) if number.base10_parse::<usize>().is_ok() => Some(number.clone()),
        _ => None,
    }
}

/// Returns the texts of `word("a", "b")`, at least `least` of them and none twice.
pub(crate) fn texts(
    item: &Meta,
    least: usize,
    too_few: &str,
    faults: &mut Faults,
) -> Option<Vec<LitStr>> {
    let parsed = match item {
        Meta::List(list) => list
            .parse_args_with(Punctuated::<LitStr, Token![,]>::parse_terminated)
            .ok(),
        _ => None,
    };
    let Some(texts) = parsed else {
        let word = word(item);
        faults.add(
            item,
            format!("expected names of fields: `{word}(\"a\", \"b\")`"),
        );
        return None;
    };

    let texts: Vec<_> = texts.into_iter().collect();
    if texts.len() < least {
        faults.add(item, too_few);
        return None;
    }

    for (index, text) in texts.iter().enumerate() {
        if texts[..index]
            .iter()
            .any(|earlier| earlier.value() == text.value())
        {
            faults.add(text, format!("`{}` is named twice", text.value()));
        }
    }

    Some(texts)
}

/// Fills a slot that may be filled once.
pub(crate) fn set<T>(slot: &mut Option<T>, value: Option<T>, item: &Meta, faults: &mut Faults) {
    if slot.is_some() {
        faults.add(item, format!("`{}` is given twice", word(item)));
    } else if value.is_some() {
        *slot = value;
    }
}
