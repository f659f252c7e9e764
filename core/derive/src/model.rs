//! The struct, read and checked.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Data, DeriveInput, Fields, LitStr, Meta, Token, punctuated::Punctuated};

use crate::{
    attributes::{self, ON_FIELD, ON_STRUCT},
    check,
    faults::Faults,
    field::Field,
    home, serde_names,
};

/// An entity without faults.
pub(crate) struct Entity {
    pub(crate) ident: syn::Ident,
    pub(crate) home: TokenStream,
    pub(crate) name: LitStr,
    /// Which field is the primary key.
    pub(crate) primary_key: usize,
    pub(crate) on_struct: OnStruct,
    pub(crate) fields: Vec<Field>,
}

/// The attributes on the struct.
#[derive(Default)]
pub(crate) struct OnStruct {
    pub(crate) name: Option<LitStr>,
    pub(crate) endpoint_key: Option<LitStr>,
    pub(crate) cache_key: Option<Vec<LitStr>>,
    pub(crate) unique: Vec<Vec<LitStr>>,
    pub(crate) at_least_one_of: Vec<Vec<LitStr>>,
    pub(crate) admin_api: Option<AdminApi>,
    home: Option<TokenStream>,
}

/// `admin_api(name = "..", nested = "..")`
pub(crate) struct AdminApi {
    pub(crate) name: LitStr,
    pub(crate) nested: Option<LitStr>,
}

impl Entity {
    /// Reads a struct.
    ///
    /// # Errors
    ///
    /// All its faults.
    pub(crate) fn read(input: &DeriveInput) -> syn::Result<Self> {
        let mut faults = Faults::default();
        if !input.generics.params.is_empty() {
            faults.add(
                &input.generics,
                "an entity has no type parameters: its schema is made once",
            );
        }
        serde_names::check(&input.attrs, &mut faults);
        let (items, all_read) = attributes::items(&input.attrs, "entity", &mut faults);
        let mut on_struct = OnStruct::default();
        for item in &items {
            on_struct.take(item, &mut faults);
        }
        let given = items.iter().any(|item| attributes::word(item) == "name");
        if all_read && !given {
            faults.add(
                &input.ident,
                "an entity needs a name: `#[entity(name = \"..\")]` above the struct",
            );
        }
        let home = on_struct.home.clone().or_else(|| {
            home::find()
                .map_err(|message| faults.add(&input.ident, message))
                .ok()
        });
        let Some(fields) = fields(input, &mut faults) else {
            return faults.or(()).and_then(|()| Err(unreadable(input)));
        };
        let primary_key = check::primary_key(&input.ident, &fields, &mut faults);
        check::names(&on_struct, &fields, &mut faults);
        let found = (on_struct.name.clone(), primary_key, home);
        faults.or(())?;
        let (Some(name), Some(primary_key), Some(home)) = found else {
            return Err(unreadable(input));
        };
        Ok(Self {
            ident: input.ident.clone(),
            home,
            name,
            primary_key,
            on_struct,
            fields,
        })
    }
}

/// For a fault that got away: a macro that writes nothing would leave the user without any message.
fn unreadable(input: &DeriveInput) -> syn::Error {
    syn::Error::new_spanned(&input.ident, "the entity's attributes cannot be read")
}

/// The fields of a struct with named ones.
fn fields(input: &DeriveInput, faults: &mut Faults) -> Option<Vec<Field>> {
    let wrong = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(named) => {
                let named = named.named.iter();
                return Some(
                    named
                        .filter_map(|field| Some(Field::read(field.ident.as_ref()?, field, faults)))
                        .collect(),
                );
            }
            Fields::Unnamed(unnamed) => unnamed.to_token_stream(),
            Fields::Unit => input.ident.to_token_stream(),
        },
        Data::Enum(data) => data.enum_token.to_token_stream(),
        Data::Union(data) => data.union_token.to_token_stream(),
    };
    faults.add(wrong, "an entity is a struct with named fields");
    None
}

impl OnStruct {
    fn take(&mut self, item: &Meta, faults: &mut Faults) {
        match attributes::word(item).as_str() {
            "name" => {
                let name = attributes::text(item, faults);
                if let Some(name) = name.as_ref().filter(|name| !is_identifier(&name.value())) {
                    faults.add(
                        name,
                        "a name is made of a-z, 0-9 and _, and begins with a letter",
                    );
                }
                attributes::set(&mut self.name, name, item, faults);
            }
            "endpoint_key" => {
                let key = attributes::text(item, faults);
                attributes::set(&mut self.endpoint_key, key, item, faults);
            }
            "cache_key" => {
                let few = "`cache_key` names at least one field: `cache_key(\"a\")`";
                let parts = attributes::texts(item, 1, few, faults);
                attributes::set(&mut self.cache_key, parts, item, faults);
            }
            "unique" => {
                let few =
                    "`unique(..)` names two fields or more; mark a single one `#[entity(unique)]`";
                self.unique.extend(attributes::texts(item, 2, few, faults));
            }
            "at_least_one_of" => {
                let few = "`at_least_one_of(..)` names two fields or more; mark a single one `#[entity(required)]`";
                self.at_least_one_of
                    .extend(attributes::texts(item, 2, few, faults));
            }
            "admin_api" => {
                let api = AdminApi::read(item, faults);
                attributes::set(&mut self.admin_api, api, item, faults);
            }
            "crate" => {
                let home = attributes::text(item, faults).and_then(|path| {
                    let parsed = path.parse_with(syn::Path::parse_mod_style);
                    parsed.map_err(|error| faults.push(error)).ok()
                });
                let home = home.map(ToTokens::into_token_stream);
                attributes::set(&mut self.home, home, item, faults);
            }
            _ => attributes::unknown(item, "struct", ON_STRUCT, ON_FIELD, faults),
        }
    }
}

impl AdminApi {
    fn read(item: &Meta, faults: &mut Faults) -> Option<Self> {
        const EXPECTED: &str =
            "expected `admin_api(name = \"..\")` or `admin_api(name = \"..\", nested = \"..\")`";
        let Meta::List(list) = item else {
            faults.add(item, EXPECTED);
            return None;
        };
        let items = list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .map_err(|error| faults.push(error))
            .ok()?;
        let (mut name, mut nested) = (None, None);
        let named = items.iter().any(|item| item.path().is_ident("name"));
        for item in &items {
            let slot = match attributes::word(item).as_str() {
                "name" => &mut name,
                "nested" => &mut nested,
                _ => {
                    attributes::unknown(item, "admin_api", &["name", "nested"], &[], faults);
                    continue;
                }
            };
            let path = attributes::text(item, faults);
            if let Some(path) = path.as_ref().filter(|path| !is_path(&path.value())) {
                faults.add(path, "a path of the admin API is made of a-z, 0-9, - and _");
            }
            attributes::set(slot, path, item, faults);
        }
        if !named {
            faults.add(item, EXPECTED);
        }
        Some(Self {
            name: name?,
            nested,
        })
    }
}

/// As the runtime check has it: a name of an entity or a field.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
}

fn is_path(path: &str) -> bool {
    !path.is_empty()
        && path
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
}
