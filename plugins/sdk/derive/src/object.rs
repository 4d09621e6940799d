//! A struct as an object.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataStruct, DeriveInput, Error, Field, Fields, Ident, Result};

use crate::attributes::{Attributes, DefaultValue};
use crate::case;

pub(crate) fn expand(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let attributes = Attributes::read(&input.attrs)?;
    if !attributes.deny_unknown {
        let message = "a config takes no unknown keys: add `#[serde(deny_unknown_fields)]`";
        return Err(Error::new_spanned(&input.ident, message));
    }
    let fields = match &data.fields {
        Fields::Named(fields) => fields.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => {
            return Err(Error::new_spanned(&input.ident, "a config's fields have names"));
        }
    };
    let own_default = matches!(attributes.default, Some(DefaultValue::Own));
    let parts = fields.into_iter().map(|field| part(field, &attributes, own_default));
    let parts: Vec<Part> = parts.collect::<Result<_>>()?;
    let properties = parts.iter().map(|part| &part.property);
    let (names, idents) =
        (parts.iter().map(|part| &part.name), parts.iter().map(|part| &part.ident));
    let (ident, about) = (&input.ident, &attributes.about);
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let default =
        own_default.then(|| quote! { let own: Self = ::core::default::Default::default(); });
    Ok(quote! {
        impl #generics ::loupe_plugin::prelude::Schema for #ident #arguments #bounds {
            fn schema() -> ::loupe_plugin::serde_json::Value {
                #default
                #[allow(unused_mut)]
                let mut object = ::loupe_plugin::schema::ObjectSchema::default();
                #(#properties)*
                object.finish(#about)
            }

            fn to_json(&self) -> ::loupe_plugin::serde_json::Value {
                #[allow(unused_mut)]
                let mut object = ::loupe_plugin::serde_json::Map::new();
                #(object.insert(
                    #names.to_owned(),
                    ::loupe_plugin::prelude::Schema::to_json(&self.#idents),
                );)*
                ::loupe_plugin::serde_json::Value::Object(object)
            }
        }
    })
}

struct Part {
    name: String,
    ident: Ident,
    /// The statement that adds the property.
    property: TokenStream,
}

fn part(field: &Field, outer: &Attributes, own_default: bool) -> Result<Part> {
    let attributes = Attributes::read(&field.attrs)?;
    let Some(ident) = field.ident.clone() else {
        return Err(Error::new_spanned(field, "a config's fields have names"));
    };
    let name = name_of(&ident, &attributes, outer)?;
    let kind = &field.ty;
    let to_json = quote!(::loupe_plugin::prelude::Schema::to_json);
    let default = match &attributes.default {
        Some(DefaultValue::Own) => {
            quote!(Some(#to_json(&<#kind as ::core::default::Default>::default())))
        }
        Some(DefaultValue::Function(path)) => quote!(Some({
            let value: #kind = #path();
            #to_json(&value)
        })),
        Some(DefaultValue::Literal(value)) => {
            quote!(Some(::loupe_plugin::serde_json::json!(#value)))
        }
        None if own_default => quote!(Some(#to_json(&own.#ident))),
        None => quote!(None),
    };
    let mut extra = attributes.extra;
    if !attributes.about.is_empty() {
        let about = &attributes.about;
        extra.push(("description", quote!(#about.into())));
    }
    let (keys, values) = (extra.iter().map(|one| one.0), extra.iter().map(|one| &one.1));
    let property = quote! {
        object.property::<#kind>(#name, &[#((#keys, #values)),*], #default);
    };
    Ok(Part { name, ident, property })
}

/// The name serde reads a field or variant under.
pub(crate) fn name_of(ident: &Ident, own: &Attributes, outer: &Attributes) -> Result<String> {
    if let Some(name) = &own.rename {
        return Ok(name.value());
    }
    let plain = ident.to_string();
    let plain = plain.strip_prefix("r#").unwrap_or(&plain);
    match &outer.rename_all {
        None => Ok(plain.to_owned()),
        Some(rule) => case::rename(plain, &rule.value())
            .ok_or_else(|| Error::new_spanned(rule, "unknown rule")),
    }
}
