//! The source files that the book's pages link to: in the built book each is a page, so that it can be read offline.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::links;

/// Where the built book has a source: `step6/src/verify.rs#L7` is at `source/step6/src/verify.rs.html#L7`.
pub fn address(target: &str) -> String {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    // The headings of other Markdown files have no anchors here.
    let line = anchor.strip_prefix('L').and_then(|line| line.parse::<usize>().ok()).map(|line| format!("#L{line}"));
    format!("source/{}.html{}", path.trim_end_matches('/'), line.unwrap_or_default())
}

/// Writes a page for each source that the pages link to, and for each file in a folder that they link to.
///
/// # Errors
/// If one cannot be read or written.
pub fn write(root: &Path, pages: &BTreeMap<&str, &str>, to: &Path) -> Result<()> {
    let targets = pages.values().flat_map(|page| links::targets(page));
    let paths = targets.filter_map(|target| {
        let path = target.strip_prefix("repo:")?.split('#').next()?.trim_end_matches('/');
        Some(path.to_owned())
    });
    let mut waiting: BTreeSet<String> = paths.collect();
    let mut written = BTreeSet::new();
    while let Some(path) = waiting.pop_first() {
        let source = root.join(&path);
        let body = if source.is_dir() {
            let inside = children(&source).with_context(|| format!("cannot read {path}"))?;
            let entries = inside.iter().map(|name| {
                let link = escape(&format!("{}/{name}", path.rsplit('/').next().unwrap_or_default()));
                format!("<li><a href=\"{link}.html\">{}</a></li>\n", escape(name))
            });
            let list = entries.collect::<String>();
            waiting.extend(inside.iter().map(|name| format!("{path}/{name}")).filter(|path| !written.contains(path)));
            format!("<ul>\n{list}</ul>")
        } else {
            code(&path, &fs::read_to_string(&source).with_context(|| format!("cannot read {path}"))?)
        };
        let page = to.join(address(&path));
        fs::create_dir_all(page.parent().context("a page without a folder")?)?;
        let up = "../".repeat(path.split('/').count());
        fs::write(&page, html(&path, &up, &body)).with_context(|| format!("cannot write {}", page.display()))?;
        written.insert(path);
    }
    Ok(())
}

/// The files in a folder, except those that programs leave there.
fn children(folder: &Path) -> Result<BTreeSet<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Result<BTreeSet<String>> = names.collect();
    let left = ["target", "keys", "data", "node_modules", "__pycache__"];
    Ok(names?.into_iter().filter(|name| !name.starts_with('.') && !left.contains(&name.as_str())).collect())
}

/// A file's lines, each with a number that a link can lead to.
fn code(path: &str, text: &str) -> String {
    let mut numbers = String::new();
    for number in 1..=text.lines().count() {
        let _ = writeln!(numbers, "<a id=\"L{number}\" href=\"#L{number}\">{number}</a>");
    }
    let language = Path::new(path).extension().and_then(|it| it.to_str()).unwrap_or("plaintext");
    format!(
        "<div class=\"file\"><pre class=\"numbers\" aria-hidden=\"true\">{numbers}</pre>\
         <pre tabindex=\"0\"><code class=\"language-{language}\">{}</code></pre></div>",
        escape(text)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn html(path: &str, up: &str, body: &str) -> String {
    let path = escape(path);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{path}</title>
<link rel="stylesheet" href="{up}highlight.css" media="(prefers-color-scheme: light)">
<link rel="stylesheet" href="{up}tomorrow-night.css" media="(prefers-color-scheme: dark)">
<link rel="stylesheet" href="{up}source/source.css">
</head>
<body>
<main>
<p><a href="{up}index.html">The book</a></p>
<h1>{path}</h1>
{body}
</main>
<script src="{up}highlight.js"></script>
<script>for (const code of document.querySelectorAll("code")) hljs.highlightBlock(code);</script>
</body>
</html>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_becomes_a_page_with_an_anchor_for_each_line() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("a/b/keys"))?;
        fs::write(root.path().join("a/b/c.rs"), "if 1 < 2 {\n}\n")?;
        fs::write(root.path().join("other.rs"), "")?;
        let pages = [("x.md", "[b](repo:a/b) [c](repo:a/b/c.rs#L2)")].into();
        let to = root.path().join("out");
        write(root.path(), &pages, &to)?;
        let page = fs::read_to_string(to.join("source/a/b/c.rs.html"))?;
        assert!(
            page.contains("id=\"L2\"") && !page.contains("id=\"L3\"") && page.contains("if 1 &lt; 2 {\n}"),
            "{page}"
        );
        assert!(page.contains("href=\"../../../index.html\""), "{page}");
        let list = fs::read_to_string(to.join("source/a/b.html"))?;
        assert!(list.contains("<a href=\"b/c.rs.html\">c.rs</a>") && !list.contains("keys"), "{list}");
        assert!(!to.join("source/other.rs.html").exists());
        Ok(())
    }

    #[test]
    fn a_source_has_an_address_in_the_book() {
        assert_eq!(address("a/b.rs#L7"), "source/a/b.rs.html#L7");
        assert_eq!(address("a/b/"), "source/a/b.html");
        assert_eq!(address("README.md#tests"), "source/README.md.html");
    }
}
