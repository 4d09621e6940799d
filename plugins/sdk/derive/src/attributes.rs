//! The attributes that `Schema` reads.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprPath, Lit, LitStr, Meta, Result, Token, bracketed};

/// What serde is told of a type, field or variant, and what `schema` adds.
#[derive(Default)]
pub(crate) struct Attributes {
    /// The doc comment, joined to one line per paragraph.
    pub(crate) about: String,
    pub(crate) rename: Option<LitStr>,
    pub(crate) rename_all: Option<LitStr>,
    pub(crate) default: Option<DefaultValue>,
    pub(crate) untagged: bool,
    pub(crate) deny_unknown: bool,
    /// Keys of the schema and their values, as expressions that make a `serde_json::Value`.
    pub(crate) extra: Vec<(&'static str, TokenStream)>,
}

pub(crate) enum DefaultValue {
    /// The type's own.
    Own,
    /// What a function returns.
    Function(ExprPath),
    /// Written in the attribute.
    Literal(Expr),
}

impl Attributes {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut read = Attributes::default();
        let mut lines = Vec::new();
        for attribute in attributes {
            if attribute.path().is_ident("doc") {
                lines.extend(doc_line(attribute));
            } else if attribute.path().is_ident("serde") {
                attribute.parse_nested_meta(|meta| read.serde(&meta))?;
            } else if attribute.path().is_ident("schema") {
                attribute.parse_nested_meta(|meta| read.schema(&meta))?;
            }
        }
        let paragraphs = lines.split(String::is_empty).map(|lines| lines.join(" "));
        let paragraphs: Vec<String> = paragraphs.filter(|text| !text.is_empty()).collect();
        read.about = paragraphs.join("\n\n");
        Ok(read)
    }

    fn serde(&mut self, meta: &ParseNestedMeta) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match name.as_str() {
            "rename" => self.rename = Some(meta.value()?.parse()?),
            "rename_all" => self.rename_all = Some(meta.value()?.parse()?),
            "untagged" => self.untagged = true,
            "deny_unknown_fields" => self.deny_unknown = true,
            "default" if meta.input.peek(Token![=]) => {
                let path: LitStr = meta.value()?.parse()?;
                self.default.get_or_insert(DefaultValue::Function(path.parse()?));
            }
            "default" => {
                self.default.get_or_insert(DefaultValue::Own);
            }
            _ => return Err(meta.error("`Schema` cannot tell what this means for the config")),
        }
        Ok(())
    }

    fn schema(&mut self, meta: &ParseNestedMeta) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        let key = match name.as_str() {
            "file" => {
                self.extra.push(("format", quote!("loupe-file".into())));
                return Ok(());
            }
            "names" => {
                let list;
                let input = meta.value()?;
                bracketed!(list in input);
                let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
                let names = names.iter();
                self.extra.push(("x-names", quote!(::std::vec![#(#names),*].into())));
                return Ok(());
            }
            "default" => {
                self.default = Some(DefaultValue::Literal(meta.value()?.parse()?));
                return Ok(());
            }
            "min" => "minimum",
            "max" => "maximum",
            "above" => "exclusiveMinimum",
            "min_items" => "minItems",
            "max_items" => "maxItems",
            _ => {
                return Err(meta.error(
                    "wants one of `min`, `max`, `above`, `min_items`, `max_items`, `file`, \
                     `names`, `default`",
                ));
            }
        };
        let value: Expr = meta.value()?.parse()?;
        self.extra.push((key, quote!((#value).into())));
        Ok(())
    }
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    }
}
