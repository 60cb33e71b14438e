//! Links: finds those of a page, checks that they lead somewhere, and gives links to sources their targets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

fn events(page: &str) -> Parser<'_> {
    Parser::new_ext(page, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH)
}

/// Whether a file is a page.
pub fn is_page(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it == "md")
}

/// Where the links and images of a page lead, those in HTML too.
pub fn targets(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for event in events(page) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                targets.push(dest_url.to_string());
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                targets.extend([" href=\"", " src=\"", " srcset=\""].iter().flat_map(|name| attributes(&html, name)));
            }
            _ => {}
        }
    }
    targets
}

/// The places in a page that a link can lead to, as mdBook names them; and those that HTML names.
pub fn anchors(page: &str) -> BTreeSet<String> {
    let (mut anchors, mut heading) = (BTreeSet::new(), None::<String>);
    let mut seen = BTreeMap::<String, usize>::new();
    for event in events(page) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let id = slug(&heading.take().unwrap_or_default());
                let before = seen.entry(id.clone()).or_default();
                anchors.insert(if *before == 0 { id } else { format!("{id}-{before}") });
                *before += 1;
            }
            Event::Text(text) | Event::Code(text) => heading.iter_mut().for_each(|heading| heading.push_str(&text)),
            Event::Html(html) | Event::InlineHtml(html) => {
                anchors.extend([" id=\"", " name=\""].iter().flat_map(|name| attributes(&html, name)));
            }
            _ => {}
        }
    }
    anchors
}

/// The values of an attribute, whose name is given with what is before and after it.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let values = html.split(name).skip(1).filter_map(|rest| rest.split_once('"'));
    values.map(|(value, _)| value.to_owned()).collect()
}

/// A heading's name in links.
fn slug(heading: &str) -> String {
    let part = |c: char| match c {
        _ if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_lowercase().collect::<String>()),
        _ if c.is_whitespace() => Some("-".to_owned()),
        _ => None,
    };
    heading.trim().chars().filter_map(part).collect()
}

/// The links of the book's pages that lead nowhere.
pub fn broken(root: &Path, pages: &BTreeMap<String, String>) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, text) in pages {
        for target in targets(text) {
            if let Some(why) = fault(root, name, &target, pages) {
                broken.push(format!("{name}: the link to {target} leads nowhere: {why}"));
            }
        }
    }
    broken
}

fn fault(root: &Path, page: &str, target: &str, pages: &BTreeMap<String, String>) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    if let Some(path) = path.strip_prefix("repo:") {
        let file = root.join(path);
        let text = fs::read_to_string(&file).unwrap_or_default();
        return match anchor.strip_prefix('L').and_then(|number| number.parse::<usize>().ok()) {
            _ if !file.exists() => Some("there is no such file".to_owned()),
            Some(line) => (line > text.lines().count()).then(|| format!("it has no line {line}")),
            None => {
                (!anchor.is_empty() && !anchors(&text).contains(anchor)).then(|| format!("it has no heading {anchor}"))
            }
        };
    }
    if ["https://", "http://", "mailto:"].iter().any(|scheme| path.starts_with(scheme)) {
        return None;
    }
    let there = if path.is_empty() { page } else { path };
    let Some(text) = pages.get(there) else {
        let is_image = root.join("book/src").join(there).is_file() && !is_page(there);
        return (!is_image).then(|| "there is no such page".to_owned());
    };
    (!anchor.is_empty() && !anchors(text).contains(anchor)).then(|| format!("the page has no heading {anchor}"))
}

/// Gives the links to sources their real targets.
pub fn rewrite(page: &str, to: &dyn Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some(at) = rest.find("repo:") {
        let (before, after) = (&rest[..at], &rest[at + 5..]);
        text.push_str(before);
        let end = after.find([')', '"', '\n']).unwrap_or(after.len());
        if before.ends_with("](") || before.ends_with("=\"") {
            text.push_str(&to(&after[..end]));
            rest = &after[end..];
        } else {
            text.push_str("repo:");
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::*;

    #[test]
    fn headings_are_named_as_mdbook_does() {
        let page = "# 6.2 What `aud` is\n\n## Run it\n\n## Run it\n\n<a id=\"here\"></a>\n";
        let names = ["62-what-aud-is", "here", "run-it", "run-it-1"];
        assert_eq!(anchors(page), names.map(str::to_owned).into());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("book/src"))?;
        fs::write(root.path().join("a.rs"), "1\n2\n")?;
        fs::write(root.path().join("book/src/picture.svg"), "")?;
        fs::write(root.path().join("README.md"), "# One\n")?;
        for (link, why) in [
            ("[a](b.md)", None),
            ("[a](b.md#two)", None),
            ("[a](#one)", None),
            ("[a](repo:a.rs)", None),
            ("[a](repo:a.rs#L2)", None),
            ("[a](repo:README.md#one)", None),
            ("[a](https://example.com/x#y)", None),
            ("![a](picture.svg)", None),
            ("`[a](c.md)`", None),
            ("[a](c.md)", Some("no such page")),
            ("[a][it]\n\n[it]: c.md", Some("no such page")),
            ("<a href=\"c.md\">a</a>", Some("no such page")),
            ("[a](b.md#one)", Some("no heading one")),
            ("[a](#two)", Some("no heading two")),
            ("[a](repo:b.rs)", Some("no such file")),
            ("[a](repo:a.rs#L3)", Some("no line 3")),
            ("[a](repo:README.md#two)", Some("no heading two")),
            ("[a](../a.rs)", Some("no such page")),
        ] {
            let pages = [("a.md", format!("# One\n\n{link}\n")), ("b.md", "# Two".to_owned())];
            let pages = pages.map(|(name, text)| (name.to_owned(), text)).into();
            let broken = broken(root.path(), &pages);
            assert_eq!(broken.len(), usize::from(why.is_some()), "{link}: {broken:?}");
            assert!(why.is_none_or(|why| broken[0].starts_with("a.md: ") && broken[0].contains(why)), "{broken:?}");
        }
        Ok(())
    }

    #[test]
    fn links_to_sources_are_rewritten_and_nothing_else() {
        let page = "[a](repo:x/a.rs#L1), <a href=\"repo:b\">, `repo:c`, [repo:](d)";
        let rewritten = "[a](>x/a.rs#L1), <a href=\">b\">, `repo:c`, [repo:](d)";
        assert_eq!(rewrite(page, &|target| format!(">{target}")), rewritten);
    }
}
