//! `#[derive(FieldValue)]`: an enum without fields becomes a text, a newtype its inner value.
//!
//! The form is that of serde: a variant's text is the one that serde writes, with `rename` and
//! `rename_all` applied.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Expr, ExprLit, Fields, Lit, Meta, MetaNameValue, Token,
    ext::IdentExt, punctuated::Punctuated,
};

use crate::{crate_path, faults::Faults};

/// Returns the implementation, if the type can have one, and notes the type's faults.
pub(crate) fn derive(input: &DeriveInput, faults: &mut Faults) -> Option<TokenStream> {
    if !input.generics.params.is_empty() {
        faults.add(&input.generics, "a field's type has no type parameters");
        return None;
    }
    let krate = crate_path::find();
    let krate = krate.map_err(|message| faults.add(&input.ident, message));
    let krate = krate.ok()?;
    let krate = quote!(#krate::derive);

    match &input.data {
        Data::Enum(data) => of_enum(input, data, &krate, faults),
        Data::Struct(data) => match &data.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let inner = &fields.unnamed[0];
                serde(&input.attrs, &["transparent"], faults);
                serde(&inner.attrs, &[], faults);
                Some(of_newtype(input, &inner.ty, &krate))
            }
            _ => {
                faults.add(
                    &input.ident,
                    "a field's type is an enum without fields, or a struct around one value: `struct Name(Inner);`",
                );
                None
            }
        },
        Data::Union(data) => {
            faults.add(data.union_token, "a union cannot be the type of a field");
            None
        }
    }
}

fn of_newtype(input: &DeriveInput, inner: &syn::Type, krate: &TokenStream) -> TokenStream {
    let ident = &input.ident;
    quote! {
        #[automatically_derived]
        impl #krate::FieldValue for #ident {
            const KIND: #krate::FieldKind = <#inner as #krate::FieldValue>::KIND;
            const OPTIONAL: bool = <#inner as #krate::FieldValue>::OPTIONAL;
            const RANGE: ::core::option::Option<::core::ops::RangeInclusive<i64>> =
                <#inner as #krate::FieldValue>::RANGE;
            const VALUES: &'static [&'static str] = <#inner as #krate::FieldValue>::VALUES;
            const FITS: ::core::option::Option<#krate::Fit> = <#inner as #krate::FieldValue>::FITS;

            fn to_value(&self) -> #krate::Value {
                #krate::FieldValue::to_value(&self.0)
            }

            fn from_value(value: #krate::Value) -> ::core::option::Option<Self> {
                <#inner as #krate::FieldValue>::from_value(value).map(Self)
            }
        }

        #[automatically_derived]
        impl #krate::KeyPart for #ident {
            fn write(&self, key: &mut #krate::KeyBuilder) {
                #krate::KeyPart::write(&#krate::FieldValue::to_value(self), key);
            }
        }
    }
}

fn of_enum(
    input: &DeriveInput,
    data: &DataEnum,
    krate: &TokenStream,
    faults: &mut Faults,
) -> Option<TokenStream> {
    let rule = serde(&input.attrs, &["rename_all"], faults);
    let rule = rule.map_or(Some(Case::AsIs), |(text, meta)| {
        let case = Case::of(&text);
        if case.is_none() {
            faults.add(meta, format!("{text:?} is no rule of serde's"));
        }
        case
    })?;
    if data.variants.is_empty() {
        faults.add(&input.ident, "an enum without variants has no value");
        return None;
    }

    let mut is_whole = true;
    let mut idents = Vec::new();
    let mut texts: Vec<String> = Vec::new();

    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            faults.add(
                variant,
                "a variant with fields cannot be a text; keep the enum in a `Json<..>`",
            );
            is_whole = false;
            continue;
        }

        let renamed = serde(&variant.attrs, &["rename"], faults);
        // As serde does: `r#async` is written as `async`.
        let name = variant.ident.unraw().to_string();
        let text = renamed.map_or_else(|| rule.apply(&name), |(text, _)| text);
        if text.is_empty() || texts.contains(&text) {
            faults.add(
                &variant.ident,
                format!("each variant needs a text of its own: {text:?} is empty or taken"),
            );
        }

        idents.push(&variant.ident);
        texts.push(text);
    }

    if !is_whole {
        return None;
    }

    let ident = &input.ident;
    Some(quote! {
        #[automatically_derived]
        impl #krate::FieldValue for #ident {
            const KIND: #krate::FieldKind = #krate::FieldKind::Text;
            const VALUES: &'static [&'static str] = &[#(#texts),*];

            fn to_value(&self) -> #krate::Value {
                let text = match self {
                    #(Self::#idents => #texts,)*
                };
                #krate::Value::Text(::std::string::ToString::to_string(text))
            }

            fn from_value(value: #krate::Value) -> ::core::option::Option<Self> {
                let #krate::Value::Text(text) = value else {
                    return ::core::option::Option::None;
                };
                match text.as_str() {
                    #(#texts => ::core::option::Option::Some(Self::#idents),)*
                    _ => ::core::option::Option::None,
                }
            }
        }

        #[automatically_derived]
        impl #krate::KeyPart for #ident {
            fn write(&self, key: &mut #krate::KeyBuilder) {
                #krate::KeyPart::write(&#krate::FieldValue::to_value(self), key);
            }
        }
    })
}

/// Returns the text of the one serde attribute that is allowed here; any other is a fault.
fn serde(
    attributes: &[Attribute],
    allowed: &[&str],
    faults: &mut Faults,
) -> Option<(String, Meta)> {
    let mut found = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("serde")) {
        // Serde itself reports an attribute that cannot be read.
        let items = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        for item in items.into_iter().flatten() {
            let word = item.path().get_ident().map(ToString::to_string);
            let word = word.unwrap_or_default();
            if word == "crate" || word == "expecting" {
                continue;
            }

            match text(&item) {
                Some(text) if allowed.contains(&word.as_str()) => found = Some((text, item)),
                None if allowed.contains(&word.as_str()) && word == "transparent" => {}
                _ => faults.add(
                    &item,
                    format!("a field's type cannot have `#[serde({word})]` here: its values are written as they are"),
                ),
            }
        }
    }

    found
}

fn text(item: &Meta) -> Option<String> {
    match item {
        Meta::NameValue(MetaNameValue {
            value:
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

/// How serde writes the names of variants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    AsIs,
    Lower,
    Upper,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    fn of(rule: &str) -> Option<Self> {
        Some(match rule {
            "PascalCase" => Self::AsIs,
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return None,
        })
    }

    fn apply(self, name: &str) -> String {
        match self {
            Self::AsIs => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Camel => {
                let (first, rest) = name.split_at(name.chars().next().map_or(0, char::len_utf8));
                first.to_ascii_lowercase() + rest
            }
            Self::Snake => parted(name, '_'),
            Self::ScreamingSnake => parted(name, '_').to_ascii_uppercase(),
            Self::Kebab => parted(name, '-'),
            Self::ScreamingKebab => parted(name, '-').to_ascii_uppercase(),
        }
    }
}

/// Writes `InReview` as `in_review`.
fn parted(name: &str, by: char) -> String {
    let mut parted = String::new();
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_uppercase() {
            parted.push(by);
        }
        parted.push(letter.to_ascii_lowercase());
    }
    parted
}
