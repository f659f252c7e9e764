//! The attributes on the struct, each with the tokens that gave it.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{LitStr, Meta, Token, punctuated::Punctuated};

use crate::{
    attributes::{self, ON_FIELD, ON_STRUCT},
    faults::Faults,
    names::{is_identifier, is_path},
};

/// The attributes on the struct.
#[derive(Default)]
pub(crate) struct OnStruct {
    pub(crate) name: Option<LitStr>,
    pub(crate) endpoint_key: Option<LitStr>,
    pub(crate) cache_keys: Vec<Vec<LitStr>>,
    pub(crate) unique: Vec<Vec<LitStr>>,
    pub(crate) at_least_one_of: Vec<Vec<LitStr>>,
    /// The functions that check a whole row, each with its name.
    pub(crate) checks: Vec<(LitStr, syn::Path)>,
    pub(crate) admin_api: Option<AdminApi>,
    pub(crate) krate: Option<TokenStream>,
    /// Whether a name was given, even a faulty one.
    pub(crate) named: bool,
}

/// `admin_api(name = "..", nested = "..")`
pub(crate) struct AdminApi {
    pub(crate) name: LitStr,
    pub(crate) nested: Option<LitStr>,
}

impl OnStruct {
    /// Reads one attribute and notes its faults.
    pub(crate) fn take(&mut self, item: &Meta, faults: &mut Faults) {
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
                self.cache_keys
                    .extend(attributes::texts(item, 1, few, faults));
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
            "check" => {
                let path = attributes::text(item, faults).and_then(|path| {
                    let parsed = path.parse::<syn::Path>();
                    let parsed = parsed.map_err(|error| faults.push(error)).ok();
                    Some((path, parsed?))
                });
                self.checks.extend(path);
            }
            "admin_api" => {
                let api = AdminApi::read(item, faults);
                attributes::set(&mut self.admin_api, api, item, faults);
            }
            "crate" => {
                let krate = attributes::text(item, faults).and_then(|path| {
                    let parsed = path.parse_with(syn::Path::parse_mod_style);
                    parsed.map_err(|error| faults.push(error)).ok()
                });
                let krate = krate.map(ToTokens::into_token_stream);
                attributes::set(&mut self.krate, krate, item, faults);
            }
            other => unreachable!("`{other}` is in ON_STRUCT and is not read"),
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
