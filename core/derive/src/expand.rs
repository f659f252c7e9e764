//! Writes the implementation. Everything is named through the doc-hidden module `derive` of the
//! core, which the facade re-exports, and through `::core` and `::std`, so that nothing in the
//! user's scope matters.

use proc_macro2::TokenStream;
use quote::quote;
use syn::LitStr;

use crate::{
    field::{Auto, Field, OnDelete},
    model::Entity,
    shape::Shape,
};

pub(crate) fn expand(entity: &Entity) -> TokenStream {
    let (ident, name) = (&entity.ident, &entity.name);
    let krate = &entity.krate;
    let krate = quote!(#krate::derive);
    let (id_ty, id) = id(entity);
    let id_names = entity.primary_key.iter().map(|it| &entity.fields[*it].name);
    let schema = schema(entity, &krate);
    let idents: Vec<_> = entity.fields.iter().map(|field| &field.ident).collect();
    let indices = 0..idents.len();
    quote! {
        #[automatically_derived]
        impl #krate::Entity for #ident {
            type Id = #id_ty;

            const NAME: &'static str = #name;
            const PRIMARY_KEY: &'static [&'static str] = &[#(#id_names),*];

            fn schema() -> &'static #krate::Schema {
                static SCHEMA: #krate::OnceLock<#krate::Schema> = #krate::OnceLock::new();
                SCHEMA.get_or_init(|| #schema)
            }

            fn id(&self) -> #id_ty {
                #id
            }

            fn to_row(&self) -> #krate::Row {
                #krate::Row(::std::vec![#(#krate::FieldValue::to_value(&self.#idents)),*])
            }

            fn from_row(mut row: #krate::Row) -> ::core::result::Result<Self, #krate::RowError> {
                let schema = <Self as #krate::Entity>::schema();
                ::core::result::Result::Ok(Self {
                    #(#idents: row.take(#indices, schema)?,)*
                })
            }
        }
    }
}

/// Returns the type of the primary key, and the expression that reads it from `self`: the field's
/// own, or a tuple if there are several fields.
fn id(entity: &Entity) -> (TokenStream, TokenStream) {
    let fields = entity
        .primary_key
        .iter()
        .map(|index| &entity.fields[*index]);
    let types = fields.clone().map(|field| &field.ty);
    let values = fields.map(|field| {
        let ident = &field.ident;
        quote!(::core::clone::Clone::clone(&self.#ident))
    });

    match entity.primary_key[..] {
        [_] => (quote!(#(#types)*), quote!(#(#values)*)),
        _ => (quote!((#(#types),*)), quote!((#(#values),*))),
    }
}

fn schema(entity: &Entity, krate: &TokenStream) -> TokenStream {
    let (name, on_struct) = (&entity.name, &entity.on_struct);
    let fields = entity.fields.iter().map(|field| self::field(field, krate));
    let endpoint_key = on_struct.endpoint_key.iter();
    let cache_key = on_struct.cache_keys.iter().map(|names| list(names));
    let unique = on_struct.unique.iter().map(|names| list(names));
    let at_least_one_of = on_struct.at_least_one_of.iter().map(|names| list(names));
    let checks = on_struct.checks.iter().map(|(name, path)| {
        quote! {
            .check(#name, |row| match <Self as #krate::Entity>::from_row(::core::clone::Clone::clone(row)) {
                ::core::result::Result::Ok(entity) => #path(&entity),
                // A row that does not fit the struct is refused before it is checked.
                ::core::result::Result::Err(_) => ::core::result::Result::Ok(()),
            })
        }
    });
    let admin_api = on_struct.admin_api.iter().map(|api| {
        let name = &api.name;
        let nested = match &api.nested {
            Some(nested) => quote!(::core::option::Option::Some(#nested)),
            None => quote!(::core::option::Option::None),
        };
        quote!(#name, #nested)
    });
    quote! {
        #krate::Schema::builder(#name)
            #(.field(#fields))*
            #(.endpoint_key(#endpoint_key))*
            #(.cache_key(#cache_key))*
            #(.unique_together(#unique))*
            #(.at_least_one_of(#at_least_one_of))*
            #(#checks)*
            #(.admin_api(#admin_api))*
            .build()
    }
}

fn list(names: &[LitStr]) -> TokenStream {
    quote!(&[#(#names),*])
}

fn field(field: &Field, krate: &TokenStream) -> TokenStream {
    let (name, ty) = (&field.name, &field.ty);
    let primary_key = field.primary_key.as_ref().map(|_| quote!(.primary_key()));
    let unique = field.unique.as_ref().map(|_| quote!(.unique()));
    let required = field.required.as_ref().map(|_| quote!(.required()));
    let immutable = field.immutable.as_ref().map(|_| quote!(.immutable()));
    let secret = field.secret.as_ref().map(|_| quote!(.secret()));
    let expires = field.expires.as_ref().map(|_| quote!(.expires()));
    let default = field.default.as_ref().map(|it| quote!(.default(#it)));
    let pattern = field.pattern.as_ref().map(|it| quote!(.pattern(#it)));
    let one_of = field.one_of.as_ref().map(|it| quote!(.one_of([#(#it),*])));
    let length = field.length.as_ref().map(|length| {
        let min = length.min.iter();
        match &length.max {
            Some(max) => quote!(.length(#(#min)*..=#max)),
            None => quote!(.length(#(#min)*..)),
        }
    });
    let auto = field.auto.as_ref().map(|(auto, _)| {
        let auto = match auto {
            Auto::Random => quote!(Random),
            Auto::CreateTime => quote!(CreateTime),
            Auto::UpdateTime => quote!(UpdateTime),
            Auto::Version => quote!(Version),
        };
        quote!(.auto(#krate::Auto::#auto))
    });
    let foreign = match &field.field_type.shape {
        Shape::Ref(target) if field.foreign.is_some() => {
            let on_delete = match field.on_delete {
                Some((OnDelete::Cascade, _)) => quote!(Cascade),
                Some((OnDelete::SetNull, _)) => quote!(SetNull),
                Some((OnDelete::Restrict, _)) | None => quote!(Restrict),
            };
            let on_update = match field.on_update {
                Some(_) => quote!(Evict),
                None => quote!(Keep),
            };
            Some(quote! {
                .foreign::<#target>(#krate::OnDelete::#on_delete, #krate::OnUpdate::#on_update)
            })
        }
        _ => None,
    };
    quote! {
        #krate::Field::of::<#ty>(#name) #primary_key #unique #required #auto #foreign
            #default #immutable #secret #expires #length #pattern #one_of
    }
}
