//! [`Entity`]: the struct, read and checked.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Data, DeriveInput, Fields, LitStr};

use crate::{
    attributes, check, crate_path, faults::Faults, field::Field, on_struct::OnStruct, serde_names,
};

/// An entity, as far as it could be read.
pub(crate) struct Entity {
    pub(crate) ident: syn::Ident,
    pub(crate) krate: TokenStream,
    pub(crate) name: LitStr,
    /// The indices of the fields that form the primary key; at least one.
    pub(crate) primary_key: Vec<usize>,
    pub(crate) on_struct: OnStruct,
    pub(crate) fields: Vec<Field>,
}

impl Entity {
    /// Reads a struct and notes its faults.
    ///
    /// Returns what could be read even if there are faults. Without an implementation, the compiler
    /// would also report every use of the struct as an entity.
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

        let krate = on_struct.krate.clone().or_else(|| {
            crate_path::find()
                .map_err(|message| faults.add(&input.ident, message))
                .ok()
        });
        let mut fields = fields(input, faults)?;
        let primary_key = check::primary_key(&input.ident, &mut fields, faults);

        check::version(&fields, faults);
        check::names(&on_struct, &fields, faults);
        if generic {
            return None;
        }

        let name = on_struct.name.clone();
        Some(Self {
            ident: input.ident.clone(),
            krate: krate?,
            name: name.unwrap_or_else(|| LitStr::new("", input.ident.span())),
            primary_key: primary_key?,
            on_struct,
            fields,
        })
    }
}

/// Returns the fields of a struct that names them; anything else is a fault.
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
