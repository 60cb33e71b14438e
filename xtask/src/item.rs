//! Where an item is in a Rust file.

use std::ops::{Range, RangeInclusive};

use anyhow::{Context, Result, bail};
use syn::spanned::Spanned;
use syn::{Block, ImplItem, Item, TraitItem};

/// The lines of a file, from 1 on.
pub type Lines = RangeInclusive<usize>;

/// An item, with its doc comment and attributes.
#[derive(Debug)]
pub struct Found {
    /// How it can be named: `Verifier::verify`, and the same as `impl Verifier::verify`.
    names: Vec<String>,
    pub lines: Lines,
    /// The bytes of a function's body, with its braces.
    body: Option<Range<usize>>,
}

impl Found {
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    pub fn is(&self, name: &str) -> bool {
        self.names.iter().any(|it| plain(it) == plain(name))
    }
}

/// A name without its spaces.
fn plain(name: &str) -> String {
    name.split_whitespace().collect()
}

/// All items of a file. An item inside another comes after it.
///
/// # Errors
/// If the file is not Rust.
pub fn items(text: &str) -> Result<Vec<Found>> {
    let file = syn::parse_file(text).context("it is not valid Rust")?;
    let mut found = Vec::new();
    collect("", &file.items, &mut found);
    Ok(found)
}

/// The lines of the one item of this name.
///
/// # Errors
/// If no item or more than one has the name.
pub fn find(text: &str, name: &str) -> Result<Lines> {
    Ok(one(text, name)?.lines)
}

/// The bytes of the body of the one function of this name, with its braces.
///
/// # Errors
/// If no item or more than one has the name, or it is no function.
pub fn body(text: &str, name: &str) -> Result<Range<usize>> {
    one(text, name)?.body.with_context(|| format!("{name} is not a function with a body"))
}

fn one(text: &str, name: &str) -> Result<Found> {
    let mut found: Vec<_> = items(text)?.into_iter().filter(|item| item.is(name)).collect();
    match &found[..] {
        [_] => Ok(found.remove(0)),
        [] => bail!("there is no item {name}"),
        _ => {
            let lines: Vec<_> = found.iter().map(|item| item.lines.start().to_string()).collect();
            bail!("{name} is ambiguous: lines {}", lines.join(", "))
        }
    }
}

fn collect(prefix: &str, items: &[Item], found: &mut Vec<Found>) {
    let mut add = |names: &[String], lines: Lines, block: Option<&Block>| {
        let names = names.iter().map(|name| format!("{prefix}{name}")).collect();
        found.push(Found { names, lines, body: block.map(|it| it.span().byte_range()) });
    };
    let mut modules = Vec::new();
    for item in items {
        let ident = match item {
            Item::Const(it) => &it.ident,
            Item::Enum(it) => &it.ident,
            Item::Fn(it) => &it.sig.ident,
            Item::Static(it) => &it.ident,
            Item::Struct(it) => &it.ident,
            Item::Type(it) => &it.ident,
            Item::Union(it) => &it.ident,
            Item::Macro(it) => match &it.ident {
                Some(ident) => ident,
                None => continue,
            },
            Item::Trait(it) => {
                add(&[it.ident.to_string()], lines(it), None);
                for member in &it.items {
                    if let Some(name) = trait_member(member) {
                        add(&[format!("{}::{name}", it.ident)], lines(member), None);
                    }
                }
                continue;
            }
            Item::Impl(it) => {
                let names = impl_names(it);
                add(&names, lines(it), None);
                for member in &it.items {
                    if let Some(name) = impl_member(member) {
                        let own = [format!("{}::{name}", short(&it.self_ty))];
                        let more = names.iter().map(|it| format!("{it}::{name}"));
                        let block = if let ImplItem::Fn(it) = member { Some(&it.block) } else { None };
                        add(&own.into_iter().chain(more).collect::<Vec<_>>(), lines(member), block);
                    }
                }
                continue;
            }
            Item::Mod(it) => {
                add(&[it.ident.to_string()], lines(it), None);
                modules.push(it);
                continue;
            }
            _ => continue,
        };
        let block = if let Item::Fn(it) = item { Some(&*it.block) } else { None };
        add(&[ident.to_string()], lines(item), block);
    }
    for module in modules {
        if let Some((_, items)) = &module.content {
            collect(&format!("{prefix}{}::", module.ident), items, found);
        }
    }
}

fn lines(it: &impl Spanned) -> Lines {
    let span = it.span();
    span.start().line..=span.end().line
}

fn trait_member(member: &TraitItem) -> Option<String> {
    match member {
        TraitItem::Const(it) => Some(it.ident.to_string()),
        TraitItem::Fn(it) => Some(it.sig.ident.to_string()),
        TraitItem::Type(it) => Some(it.ident.to_string()),
        _ => None,
    }
}

fn impl_member(member: &ImplItem) -> Option<String> {
    match member {
        ImplItem::Const(it) => Some(it.ident.to_string()),
        ImplItem::Fn(it) => Some(it.sig.ident.to_string()),
        ImplItem::Type(it) => Some(it.ident.to_string()),
        _ => None,
    }
}

/// `impl Trait for Type`, with the last names of both only, and as it is written.
fn impl_names(it: &syn::ItemImpl) -> Vec<String> {
    let written = |span: proc_macro2::Span| span.source_text().unwrap_or_default();
    let Some((path, _)) = &it.trait_ else {
        return vec![format!("impl {}", short(&it.self_ty)), format!("impl {}", written(it.self_ty.span()))];
    };
    let trait_ = path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    vec![
        format!("impl {trait_} for {}", short(&it.self_ty)),
        format!("impl {} for {}", written(path.span()), written(it.self_ty.span())),
    ]
}

/// A type's own name: `Verifier` of `verify::Verifier<'a>`.
fn short(it: &syn::Type) -> String {
    match it {
        syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default(),
        syn::Type::Reference(it) => format!("&{}", short(&it.elem)),
        other => other.span().source_text().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
//! A module.

/// How many.
const MANY: usize = 3;

#[derive(Debug)]
pub struct One<'a> {
    it: &'a str,
}

impl<'a> One<'a> {
    /// Makes one.
    pub fn new(it: &'a str) -> Self { One { it } }
    fn both(&self) {}
}

impl From<u8> for One<'_> {
    fn from(_: u8) -> Self { todo!() }
}
impl std::convert::From<u16> for One<'_> {
    fn from(_: u16) -> Self { todo!() }
}

trait Two {
    fn both(&self);
}
impl Two for One<'_> {
    fn both(&self) {}
}

mod inner {
    pub fn deep() {}
}
";

    fn lines(name: &str) -> Result<(usize, usize)> {
        find(TEXT, name).map(|lines| (*lines.start(), *lines.end()))
    }

    #[test]
    fn an_item_is_found_with_its_comment_and_its_attributes() -> Result<()> {
        for (name, first, last) in [
            ("MANY", 3, 4),
            ("One", 6, 9),
            ("impl One", 11, 15),
            ("One::new", 12, 13),
            ("impl Two for One", 27, 29),
            ("impl Two for One::both", 28, 28),
            ("impl From<u8> for One<'_>", 17, 19),
            ("Two::both", 25, 25),
            ("inner::deep", 32, 32),
        ] {
            assert_eq!(lines(name)?, (first, last), "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_functions_body_is_found_with_its_braces() -> Result<()> {
        for (name, is) in [("One::new", "{ One { it } }"), ("impl Two for One::both", "{}"), ("inner::deep", "{}")] {
            assert_eq!(&TEXT[body(TEXT, name)?], is, "{name}");
        }
        let text = format!("// §: two bytes\n{TEXT}");
        assert_eq!(&text[body(&text, "One::new")?], "{ One { it } }");
        for name in ["One", "MANY", "Two::both", "One::both"] {
            assert!(body(TEXT, name).is_err(), "{name}");
        }
        Ok(())
    }

    #[test]
    fn no_item_is_guessed() {
        for (name, error) in [
            ("Three", "there is no item Three"),
            ("deep", "there is no item deep"),
            ("One::both", "One::both is ambiguous: lines 14, 28"),
            ("impl From for One", "impl From for One is ambiguous: lines 17, 20"),
        ] {
            assert_eq!(lines(name).map_err(|error| error.to_string()), Err(error.to_owned()));
        }
        assert!(find("fn {", "One").is_err());
    }
}
