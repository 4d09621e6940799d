//! The C header, from `abi.rs` and `abi/component.rs`: constants become `#define`, structs structs,
//! doc comments comments.

use std::collections::BTreeMap;
use std::fmt::Write;

use syn::{Attribute, Expr, Field, Item, Lit, Meta, ReturnType, Type, TypeBareFn};

const SOURCES: [&str; 2] =
    [include_str!("../../src/abi.rs"), include_str!("../../src/abi/component.rs")];

const OPENING: &str = "\
#ifndef LOUPE_PLUGIN_H
#define LOUPE_PLUGIN_H

/* Generated from plugins/sdk/src/abi.rs by `cargo run -p loupe-plugin --example header`. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {
#endif
";

const CLOSING: &str = "
/* The one symbol of a plugin. */
const LoupePlugin *loupe_plugin(void);

#ifdef __cplusplus
}
#endif

#endif
";

/// The whole header.
pub fn header() -> String {
    let files = SOURCES.map(|source| syn::parse_file(source).expect("the boundary is Rust"));
    let headings = headings();
    let mut out = comment(&docs(&files[0].attrs), "") + OPENING;
    let items = || files.iter().flat_map(|file| &file.items);
    let constants = items().filter_map(|item| match item {
        Item::Const(constant) if constant.ident != "_" => Some(constant),
        _ => None,
    });
    for constant in constants {
        let name = constant.ident.to_string();
        if let Some(heading) = headings.get(&name) {
            out += "\n";
            out += &comment(heading, "");
        }
        out += &comment(&docs(&constant.attrs), "");
        writeln!(out, "#define {name} {}", value(&constant.expr, &constant.ty)).expect("a string");
    }
    let structs = items().filter_map(|item| match item {
        Item::Struct(one) => Some(one),
        _ => None,
    });
    // Someone who includes dlpack.h has the same structs from there.
    let (dlpack, ours): (Vec<_>, Vec<_>) =
        structs.partition(|one| one.ident.to_string().starts_with("DL"));
    let (dlpack, ours) = (definitions(&dlpack), definitions(&ours));
    out + "\n#ifndef DLPACK_DLPACK_H_\n" + &dlpack + "#endif\n" + &ours + CLOSING
}

fn definitions(structs: &[&syn::ItemStruct]) -> String {
    let mut out = String::from("\n");
    for one in structs {
        writeln!(out, "typedef struct {0} {0};", one.ident).expect("a string");
    }
    for one in structs {
        out += "\n";
        out += &comment(&docs(&one.attrs), "");
        writeln!(out, "struct {} {{", one.ident).expect("a string");
        one.fields.iter().for_each(|field| out += &member(field));
        out += "};\n";
    }
    out
}

fn member(field: &Field) -> String {
    let name = field.ident.as_ref().expect("a named field").to_string();
    comment(&docs(&field.attrs), "    ") + &format!("    {};\n", declare(&field.ty, &name))
}

/// `name` declared with a type, in C's inside-out order.
fn declare(kind: &Type, name: &str) -> String {
    match kind {
        Type::Ptr(pointer) => {
            // What a pointer to const points to is const: `const T *name`, `const T *const *name`.
            let inner = match (&*pointer.elem, pointer.const_token.is_some()) {
                (inner @ Type::Ptr(_), true) => return declare(inner, &format!("const *{name}")),
                (inner, true) => format!("const {}", declare(inner, "")),
                (inner, false) => return declare(inner, &format!("*{name}")),
            };
            format!("{} *{name}", inner.trim_end())
        }
        Type::Array(array) => {
            let Expr::Lit(len) = &array.len else {
                panic!("an array's length is a literal");
            };
            let Lit::Int(len) = &len.lit else {
                panic!("an array's length is a number");
            };
            declare(&array.elem, &format!("{name}[{len}]"))
        }
        Type::Path(path) => {
            let last = path.path.segments.last().expect("a type has a name");
            if last.ident != "Option" {
                return format!("{} {name}", scalar(&last.ident.to_string()));
            }
            let syn::PathArguments::AngleBracketed(of) = &last.arguments else {
                panic!("an option of something");
            };
            match of.args.first() {
                Some(syn::GenericArgument::Type(Type::BareFn(function))) => {
                    pointer_to(function, name)
                }
                _ => panic!("only functions are optional"),
            }
        }
        _ => panic!("`{name}` has a type that C does not"),
    }
}

fn pointer_to(function: &TypeBareFn, name: &str) -> String {
    let parameters = function.inputs.iter().map(|parameter| {
        let (name, _) = parameter.name.as_ref().expect("parameters are named");
        declare(&parameter.ty, &name.to_string())
    });
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters };
    let pointer = format!("(*{name})({parameters})");
    match &function.output {
        ReturnType::Default => format!("void {pointer}"),
        ReturnType::Type(_, kind) => declare(kind, &pointer),
    }
}

fn scalar(name: &str) -> &str {
    match name {
        "u8" => "uint8_t",
        "u16" => "uint16_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "i32" => "int32_t",
        "i64" => "int64_t",
        "f32" => "float",
        "usize" => "size_t",
        "c_char" => "char",
        "c_void" => "void",
        ours => ours,
    }
}

fn value(value: &Expr, kind: &Type) -> String {
    let Expr::Lit(literal) = value else {
        panic!("a constant is a literal");
    };
    match (&literal.lit, kind) {
        (Lit::Str(text), _) => format!("\"{}\"", text.value()),
        (Lit::Int(number), Type::Path(path)) if path.path.is_ident("u32") => format!("{number}u"),
        (Lit::Int(number), Type::Path(path)) if path.path.is_ident("u64") => format!("{number}ull"),
        (Lit::Int(number), _) => number.to_string(),
        _ => panic!("a constant is a number or a text"),
    }
}

fn docs(attributes: &[Attribute]) -> Vec<String> {
    let line = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(line).collect()
}

/// The plain comments that stand right above a constant: headings of the group it begins.
fn headings() -> BTreeMap<String, Vec<String>> {
    let (mut headings, mut above) = (BTreeMap::new(), Vec::new());
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        match (line.strip_prefix("// "), line.strip_prefix("pub const ")) {
            (Some(text), _) => above.push(text.to_owned()),
            (None, Some(rest)) if !above.is_empty() => {
                let name = rest.split(':').next().unwrap_or_default().to_owned();
                headings.insert(name, std::mem::take(&mut above));
            }
            _ if line.starts_with("///") => {}
            _ => above.clear(),
        }
    }
    headings
}

fn comment(lines: &[String], indent: &str) -> String {
    match lines {
        [] => String::new(),
        [one] => format!("{indent}/* {one} */\n"),
        many => {
            let lines = many.iter().map(|line| format!("{indent} * {line}").trim_end().to_owned());
            let lines = lines.collect::<Vec<_>>().join("\n");
            format!("{indent}/*\n{lines}\n{indent} */\n")
        }
    }
}
