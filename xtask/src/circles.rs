//! Modules that need each other in a circle: none of them can be read, or used, without all the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A module's path in its crate, such as `["token", "code"]`; that of `main.rs` and `lib.rs` is empty.
type Module = Vec<String>;

/// The circles in a crate, one line each: the modules of `src` and the files of each that use the next. The crate's root
/// is not among them, since it only wires the others together.
pub fn find(src: &Path) -> Result<Vec<String>> {
    let mut files = BTreeMap::new();
    collect(src, &Module::new(), &mut files)?;
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    let mut arrows: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, text) in &files {
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow::anyhow!("{} in {}: {error}", module.join("::"), src.display()))?;
        let mut uses = BTreeSet::new();
        Reader { module, modules: &modules, uses: &mut uses }.read(tokens);
        uses.retain(|used| used != module && !used.is_empty());
        arrows.insert(module, uses);
    }
    Ok(circles(&arrows))
}

fn collect(folder: &Path, module: &Module, files: &mut BTreeMap<Module, String>) -> Result<()> {
    let context = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "bin" {
            collect(&path, &[&module[..], &[name]].concat(), files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let root = name == "mod" || module.is_empty() && (name == "main" || name == "lib");
            let module = if root { module.clone() } else { [&module[..], &[name]].concat() };
            files.entry(module).or_default().push_str(&fs::read_to_string(&path).with_context(context)?);
        }
    }
    Ok(())
}

/// Looks for the paths that lead to other modules: `crate::…`, `super::…`, and what begins with a module of one's own. A
/// module that only hands on what its own modules have (`pub use`) does not need them for that.
struct Reader<'a> {
    module: &'a Module,
    modules: &'a BTreeSet<Module>,
    uses: &'a mut BTreeSet<Module>,
}

impl Reader<'_> {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let (mut position, mut after_colons) = (0, false);
        while let Some(token) = tokens.get(position) {
            position += 1;
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    if let Some(TokenTree::Group(attribute)) = tokens.get(position)
                        && attribute.to_string().replace(' ', "") == "[cfg(test)]"
                    {
                        position += 1 + item(&tokens[position + 1..]);
                    }
                }
                TokenTree::Ident(ident) if *ident == "pub" && is_reexport(&tokens[position..]) => {
                    position += item(&tokens[position..]);
                }
                TokenTree::Ident(ident) if !after_colons && is_colons(&tokens[position..]) => {
                    let start = match ident.to_string().as_str() {
                        "crate" => Some(Module::new()),
                        "self" => Some(self.module.clone()),
                        "super" => Some(self.module[..self.module.len().saturating_sub(1)].to_vec()),
                        name => {
                            let own = [&self.module[..], &[name.to_owned()]].concat();
                            (!self.module.is_empty() && self.modules.contains(&own)).then_some(own)
                        }
                    };
                    if let Some(start) = start {
                        self.path(start, &tokens[position..]);
                    }
                }
                TokenTree::Group(group) => self.read(group.stream()),
                _ => {}
            }
            // Two colons; one alone comes before a type.
            after_colons = position > 1 && is_colons(&tokens[position - 2..position]);
        }
    }

    /// What follows a path's beginning: `::a::b`, `::{a, b::{c, d}}`.
    fn path(&mut self, module: Module, tokens: &[TokenTree]) {
        if !is_colons(tokens) {
            self.uses.insert(module);
            return;
        }
        match tokens.get(2) {
            Some(TokenTree::Ident(name)) if *name == "super" => {
                self.path(module[..module.len().saturating_sub(1)].to_vec(), &tokens[3..]);
            }
            Some(TokenTree::Ident(name)) => {
                let inner = [&module[..], &[name.to_string()]].concat();
                if self.modules.contains(&inner) {
                    self.path(inner, &tokens[3..]);
                } else {
                    self.uses.insert(module); // something that is in the module
                }
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                let comma = |token: &TokenTree| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',');
                // Behind the last comma there may be nothing.
                for one in inside.split(comma).filter(|one| !one.is_empty()) {
                    let colons: TokenStream = "::".parse().unwrap_or_default();
                    self.path(module.clone(), &colons.into_iter().chain(one.iter().cloned()).collect::<Vec<_>>());
                }
            }
            _ => {
                self.uses.insert(module);
            }
        }
    }
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    matches!(tokens.first(), Some(TokenTree::Punct(first)) if first.spacing() == Spacing::Joint)
        && colon(tokens.first())
        && colon(tokens.get(1))
}

/// Whether `use` follows, perhaps after `(crate)`, and then one of the module's own modules.
fn is_reexport(tokens: &[TokenTree]) -> bool {
    let rest = if let Some(TokenTree::Group(_)) = tokens.first() { &tokens[1..] } else { tokens };
    matches!(rest, [TokenTree::Ident(word), TokenTree::Ident(first), ..]
        if *word == "use" && *first != "crate" && *first != "super")
}

/// How many tokens the next item has: it ends with a semicolon, or with its braces.
fn item(tokens: &[TokenTree]) -> usize {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    });
    end.map_or(tokens.len(), |end| end + 1)
}

/// The groups of modules of which each reaches each other.
fn circles(arrows: &BTreeMap<&Module, BTreeSet<Module>>) -> Vec<String> {
    let reached = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for used in arrows.get(module).into_iter().flatten() {
                if seen.insert(used.clone()) {
                    next.push(used);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&Module, BTreeSet<Module>> = arrows.keys().map(|module| (*module, reached(module))).collect();
    let mut found = BTreeSet::new();
    for (module, reaches) in &all {
        if reaches.contains(*module) {
            let circle = reaches.iter().filter(|other| all.get(*other).is_some_and(|back| back.contains(*module)));
            found.insert(circle.map(|module| module.join("::")).collect::<Vec<_>>().join(", "));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn crate_of(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        find(crate_of(files).path()).unwrap()
    }

    #[test]
    fn circles_are_found_however_the_paths_are_written() {
        for (a, b) in [
            ("use crate::b::B;", "use crate::a::A;"),
            ("use crate::{b, c::C};", "fn f() { crate::a::f() }"),
            ("use crate::{c::{self, C}, b::{B as X}};", "use super::a;"),
            ("use super::{b::B};", "mod inner { fn f(_: crate::a::A) {} }"),
            ("pub(crate) use crate::b::B;", "pub use crate::a::A;"),
        ] {
            assert_eq!(
                circles_of(&[("lib.rs", "mod a; mod b; mod c;"), ("a.rs", a), ("b.rs", b), ("c.rs", "")]),
                ["a, b"]
            );
        }
        let three = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a;"),
            ("d.rs", "use crate::a;"),
        ];
        assert_eq!(circles_of(&three), ["a, b, c"]);
    }

    #[test]
    fn folders_are_modules_too() {
        let needs_its_parent = "use super::Shared;";
        let parent =
            |text| [("store/mod.rs", text), ("store/keys.rs", needs_its_parent), ("x.rs", "use crate::store::keys;")];
        assert_eq!(circles_of(&parent("mod keys; fn f() { keys::open() }")), ["store, store::keys"]);
        assert_eq!(circles_of(&parent("mod keys; pub use keys::Keys;")), [""; 0]);
        let siblings =
            [("a.rs", "mod b; mod c; fn f() { b::g() }"), ("a/b.rs", "use super::{\n    c::C,\n};"), ("a/c.rs", "")];
        assert_eq!(circles_of(&siblings), [""; 0]);
        assert_eq!(
            circles_of(&[("a/b.rs", "use super::c;"), ("a/c.rs", "use crate::a::b::B;"), ("a.rs", "")]),
            ["a::b, a::c"]
        );
    }

    #[test]
    fn tests_comments_and_the_root_make_no_circle() {
        for b in [
            "// use crate::a;\n/// [`crate::a::A`]\nfn f() {}",
            "#[cfg(test)]\nmod tests { use crate::a::A; }",
            "fn f() -> &'static str { \"crate::a\" }",
            "use crate::Root;",
            "use other::a::A;",
            "fn f() { other::a::f() }",
        ] {
            let files = [("main.rs", "use a::A; use b::B;"), ("a.rs", "use crate::b::B;"), ("b.rs", b)];
            assert_eq!(circles_of(&files), [""; 0], "{b}");
        }
    }
}
