//! `#[derive(Schema)]`: the JSON Schema of a config, from the type that reads it. What serde is
//! told (`rename`, `rename_all`, `default`, `untagged`) is read from serde's own attributes, so
//! that the two cannot disagree.

mod attributes;
mod case;
mod choice;
mod object;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, parse_macro_input};

/// A struct becomes an object that takes no unknown keys; an enum of plain variants a choice of
/// strings; an `#[serde(untagged)]` enum of one-field variants `anyOf`.
///
/// On fields: `#[schema(min = 0.0, max = 1.0, above = 0.0)]`, `#[schema(min_items = 1, max_items =
/// 6)]`, `#[schema(file)]` for a string that names a file, `#[schema(file, names = ["random"])]`
/// where some words are no files, `#[schema(default = "...")]` where serde's default is not to be
/// shown as it is.
#[proc_macro_derive(Schema, attributes(schema, serde))]
pub fn schema(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let expanded = match &input.data {
        Data::Struct(data) => object::expand(&input, data),
        Data::Enum(data) => choice::expand(&input, data),
        Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, "a union has no schema")),
    };
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
