//! An enum as a choice: of strings, or of shapes if untagged.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Result, Variant};

use crate::attributes::Attributes;
use crate::object::name_of;

pub(crate) fn expand(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let attributes = Attributes::read(&input.attrs)?;
    let (schema, arms) = match attributes.untagged {
        true => shapes(data)?,
        false => strings(data, &attributes)?,
    };
    let ident = &input.ident;
    let about = match attributes.about.as_str() {
        "" => quote!(),
        about => quote!(schema["description"] = #about.into();),
    };
    Ok(quote! {
        impl ::loupe_plugin::prelude::Schema for #ident {
            fn schema() -> ::loupe_plugin::serde_json::Value {
                #[allow(unused_mut)]
                let mut schema = #schema;
                #about
                schema
            }

            fn to_json(&self) -> ::loupe_plugin::serde_json::Value {
                match self {
                    #(#arms,)*
                }
            }
        }
    })
}

fn strings(data: &DataEnum, outer: &Attributes) -> Result<(TokenStream, Vec<TokenStream>)> {
    let (mut names, mut arms) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            let message = "variants with fields want `#[serde(untagged)]` on the enum";
            return Err(Error::new_spanned(variant, message));
        }
        let name = name_of(&variant.ident, &Attributes::read(&variant.attrs)?, outer)?;
        let ident = &variant.ident;
        arms.push(quote!(Self::#ident => #name.into()));
        names.push(name);
    }
    let schema =
        quote!(::loupe_plugin::serde_json::json!({"type": "string", "enum": [#(#names),*]}));
    Ok((schema, arms))
}

fn shapes(data: &DataEnum) -> Result<(TokenStream, Vec<TokenStream>)> {
    let (mut schemas, mut arms) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        let kind = only_field(variant)?;
        let ident = &variant.ident;
        schemas.push(quote!(<#kind as ::loupe_plugin::prelude::Schema>::schema()));
        arms.push(quote!(Self::#ident(one) => ::loupe_plugin::prelude::Schema::to_json(one)));
    }
    let schema = quote!(::loupe_plugin::serde_json::json!({"anyOf": [#(#schemas),*]}));
    Ok((schema, arms))
}

fn only_field(variant: &Variant) -> Result<&syn::Type> {
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(&fields.unnamed[0].ty),
        _ => Err(Error::new_spanned(variant, "an untagged variant holds exactly one value")),
    }
}
