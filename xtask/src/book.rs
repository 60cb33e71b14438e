//! `cargo xtask book`: the book, made of the pages in `book/src` and the sources that they show.

mod checks;
mod citations;
mod expand;
mod links;
mod mdbook;
mod pages;
mod sources;
mod specifications;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::lessons::{self, Lesson, Part};
use crate::relative;
use expand::{Expanded, Shown};

/// The page that is made of the sources' comments.
const RFCS: &str = "rfcs.md";

/// Pages by their names, with all that is generated in them; links to sources still begin with `repo:`.
pub struct Book {
    /// The table of contents, in the form of mdBook.
    summary: String,
    pages: BTreeMap<String, String>,
    /// The parts of the sources that each lesson shows.
    pub shown: BTreeMap<String, Vec<Shown>>,
}

/// Writes the book's pages, complete, as Markdown that can be read where it is.
///
/// # Errors
/// If a directive or a link does not lead anywhere, or a file cannot be written.
pub fn markdown(root: &Path, folder: &Path) -> Result<()> {
    let book = read(root)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let up = relative(root, folder)?;
    let to = |target: &str| format!("{up}{target}");
    pages::write(root, &book.files(), folder, &to)?;
    println!("{}", book.size());
    Ok(())
}

/// Reads all pages and sources, and makes the book of them.
///
/// # Errors
/// All that is wrong with it.
pub fn read(root: &Path) -> Result<Book> {
    let parts = lessons::read(root)?;
    let lessons: Vec<&Lesson> = parts.iter().flat_map(|part| &part.lessons).collect();
    let folder = root.join("book/src");
    let summary = summary(&fs::read_to_string(folder.join("SUMMARY.md"))?, &parts);
    let order = entries(&summary);
    let mut errors = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let count = order.iter().filter(|(_, page)| *page == name).count();
        if links::is_page(&name) && name != "SUMMARY.md" && count != 1 {
            errors
                .push(format!("{name} is {count} times in SUMMARY.md and among the lessons of lessons.toml, not once"));
        }
    }

    let (mut pages, mut shown) = (BTreeMap::new(), BTreeMap::new());
    for (at, (_, name)) in order.iter().enumerate().filter(|(_, (_, name))| *name != RFCS) {
        let page = page(root, name, &lessons).map(|page| (page.text + &neighbours(&order, at), page.shown));
        match page {
            Ok((text, pieces)) => {
                pages.insert((*name).to_owned(), text);
                shown.insert((*name).to_owned(), pieces);
            }
            Err(error) => errors.push(format!("{name}: {error:#}")),
        }
    }
    match citations::page(root, &lessons, &shown) {
        Ok(page) => drop(pages.insert(RFCS.to_owned(), page)),
        Err(error) => errors.push(format!("{RFCS}: {error:#}")),
    }
    errors.extend(links::broken(root, &pages));
    ensure!(errors.is_empty(), "the book has {} faults:\n{}", errors.len(), errors.join("\n"));
    Ok(Book { summary, pages, shown })
}

/// SUMMARY.md with the lessons in the place of `{{#lessons}}`.
fn summary(text: &str, parts: &[Part]) -> String {
    let mut summary = String::new();
    for line in text.lines().filter(|line| !line.starts_with("<!--")) {
        if line.trim() == "{{#lessons}}" {
            for part in parts {
                let entry = |it: &Lesson| format!("- [{}]({})\n", it.heading(), it.chapter);
                let lessons: String = part.lessons.iter().map(entry).collect();
                summary.extend(["# ", &part.title, "\n\n", &lessons, "\n"]);
            }
        } else {
            summary.push_str(line);
            summary.push('\n');
        }
    }
    summary
}

/// The pages of a table of contents in their order: `(title, name)`.
fn entries(summary: &str) -> Vec<(&str, &str)> {
    let entry = |line| str::trim_start_matches(line, "- ").strip_prefix('[')?.strip_suffix(')')?.split_once("](");
    summary.lines().filter_map(entry).collect()
}

/// A page with its directives replaced; a lesson also says where it is, how long it takes, how to run it, and
/// what is checked of it.
fn page(root: &Path, name: &str, lessons: &[&Lesson]) -> Result<Expanded> {
    let text = fs::read_to_string(root.join("book/src").join(name)).context("it cannot be read")?;
    let mut page = expand::expand(root, &text)?;
    if let Some(lesson) = lessons.iter().find(|lesson| lesson.chapter == name) {
        page.text = with_head(&page.text, lesson, lessons)? + &checks::section(root, lesson)?;
    }
    Ok(page)
}

fn with_head(page: &str, lesson: &Lesson, all: &[&Lesson]) -> Result<String> {
    let title = format!("# {}", lesson.heading());
    let body = page.strip_prefix(&title).with_context(|| format!("the first line should be {title:?}"))?;
    let (place, time, program) = (lessons::place(lesson, all), time(page), &lesson.beside);
    Ok(format!("{title}\n\n*{place} · {time} · `cargo run -p {program}`*\n\n{}\n", body.trim()))
}

/// The previous and the next page, for the end of a page.
fn neighbours(order: &[(&str, &str)], at: usize) -> String {
    let link = |word: &str, at: Option<usize>| {
        let (title, name) = order.get(at?)?;
        Some(format!("{word}: [{title}]({name})"))
    };
    let links = link("Back", at.checked_sub(1)).into_iter().chain(link("Next", Some(at + 1)));
    format!("\n---\n\n{}\n", links.collect::<Vec<_>>().join(" · "))
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
    /// All pages that a reader gets, by their names.
    fn files(&self) -> BTreeMap<&str, &str> {
        let pages = self.pages.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        pages.chain([("SUMMARY.md", self.summary.as_str())]).collect()
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
    mdbook::build(root, &read(root)?.files(), open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(id: &str, step: u8) -> Lesson {
        let (title, chapter) = (format!("Title {id}"), format!("{id}.md"));
        Lesson {
            id: id.into(),
            title,
            chapter,
            step,
            beside: format!("step{step}"),
            files: vec![],
            stubs: vec![],
            checks: vec![],
        }
    }

    #[test]
    fn a_lesson_says_where_it_is() -> Result<()> {
        let all = [lesson("0", 9), lesson("6.1", 6), lesson("6.2", 6), lesson("A1", 7), lesson("A2", 7)];
        let all: Vec<_> = all.iter().collect();
        for (at, place, step) in [
            (0, "Before step 1", 9),
            (2, "Step 6 · lesson 2 of 2", 6),
            (3, "Tour of the authorization server · stop 1 of 2", 7),
        ] {
            let title = format!("# {}", all[at].heading());
            assert_eq!(
                with_head(&format!("{title}\n\nText.\n"), all[at], &all)?,
                format!("{title}\n\n*{place} · 1 minute · `cargo run -p step{step}`*\n\nText.\n")
            );
        }
        assert!(with_head("# Title\n", all[0], &all).is_err());
        Ok(())
    }

    #[test]
    fn a_page_names_what_is_before_and_after_it() {
        let order = entries("# Summary\n\n[A](a.md)\n\n# Part\n\n- [B c](b.md)\n- [D](d.md)\n");
        assert_eq!(order, [("A", "a.md"), ("B c", "b.md"), ("D", "d.md")]);
        assert_eq!(neighbours(&order, 0), "\n---\n\nNext: [B c](b.md)\n");
        assert_eq!(neighbours(&order, 1), "\n---\n\nBack: [A](a.md) · Next: [D](d.md)\n");
        assert_eq!(neighbours(&order, 2), "\n---\n\nBack: [B c](b.md)\n");
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
    fn the_contents_are_the_lessons_and_what_is_around_them() {
        let parts = [("One", "1.1"), ("Two", "2.1")];
        let parts = parts.map(|(title, id)| Part { title: title.into(), lessons: vec![lesson(id, 1)] });
        let text = "# Summary\n\n<!-- A remark. -->\n[Intro](intro.md)\n\n{{#lessons}}\n# End\n";
        let lessons = "# One\n\n- [1.1 Title 1.1](1.1.md)\n\n# Two\n\n- [2.1 Title 2.1](2.1.md)\n\n";
        assert_eq!(summary(text, &parts), format!("# Summary\n\n[Intro](intro.md)\n\n{lessons}# End\n"));
    }
}
