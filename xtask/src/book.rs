//! `cargo xtask book`: the book, made of the pages in `book/src` and the sources that they show.

mod citations;
mod expand;
mod links;
mod mdbook;
pub mod sources;
mod specifications;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::lessons::{self, Lesson, Part};
use expand::Shown;

/// The page that is made of the sources' comments.
const RFCS: &str = "rfcs.md";

/// Pages by their names, with all that is generated in them; links to sources still begin with `repo:`.
pub struct Book {
    /// The table of contents, in the form of mdBook.
    summary: String,
    pages: BTreeMap<String, String>,
    /// What each lesson shows of the sources.
    pub shown: BTreeMap<String, Vec<Shown>>,
    /// Pages that nobody has written yet.
    missing: Vec<String>,
}

/// Writes the book's pages, complete, as Markdown that can be read where it is.
///
/// # Errors
/// If a directive or a link does not lead anywhere, or a file cannot be written.
pub fn markdown(root: &Path, folder: &Path) -> Result<()> {
    let book = read(root)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let up = sources::relative(root, folder)?;
    let to = |target: &str| format!("{up}{target}");
    for (name, text) in book.files() {
        let text = links::rewrite(text, &to);
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    println!("{}", book.size());
    Ok(())
}

/// Reads everything and puts it together.
///
/// # Errors
/// All that is wrong with it.
pub fn read(root: &Path) -> Result<Book> {
    let parts = lessons::read(root)?;
    let lessons: Vec<&Lesson> = parts.iter().flat_map(|part| &part.lessons).collect();
    let folder = root.join("book/src");
    let there = |name: &str| name == RFCS || folder.join(name).exists();
    let mut errors = Vec::new();
    let mut book = Book { summary: String::new(), pages: BTreeMap::new(), shown: BTreeMap::new(), missing: Vec::new() };
    book.summary = summary(&fs::read_to_string(folder.join("SUMMARY.md"))?, &parts, &there, &mut book.missing);

    let order = links::targets(&book.summary);
    let twice: BTreeSet<_> = order.iter().filter(|it| order.iter().filter(|other| other == it).count() > 1).collect();
    errors.extend(twice.iter().map(|name| format!("SUMMARY.md names {name} more than once")));
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if links::is_page(&name) && name != "SUMMARY.md" && !order.contains(&name) {
            errors.push(format!("{name} is neither in SUMMARY.md nor a lesson of lessons.toml"));
        }
    }

    for name in order.iter().filter(|name| *name != RFCS && there(name)) {
        let text = fs::read_to_string(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
        let page = expand::expand(root, &text).and_then(|page| {
            let lesson = lessons.iter().find(|lesson| lesson.chapter == *name);
            let text = lesson.map(|lesson| head_and_foot(&page.text, lesson, &lessons, &there)).transpose()?;
            Ok((text.unwrap_or(page.text), page.shown))
        });
        match page {
            Ok((text, shown)) => {
                book.pages.insert(name.clone(), text);
                book.shown.insert(name.clone(), shown);
            }
            Err(error) => errors.push(format!("{name}: {error:#}")),
        }
    }
    match citations::page(root, &lessons, &book.shown) {
        Ok(page) => drop(book.pages.insert(RFCS.to_owned(), page)),
        Err(error) => errors.push(format!("{RFCS}: {error:#}")),
    }
    errors.extend(links::broken(root, &book.pages, &book.missing));
    ensure!(errors.is_empty(), "the book has {} faults:\n{}", errors.len(), errors.join("\n"));
    if !book.missing.is_empty() {
        eprintln!("not written yet: {}", book.missing.join(", "));
    }
    Ok(book)
}

/// SUMMARY.md with the lessons in the place of `{{#lessons}}`, and without the pages that are not there.
fn summary(text: &str, parts: &[Part], there: &dyn Fn(&str) -> bool, missing: &mut Vec<String>) -> String {
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("<!--")) {
        if line.trim() == "{{#lessons}}" {
            for part in parts {
                lines.push(format!("# {}", part.title));
                lines.extend(part.lessons.iter().map(|lesson| format!("- [{}]({})", lesson.heading(), lesson.chapter)));
            }
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.retain(|line| {
        let absent: Vec<_> = links::targets(line).into_iter().filter(|name| !there(name)).collect();
        missing.extend(absent.iter().cloned());
        absent.is_empty()
    });
    let mut summary = String::new();
    for (index, line) in lines.iter().enumerate() {
        let is_title = |line: &String| line.starts_with("# ");
        if index > 0 && is_title(line) && lines.get(index + 1).is_none_or(is_title) {
            continue; // a part without chapters
        }
        let in_a_list = line.starts_with("- ") && index > 0 && lines[index - 1].starts_with("- ");
        summary.push_str(if summary.is_empty() || in_a_list { "" } else { "\n" });
        summary.push_str(line);
        summary.push('\n');
    }
    summary
}

/// Adds to a lesson where it is, how long it takes, how to run it, and what is before and after it.
fn head_and_foot(page: &str, lesson: &Lesson, all: &[&Lesson], there: &dyn Fn(&str) -> bool) -> Result<String> {
    let title = format!("# {}", lesson.heading());
    let body = page.strip_prefix(&title).with_context(|| format!("the first line should be {title:?}"))?;
    let step = if lesson.id.starts_with('A') { format!("step{}", lesson.step) } else { lesson.beside.clone() };
    let head = format!("*{} · {} · `cargo run -p {step}`*", lessons::place(lesson, all), time(page));
    let link = |it: &&Lesson| format!("[{}]({})", it.heading(), it.chapter);
    let at = all.iter().position(|it| it.id == lesson.id).context("the lesson is not in the list")?;
    let written = |it: &&&Lesson| there(&it.chapter);
    let back = all[..at].iter().rev().find(written).map(|it| format!("Back: {}", link(it)));
    let next = all[at + 1..].iter().find(written).map(|it| format!("Next: {}", link(it)));
    let foot = back.into_iter().chain(next).collect::<Vec<_>>().join(" · ");
    Ok(format!("{title}\n\n{head}\n\n{}\n\n---\n\n{foot}\n", body.trim()))
}

/// Words of prose, and lines of code.
fn count(page: &str) -> (usize, usize) {
    let (mut words, mut code, mut inside) = (0, 0, false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            code += 1;
        } else {
            words += line.split_whitespace().count();
        }
    }
    (words, code)
}

/// How long a page takes: 200 words or 20 lines of code a minute.
fn time(page: &str) -> String {
    let (words, code) = count(page);
    match (words * 20 + code * 200).div_ceil(200 * 20) {
        0 | 1 => "1 minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

impl Book {
    /// All that mdBook reads, by its name.
    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let pages = self.pages.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        pages.chain([("SUMMARY.md", self.summary.as_str())])
    }

    fn size(&self) -> String {
        let written = self.pages.iter().filter(|(name, _)| *name != RFCS).map(|(_, page)| count(page));
        let (words, code) = written.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let shown = self.shown.values().map(Vec::len).sum::<usize>();
        let links = self.pages.values().map(|page| links::targets(page).len()).sum::<usize>();
        let pages = self.pages.len();
        format!(
            "{pages} pages, {words} words, {code} lines of code and output, {shown} pieces of source, {links} links"
        )
    }
}

/// Builds the book in `target/book`.
///
/// # Errors
/// As [`read`], or if mdBook fails.
pub fn build(root: &Path, open: bool) -> Result<()> {
    mdbook::build(root, &read(root)?.files().collect(), open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(id: &str, step: u8) -> Lesson {
        let (title, chapter) = (format!("Title {id}"), format!("{id}.md"));
        Lesson { id: id.into(), title, chapter, step, beside: format!("step{step}"), files: vec![], stubs: vec![] }
    }

    #[test]
    fn a_lesson_says_where_it_is_and_what_is_before_and_after_it() -> Result<()> {
        let all = [lesson("0", 9), lesson("6.1", 6), lesson("6.2", 6), lesson("A1", 7), lesson("A2", 7)];
        let all: Vec<_> = all.iter().collect();
        let page = |at: usize, there: &dyn Fn(&str) -> bool| {
            head_and_foot(&format!("# {}\n\nText.\n", all[at].heading()), all[at], &all, there)
        };
        assert_eq!(
            page(2, &|_| true)?,
            "# 6.2 Title 6.2\n\n*Step 6 · lesson 2 of 2 · 1 minute · `cargo run -p step6`*\n\nText.\n\n---\n\n\
             Back: [6.1 Title 6.1](6.1.md) · Next: [A1 Title A1](A1.md)\n"
        );
        assert!(page(2, &|name| name != "A1.md")?.ends_with(" · Next: [A2 Title A2](A2.md)\n"));
        assert!(page(0, &|_| true)?.ends_with("\n\nNext: [6.1 Title 6.1](6.1.md)\n"));
        assert!(page(4, &|_| true)?.ends_with("\n\nBack: [A1 Title A1](A1.md)\n"));
        assert!(
            page(4, &|_| true)?
                .contains("*Tour of the authorization server · stop 2 of 2 · 1 minute · `cargo run -p step7`*")
        );
        assert!(head_and_foot("# Title\n", all[0], &all, &|_| true).is_err());
        Ok(())
    }

    #[test]
    fn reading_time_counts_words_and_lines_of_code() {
        let page =
            |words: usize, code: usize| format!("{}\n```rust\n{}```\n", "word ".repeat(words), "x y z\n".repeat(code));
        for (words, code, time_is) in [
            (10, 0, "1 minute"),
            (200, 0, "1 minute"),
            (201, 0, "2 minutes"),
            (600, 21, "5 minutes"),
            (0, 40, "2 minutes"),
        ] {
            assert_eq!(time(&page(words, code)), time_is, "{words} words, {code} lines");
        }
    }

    #[test]
    fn the_contents_are_the_lessons_that_are_there() {
        let parts = [("One", "1.1"), ("Two", "2.1")]
            .map(|(title, id)| Part { title: title.into(), lessons: vec![lesson(id, 1)] });
        let text = "# Summary\n\n<!-- A remark. -->\n[Intro](intro.md)\n\n{{#lessons}}\n# End\n\n- [Last](last.md)\n";
        let mut missing = Vec::new();
        let made = summary(text, &parts, &|name| !["2.1.md", "last.md"].contains(&name), &mut missing);
        assert_eq!(made, "# Summary\n\n[Intro](intro.md)\n\n# One\n\n- [1.1 Title 1.1](1.1.md)\n");
        assert_eq!(missing, ["2.1.md", "last.md"]);
    }
}
