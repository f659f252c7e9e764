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

/// An entity, as far as it could be read.
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
    /// Whether a name was given, be it a faulty one.
    named: bool,
}

/// `admin_api(name = "..", nested = "..")`
pub(crate) struct AdminApi {
    pub(crate) name: LitStr,
    pub(crate) nested: Option<LitStr>,
}

impl Entity {
    /// Reads a struct and notes its faults.
    ///
    /// What is readable is given also where there are faults: writing the implementation all the same keeps the
    /// compiler from complaining, wherever the entity is used, that it is none.
    pub(crate) fn read(input: &DeriveInput, faults: &mut Faults) -> Option<Self> {
        let generic = !input.generics.params.is_empty() || input.generics.where_clause.is_some();
        if generic {
            faults.add(
                &input.generics,
                "an entity has no type parameters: its schema is made once",
            );
        }
        serde_names::check(&input.attrs, faults);
        let (items, all_read) = attributes::items(&input.attrs, "entity", faults);
        let mut on_struct = OnStruct::default();
        for item in &items {
            on_struct.take(item, faults);
        }
        if all_read && !on_struct.named {
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
        let fields = fields(input, faults)?;
        let primary_key = check::primary_key(&input.ident, &fields, faults);
        check::names(&on_struct, &fields, faults);
        if generic {
            return None;
        }
        let name = on_struct.name.clone();
        Some(Self {
            ident: input.ident.clone(),
            home: home?,
            name: name.unwrap_or_else(|| LitStr::new("", input.ident.span())),
            primary_key: primary_key?,
            on_struct,
            fields,
        })
    }
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
        let Some(word) = attributes::known(item, ON_STRUCT, ON_FIELD, faults) else {
            return;
        };
        match word {
            "name" => {
                self.named = true;
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
            _ => {
                let home = attributes::text(item, faults).and_then(|path| {
                    let parsed = path.parse_with(syn::Path::parse_mod_style);
                    parsed.map_err(|error| faults.push(error)).ok()
                });
                let home = home.map(ToTokens::into_token_stream);
                attributes::set(&mut self.home, home, item, faults);
            }
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
        let (mut name, mut nested, mut named) = (None, None, false);
        for item in &items {
            let slot = match attributes::known(item, &["name", "nested"], &[], faults) {
                Some("name") => {
                    named = true;
                    &mut name
                }
                Some(_) => &mut nested,
                None => continue,
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
