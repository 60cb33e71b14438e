//! `book/lessons.toml`, the list of lessons.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Some lessons that are read together, under a title of their own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub title: String,
    #[serde(rename = "lesson")]
    pub lessons: Vec<Lesson>,
}

/// One lesson. The file explains its fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    pub id: String,
    pub title: String,
    pub chapter: String,
    pub step: u8,
    pub beside: String,
    pub files: Vec<String>,
    pub stubs: Vec<String>,
    #[serde(default)]
    pub checks: Vec<String>,
}

impl Lesson {
    /// What a chapter's first line and the table of contents say.
    pub fn heading(&self) -> String {
        format!("{} {}", self.id, self.title)
    }

    /// The text in a learner's `todo!`: "lesson 6.2: what makes a token good".
    pub fn todo(&self) -> String {
        let mut title = self.title.chars();
        let first = title.next().into_iter().flat_map(char::to_lowercase);
        format!("lesson {}: {}", self.id, first.chain(title).collect::<String>())
    }

    /// The lesson and its chapter, for a list.
    pub fn entry(&self) -> String {
        format!("  {:<4} {}: book/src/{}", self.id, self.title, self.chapter)
    }

    /// The lessons that are counted together with this one: those of a step, or those of the tour.
    fn group(&self) -> &str {
        self.id
            .split_once('.')
            .map_or_else(|| self.id.trim_end_matches(|c: char| c.is_ascii_digit()), |(group, _)| group)
    }
}

/// # Errors
/// If the list cannot be read.
pub fn read(root: &Path) -> Result<Vec<Part>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        part: Vec<Part>,
    }
    let text = fs::read_to_string(root.join("book/lessons.toml")).context("cannot read book/lessons.toml")?;
    let list: List = toml_edit::de::from_str(&text).context("book/lessons.toml")?;
    Ok(list.part)
}

/// All lessons, in their order.
///
/// # Errors
/// As [`read`].
pub fn all(root: &Path) -> Result<Vec<Lesson>> {
    Ok(read(root)?.into_iter().flat_map(|part| part.lessons).collect())
}

/// Where a lesson is: "Step 6 · lesson 2 of 3".
pub fn place(lesson: &Lesson, all: &[&Lesson]) -> String {
    let group: Vec<_> = all.iter().filter(|it| it.group() == lesson.group()).collect();
    let number = group.iter().position(|it| it.id == lesson.id).unwrap_or_default() + 1;
    match lesson.group() {
        "" => "Before step 1".to_owned(),
        "A" => format!("Tour of the authorization server · stop {number} of {}", group.len()),
        step => format!("Step {step} · lesson {number} of {}", group.len()),
    }
}
