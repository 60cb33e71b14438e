//! The page `rfcs.md`: an index from the sections of specifications to the code that implements them, made from the
//! comments in the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;

use super::expand::Shown;
use super::specifications::{Place, Section};
use crate::item::{self, Found};
use crate::lessons::Lesson;

/// The folders of sources besides the steps.
const FOLDERS: [&str; 3] = ["common", "gen-token", "crates"];
const STEPS: u8 = 12;

/// One line of the index: where something is.
struct Entry {
    file: String,
    line: usize,
    /// The item, unless the whole file is meant.
    item: Option<String>,
}

/// The page.
///
/// # Errors
/// If a source cannot be read, or cites what has no title in `specifications.rs`.
pub fn page(root: &Path, lessons: &[&Lesson], shown: &BTreeMap<String, Vec<Shown>>) -> Result<String> {
    let mut index = BTreeMap::<Place, Vec<Entry>>::new();
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for folder in (1..=STEPS).map(|step| format!("step{step}")).chain(FOLDERS.map(str::to_owned)) {
        rust_files(root, &folder, &mut files)?;
    }
    let mut parsed = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        let items = item::items(&text).with_context(|| path.clone())?;
        for (line, place) in citations(&text) {
            place.document().and(place.url()).with_context(|| {
                format!("{path}:{line} cites {place:?}, which has no title in xtask/src/book/specifications.rs")
            })?;
            let around = items.iter().filter(|item| item.lines.contains(&line));
            if around.clone().any(|item| item.name().ends_with("tests")) {
                continue;
            }
            let around = around.min_by_key(|item| item.lines.end() - item.lines.start());
            // A later step has the same file again.
            let item = around.map(|item| item.name().to_owned());
            if seen.insert((place.clone(), in_all_steps(&path).to_owned(), item.clone())) {
                let line = around.map_or(1, |item| *item.lines.start());
                index.entry(place).or_default().push(Entry { file: path.clone(), line, item });
            }
        }
        parsed.insert(path, items);
    }
    Ok(write(&index, &taught(&parsed, lessons, shown)))
}

/// `src/verify.rs` of `step6/src/verify.rs`: the same file in all steps.
fn in_all_steps(path: &str) -> &str {
    path.strip_prefix("step").and_then(|rest| rest.split_once('/')).map_or(path, |(_, file)| file)
}

fn rust_files(root: &Path, folder: &str, files: &mut Vec<String>) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot read {folder}"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names.iter().filter(|name| !["target", "tests", "examples"].contains(&name.as_str())) {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            rust_files(root, &path, files)?;
        } else if Path::new(name).extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Which lessons show an item, or are about a file: `(file, item)`.
type Taught<'a> = BTreeMap<(String, Option<String>), Vec<&'a Lesson>>;

fn taught<'a>(
    parsed: &BTreeMap<String, Vec<Found>>,
    lessons: &[&'a Lesson],
    shown: &BTreeMap<String, Vec<Shown>>,
) -> Taught<'a> {
    let mut taught = Taught::new();
    let mut add = |key: (String, Option<String>), lesson: &'a Lesson| {
        let lessons = taught.entry(key).or_default();
        if !lessons.iter().any(|it: &&Lesson| it.id == lesson.id) {
            lessons.push(lesson);
        }
    };
    for &lesson in lessons {
        for file in &lesson.files {
            let file = if lesson.id.starts_with('A') { file.clone() } else { format!("src/{file}") };
            add((file, None), lesson);
        }
        for Shown { file, lines } in shown.get(&lesson.chapter).into_iter().flatten() {
            let items = parsed.get(file).into_iter().flatten();
            for item in items.filter(|it| it.lines.start() <= lines.end() && lines.start() <= it.lines.end()) {
                add((in_all_steps(file).to_owned(), Some(item.name().to_owned())), lesson);
            }
        }
    }
    taught
}

fn write(index: &BTreeMap<Place, Vec<Entry>>, taught: &Taught) -> String {
    let mut page = "# Where the specifications are in the code\n\n\
        The comments of the sources cite the specifications. This is the way back: from a section to the code that implements it, \
        and to the lesson that shows it. A file that several steps share is listed in the first of them.\n"
        .to_owned();
    let mut document = String::new();
    for (place, entries) in index {
        let title = place.document().unwrap_or_default();
        if title != document {
            let _ = write!(page, "\n## {title}\n\n");
            document = title;
        }
        let _ = writeln!(page, "- [{}]({})", place.title(), place.url().unwrap_or_default());
        for Entry { file, line, item } in entries {
            let name = item.as_ref().map_or_else(|| format!("`{file}`"), |item| format!("`{item}` in `{file}`"));
            let lessons = taught.get(&(in_all_steps(file).to_owned(), item.clone())).into_iter().flatten();
            let lessons: Vec<_> = lessons.map(|it| format!("[{}]({})", it.id, it.chapter)).collect();
            let lessons = if lessons.is_empty() { String::new() } else { format!(", lesson {}", lessons.join(", ")) };
            let _ = writeln!(page, "  - [{name}](repo:{file}#L{line}){lessons}");
        }
    }
    page
}

/// The places that a file's comments cite, with the lines.
fn citations(text: &str) -> Vec<(usize, Place)> {
    let mut found = Vec::new();
    let mut comment: Vec<(usize, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("//") {
            comment.push((index + 1, rest.trim_start_matches(['/', '!']).trim()));
            continue;
        }
        cited(&comment, &mut found);
        comment.clear();
        // A comment behind code, if it does not begin inside of a text.
        if let Some(at) = line.find(" // ").filter(|at| line[..*at].matches('"').count() % 2 == 0) {
            cited(&[(index + 1, &line[at + 4..])], &mut found);
        }
    }
    cited(&comment, &mut found);
    found
}

/// The document that a "§" belongs to.
#[derive(Clone, PartialEq)]
enum Document {
    Rfc(u16),
    OAuth,
}

impl Document {
    fn section(&self, section: Section) -> Place {
        match self {
            Document::Rfc(number) => Place::Rfc { number: *number, section },
            Document::OAuth => Place::OAuth { section },
        }
    }
}

/// What one comment cites. "RFC 6750, §3.1 and §4" are two sections of it. A "§" that follows no document belongs to the
/// only one that the comment has named so far; if that is not clear, to none.
fn cited(comment: &[(usize, &str)], found: &mut Vec<(usize, Place)>) {
    static WORDS: LazyLock<Regex> = LazyLock::new(|| {
        let mcp =
            r#"MCP (?:(?P<version>\d{4}-\d\d-\d\d),? )?(?:and \d{4}-\d\d-\d\d, )?\(?(?P<titles>"[^"]+"(?:, "[^"]+")*)"#;
        let section = r"(?:§ ?|[Aa]ppendix |[Ss]ection )(?P<section>(?:[A-Z]|\d+)(?:\.\d+)*)\b";
        let words = format!(r"{mcp}|RFC ?(?P<rfc>\d+)\b|(?P<oauth>OAuth 2\.1)\b|{section}");
        Regex::new(&words).expect("it is a regular expression")
    });
    let text = comment.iter().map(|(_, line)| *line).collect::<Vec<_>>().join(" ");
    let line = |at: usize| {
        let mut end = 0;
        let line = comment.iter().find(|(_, line)| {
            end += line.len() + 1;
            at < end
        });
        line.map_or(1, |(number, _)| *number)
    };
    let mut named: Vec<(Document, usize)> = Vec::new();
    let mut with_section: Vec<Document> = Vec::new();
    let mut last: Option<(Document, usize)> = None; // and where it ended
    for word in WORDS.captures_iter(&text) {
        let whole = word.get(0).expect("all of it");
        let at = line(whole.start());
        if let Some(titles) = word.name("titles") {
            let version = word.name("version").map_or("2026-07-28", |version| version.as_str());
            for title in titles.as_str().split('"').skip(1).step_by(2) {
                found.push((at, Place::Mcp { title: title.to_owned(), version: version.to_owned() }));
            }
        } else if let Some(section) = word.name("section") {
            let between = |(_, end): &(Document, usize)| text[*end..whole.start()].trim();
            let follows = last.as_ref().filter(|it| ["", ",", "and", "or", ", and", "'s"].contains(&between(it)));
            let before = text[..whole.start()].trim_end();
            // "Fetch §3.2" is of something else.
            let bare = before.is_empty()
                || before.ends_with(['(', ',', ';', ':', '.'])
                || ["in", "of", "see"].iter().any(|it| before.ends_with(&format!(" {it}")));
            let distinct: BTreeSet<_> =
                named.iter().map(|(document, _)| document.section(Section::default())).collect();
            let only = named.first().filter(|_| bare && distinct.len() == 1);
            last = follows.or(only).map(|(document, _)| (document.clone(), whole.end()));
            if let Some((document, _)) = &last {
                with_section.push(document.clone());
                found.push((at, document.section(Section::new(section.as_str()))));
            }
        } else {
            let rfc = word.name("rfc").and_then(|number| number.as_str().parse().ok());
            let document = rfc.map_or(Document::OAuth, Document::Rfc);
            named.push((document.clone(), at));
            last = Some((document, whole.end()));
        }
    }
    for (document, at) in named {
        if matches!(document, Document::Rfc(_)) && !with_section.contains(&document) {
            found.push((at, document.section(Section::default())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cites(text: &str) -> Vec<String> {
        let cited = citations(text).into_iter();
        cited
            .map(|(line, place)| format!("{line}: {} {}", place.document().unwrap_or_default(), place.title()))
            .collect()
    }

    #[test]
    fn a_citation_may_have_many_forms() {
        let bearer = "RFC 6750: The OAuth 2.0 Authorization Framework: Bearer Token Usage";
        for (text, places) in [
            ("/// A (RFC 6750 §3.1).", vec![format!("1: {bearer} §3.1")]),
            ("let a = 1; // RFC 6750, §3", vec![format!("1: {bearer} §3")]),
            ("//! RFC 6750,\n//! §3 and §2.1", vec![format!("2: {bearer} §3"), format!("2: {bearer} §2.1")]),
            ("// See RFC 6750. Without a token (§3.1)", vec![format!("1: {bearer} §3.1")]),
            ("// RFC 6750", vec![format!("1: {bearer} as a whole")]),
            (
                "// RFC 7636 appendix B",
                vec!["1: RFC 7636: Proof Key for Code Exchange by OAuth Public Clients §B".to_owned()],
            ),
            (
                "/// OAuth 2.1 §4.1.1, RFC 6750",
                vec![
                    "1: The OAuth 2.1 Authorization Framework (draft) §4.1.1".to_owned(),
                    format!("1: {bearer} as a whole"),
                ],
            ),
            (
                "/// MCP 2026-07-28 \"Tools\",\n/// \"Prompts\"; MCP (\"Ping\")",
                ["Tools", "Prompts", "Ping"]
                    .iter()
                    .zip([1, 1, 2])
                    .map(|(it, n)| format!("{n}: Model Context Protocol {it}"))
                    .collect(),
            ),
        ] {
            assert_eq!(cites(text), places, "{text}");
        }
    }

    #[test]
    fn a_section_of_who_knows_what_is_left_out() {
        for text in [
            "// (§3.1)",
            "// Fetch §3.2",
            "// RFC 6265bis §4",
            "let a = \"x // RFC 6750 §3\";",
            "// RFC 6750 §2\nx\n// (§3)",
        ] {
            assert!(cites(text).len() <= usize::from(text.contains("§2")), "{text}: {:?}", cites(text));
        }
        assert_eq!(cites("// RFC 6750, RFC 7517: a key (§3)").len(), 2);
        assert!(cites("// RFC 6750, RFC 7517: a key (§3)").iter().all(|it| it.ends_with("as a whole")));
    }

    #[test]
    fn sections_are_in_order() {
        let mut sections = ["10", "4.10", "B.1", "4.9", "4", ""].map(Section::new);
        sections.sort();
        assert_eq!(sections, ["", "4", "4.9", "4.10", "10", "B.1"].map(Section::new));
    }
}
