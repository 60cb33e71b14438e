//! A page's directives, `{{#code …}}` and its like, replaced by what they stand for.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use similar::{Change, TextDiff};

use crate::item::{self, Lines};

/// Lines of a source file that a page shows.
#[derive(Debug, PartialEq)]
pub struct Shown {
    pub file: String,
    pub lines: Lines,
}

/// A page with its directives replaced, and what it shows of the sources.
#[derive(Default)]
pub struct Expanded {
    pub text: String,
    pub shown: Vec<Shown>,
}

/// Replaces the directives of a page.
///
/// # Errors
/// The first directive that cannot be replaced, with its line.
pub fn expand(root: &Path, page: &str) -> Result<Expanded> {
    let mut expanded = Expanded::default();
    let mut fence = None;
    for (number, line) in page.lines().enumerate() {
        let trimmed = line.trim();
        let ticks = trimmed.chars().take_while(|c| *c == '`').count();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            Some(open) if ticks >= open && ticks == trimmed.len() => fence = None,
            _ => {}
        }
        if fence.is_none() && trimmed.contains("{{#") {
            let block = directive(root, trimmed, &mut expanded.shown);
            expanded.text.push_str(&block.with_context(|| format!("line {}: {trimmed}", number + 1))?);
        } else {
            expanded.text.push_str(line);
        }
        expanded.text.push('\n');
    }
    Ok(expanded)
}

fn directive(root: &Path, line: &str, shown: &mut Vec<Shown>) -> Result<String> {
    let inner = line.strip_prefix("{{#").and_then(|rest| rest.strip_suffix("}}"));
    let inner = inner.context("a directive stands alone on its line")?.trim();
    let (name, rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    match name {
        "code" => {
            let (file, piece) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            let text = read(root, file)?;
            let lines = Piece::parse(piece)?.find(&text).with_context(|| file.to_owned())?;
            let block = code(file, &text, &lines);
            shown.push(Shown { file: file.to_owned(), lines });
            Ok(block)
        }
        "diff" => {
            let (step, rest) = rest.trim().split_once(char::is_whitespace).context("which file?")?;
            let step: u8 = step.parse().context("the step is a number")?;
            ensure!(crate::step::before(step).is_some(), "step {step} changes no other step");
            let (file, item) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            diff(root, step, file, item.trim(), shown)
        }
        "task" => task(root, rest.trim()),
        _ => bail!("there is no directive {name}"),
    }
}

fn read(root: &Path, file: &str) -> Result<String> {
    ensure!(!file.is_empty(), "which file?");
    fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))
}

/// `Verifier::verify from "let header" to "let claims"`; either part may be missing.
struct Piece<'a> {
    item: Option<&'a str>,
    between: Option<(String, String)>,
}

impl<'a> Piece<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let text = text.trim();
        let (item, between) = match text.strip_prefix("from \"") {
            Some(between) => ("", Some(between)),
            None => text.split_once(" from \"").map_or((text, None), |(item, between)| (item, Some(between))),
        };
        let between = between.map(|text| {
            let (from, rest) = quoted(text)?;
            let (to, rest) = quoted(rest.trim_start().strip_prefix("to \"")?)?;
            rest.trim().is_empty().then_some((from, to))
        });
        let between = between.map(|it| it.context("write: from \"first text\" to \"last text\"")).transpose()?;
        Ok(Piece { item: Some(item.trim()).filter(|item| !item.is_empty()), between })
    }

    fn find(&self, text: &str) -> Result<Lines> {
        let whole = match self.item {
            Some(name) => item::find(text, name)?,
            None => 1..=text.lines().count(),
        };
        let Some((from, to)) = &self.between else { return Ok(whole) };
        let lines: Vec<_> = text.lines().enumerate().take(*whole.end()).skip(whole.start() - 1).collect();
        let first: Vec<_> = lines.iter().filter(|(_, line)| line.contains(from)).map(|(index, _)| index + 1).collect();
        let first = match first[..] {
            [first] => first,
            [] => bail!("no line has {from:?}"),
            _ => bail!("{} lines have {from:?}: {first:?}", first.len()),
        };
        let mut rest = lines.iter().filter(|(index, _)| index + 1 >= first);
        let last =
            rest.find(|(_, line)| line.contains(to)).with_context(|| format!("no line from {first} on has {to:?}"))?;
        Ok(first..=last.0 + 1)
    }
}

/// The text up to the next quotation mark, and the rest. A backslash before a mark makes it part of the text.
fn quoted(text: &str) -> Option<(String, &str)> {
    let end = text.char_indices().find(|(at, c)| *c == '"' && !text[..*at].ends_with('\\')).map(|(at, _)| at)?;
    Some((text[..end].replace("\\\"", "\""), &text[end + 1..]))
}

fn code(file: &str, text: &str, lines: &Lines) -> String {
    let language = match Path::new(file).extension().and_then(|it| it.to_str()).unwrap_or_default() {
        "rs" => "rust",
        "md" => "markdown",
        "mjs" => "javascript",
        "py" => "python",
        other => other,
    };
    format!("{}\n\n{}", caption(file, *lines.start(), ""), fenced(language, &cut(text, lines).join("\n")))
}

/// The file's name above a block.
fn caption(file: &str, line: usize, more: &str) -> String {
    format!("[`{file}`](repo:{file}#L{line}){more}")
}

/// A block with a fence that does not occur in it.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.lines().map(|line| line.trim_start().chars().take_while(|c| *c == '`').count()).max();
    let fence = "`".repeat(3.max(longest.unwrap_or(0) + 1));
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// These lines of a text, without the indentation that all have.
fn cut<'a>(text: &'a str, lines: &Lines) -> Vec<&'a str> {
    let lines: Vec<&str> = text.lines().take(*lines.end()).skip(lines.start() - 1).collect();
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let least = lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    lines.iter().map(|line| line.get(least..).unwrap_or_default()).collect()
}

fn diff(root: &Path, step: u8, file: &str, item: &str, shown: &mut Vec<Shown>) -> Result<String> {
    let previous = crate::step::before(step).context("it is the first step")?;
    let [before, after] = [previous, step].map(|step| format!("step{step}/{file}"));
    let old = if root.join(&before).exists() { read(root, &before)? } else { String::new() };
    let new = read(root, &after)?;
    let whole = |text: &str| 1..=text.lines().count();
    let (was, is) = if item.is_empty() {
        (Some(whole(&old)), whole(&new))
    } else {
        // An item that is new, and one that appears more than once, are told apart.
        let was = item::items(&old)?.iter().any(|it| it.is(item)).then(|| item::find(&old, item)).transpose();
        (was.with_context(|| before.clone())?, item::find(&new, item).with_context(|| after.clone())?)
    };
    let cut =
        |text: &str, lines: &Lines| cut(text, lines).into_iter().flat_map(|line| [line, "\n"]).collect::<String>();
    let (old, new) = (was.map(|lines| cut(&old, &lines)).unwrap_or_default(), cut(&new, &is));
    ensure!(old != new, "step {step} does not change it");
    let mut lines = Vec::new();
    let differences = TextDiff::from_lines(&old, &new);
    for (number, hunk) in differences.unified_diff().iter_hunks().enumerate() {
        if number > 0 {
            lines.push(" …".to_owned());
        }
        let line = |change: Change<&str>| format!("{}{}", change.tag(), change.value().trim_end_matches('\n'));
        lines.extend(hunk.iter_changes().map(line));
    }
    let caption = caption(&after, *is.start(), &format!(", compared with step {previous}"));
    shown.push(Shown { file: after, lines: is });
    Ok(format!("{caption}\n\n{}", fenced("diff", &lines.join("\n"))))
}

/// The solution of a lesson's task: a block for each file that the patch changes.
fn task(root: &Path, id: &str) -> Result<String> {
    ensure!(!id.is_empty(), "which lesson's?");
    let patch = read(root, &format!("book/tasks/{id}.patch"))?;
    let mut blocks: Vec<(String, Vec<String>)> = Vec::new();
    let mut gone = "";
    for line in patch.lines() {
        if let Some(file) = line.strip_prefix("--- ") {
            gone = file.strip_prefix("a/").unwrap_or(file);
        } else if let Some(file) = line.strip_prefix("+++ ") {
            blocks.push((file.strip_prefix("b/").unwrap_or(gone).to_owned(), Vec::new()));
        } else if line.starts_with("diff --git ") {
            gone = "";
        } else if let Some((_, lines)) = blocks.last_mut().filter(|_| !gone.is_empty()) {
            match line.starts_with("@@ ") {
                true if lines.is_empty() => {}
                true => lines.push(" …".to_owned()),
                false => lines.push(line.to_owned()),
            }
        }
    }
    ensure!(!blocks.is_empty(), "book/tasks/{id}.patch changes no file");
    let blocks = blocks.iter().map(|(file, lines)| {
        let caption = if root.join(file).exists() { caption(file, 1, "") } else { format!("`{file}`, a new file") };
        format!("{caption}\n\n{}", fenced("diff", &lines.join("\n")))
    });
    Ok(blocks.collect::<Vec<_>>().join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "fn same() {}\n\nimpl It {\n    fn one() {\n        1\n    }\n}\n";
    const NEW: &str = "fn same() {}\n\nimpl It {\n    fn one() {\n        2\n    }\n\n    fn two() {\n        // \"x\"\n        let a = 1;\n        let b = 1;\n    }\n}\n";
    const PATCH: &str = "\
diff --git a/step2/src/a.rs b/step2/src/a.rs
index 1..2 100644
--- a/step2/src/a.rs
+++ b/step2/src/a.rs
@@ -1 +1 @@ fn x()
-one
+two
@@ -9 +9 @@
+three
diff --git a/step2/src/b.rs b/step2/src/b.rs
new file mode 100644
--- /dev/null
+++ b/step2/src/b.rs
@@ -0,0 +1 @@
+new
";

    fn expanded(page: &str) -> Result<Expanded> {
        let root = tempfile::tempdir()?;
        for (file, text) in [
            ("step1/src/a.rs", OLD),
            ("step2/src/a.rs", NEW),
            ("step2/src/new.rs", "fn n() {}\n"),
            ("step2/README.md", "# A\n```\nx\n```\n"),
            ("book/tasks/2.1.patch", PATCH),
            ("book/tasks/2.2.patch", "nothing\n"),
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            fs::write(path, text)?;
        }
        expand(root.path(), page)
    }

    #[test]
    fn each_directive_is_replaced() -> Result<()> {
        let a = |line: usize, more: &str| format!("[`step2/src/a.rs`](repo:step2/src/a.rs#L{line}){more}\n\n");
        for (directive, block) in [
            ("code step2/src/a.rs same", a(1, "") + "```rust\nfn same() {}\n```"),
            ("code step2/src/a.rs It::one", a(4, "") + "```rust\nfn one() {\n    2\n}\n```"),
            (r#"code step2/src/a.rs It::two from "\"x\"" to "let a""#, a(9, "") + "```rust\n// \"x\"\nlet a = 1;\n```"),
            (r#"code step2/src/a.rs from "let b" to "let b""#, a(11, "") + "```rust\nlet b = 1;\n```"),
            (
                "code step2/README.md",
                "[`step2/README.md`](repo:step2/README.md#L1)\n\n````markdown\n# A\n```\nx\n```\n````".to_owned(),
            ),
            (
                "diff 2 src/a.rs It::one",
                a(4, ", compared with step 1") + "```diff\n fn one() {\n-    1\n+    2\n }\n```",
            ),
            (
                "diff 2 src/new.rs",
                "[`step2/src/new.rs`](repo:step2/src/new.rs#L1), compared with step 1\n\n```diff\n+fn n() {}\n```"
                    .to_owned(),
            ),
            (
                "task 2.1",
                a(1, "") + "```diff\n-one\n+two\n …\n+three\n```\n\n`step2/src/b.rs`, a new file\n\n```diff\n+new\n```",
            ),
        ] {
            let page = expanded(&format!("before\n\n{{{{#{directive}}}}}\n\nafter")).context(directive)?;
            assert_eq!(page.text, format!("before\n\n{block}\n\nafter\n"), "{directive}");
        }
        Ok(())
    }

    #[test]
    fn what_is_shown_is_known() -> Result<()> {
        let page = expanded("{{#code step2/src/a.rs It::one}}\n{{#diff 2 src/a.rs}}\n{{#task 2.1}}")?;
        let shown = |lines| Shown { file: "step2/src/a.rs".into(), lines };
        assert_eq!(page.shown, [shown(4..=6), shown(1..=13)]);
        Ok(())
    }

    #[test]
    fn each_mistake_is_named_with_its_line() {
        for (directive, error) in [
            ("{{#code step2/src/a.rs It::three}}", "step2/src/a.rs: there is no item It::three"),
            ("{{#code step2/src/c.rs}}", "cannot read step2/src/c.rs"),
            ("{{#code}}", "which file?"),
            (r#"{{#code step2/src/a.rs from "let c" to "x"}}"#, r#"no line has "let c""#),
            (r#"{{#code step2/src/a.rs from "let" to "let"}}"#, r#"2 lines have "let": [10, 11]"#),
            (r#"{{#code step2/src/a.rs It::one from "let a" to "x"}}"#, r#"no line has "let a""#),
            (r#"{{#code step2/src/a.rs It::two from "let b" to "let a"}}"#, r#"no line from 11 on has "let a""#),
            (r#"{{#code step2/src/a.rs from "let a"}}"#, "write: from"),
            ("{{#diff 2 src/a.rs same}}", "step 2 does not change it"),
            ("{{#diff 2 src/c.rs}}", "cannot read step2/src/c.rs"),
            ("{{#diff 1 src/a.rs}}", "step 1 changes no other step"),
            ("{{#diff src/a.rs}}", "which file?"),
            ("{{#task 2.3}}", "cannot read book/tasks/2.3.patch"),
            ("{{#task 2.2}}", "book/tasks/2.2.patch changes no file"),
            ("{{#include x}}", "there is no directive include"),
            ("See {{#task 2.1}}", "alone on its line"),
        ] {
            let found = expanded(&format!("\n{directive}")).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(found.starts_with(&format!("line 2: {directive}")), "{found}");
            assert!(found.contains(error), "{found}");
        }
        assert!(expanded("```text\n{{#code nothing}}\n```").is_ok());
    }
}
