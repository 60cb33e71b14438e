//! `cargo xtask book`: the book, made of the pages in `book/src` and the sources that they show.

mod expand;
mod item;
mod lessons;
mod links;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use expand::Shown;
use lessons::{Lesson, Part};

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
    for (name, text) in book.pages.iter().chain([(&"SUMMARY.md".to_owned(), &book.summary)]) {
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
    let there = |name: &str| folder.join(name).exists();
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

    for name in order.iter().filter(|name| there(name)) {
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
    for line in text.lines() {
        if line.trim() == "{{#lessons}}" {
            for part in parts {
                lines.push(format!("# {}\n", part.title));
                let entry = |lesson: &Lesson| format!("- [{}]({})", lesson.heading(), lesson.chapter);
                lines.extend(part.lessons.iter().map(entry));
                lines.push(String::new());
            }
        } else if !line.starts_with("<!--") {
            lines.push(line.to_owned());
        }
    }
    lines.retain(|line| {
        let absent: Vec<_> = links::targets(line).into_iter().filter(|name| !there(name)).collect();
        missing.extend(absent.iter().cloned());
        absent.is_empty()
    });
    lines.join("\n") + "\n"
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
    Ok(format!("{title}\n\n{head}\n{}\n\n---\n\n{foot}\n", body.trim()))
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
    fn size(&self) -> String {
        let (words, code) =
            self.pages.values().map(|page| count(page)).fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let shown = self.shown.values().map(Vec::len).sum::<usize>();
        let links = self.pages.values().map(|page| links::targets(page).len()).sum::<usize>();
        let pages = self.pages.len();
        format!(
            "{pages} pages, {words} words, {code} lines of code and output, {shown} pieces of source, {links} links"
        )
    }
}

/// # Errors
/// Always, for now.
pub fn build(root: &Path, _open: bool) -> Result<()> {
    read(root)?;
    bail!("only --markdown is there yet")
}
