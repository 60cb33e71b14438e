//! `cargo xtask start N`: step N in `mine/`, in which the functions that its lessons are about are left to the learner.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, value};

use crate::lessons::{self, Lesson};
use crate::{eject, item, relative};

/// The stub that replaces a function's body.
#[derive(Clone, Copy)]
pub enum Stub {
    /// `todo!`, for a learner.
    Todo,
    /// The same, if the environment variable `LESSONS_TO_DO` names the lesson as the program runs; else what was there. The
    /// tests build a step once and leave out one lesson after the other.
    AtRunTime,
}

/// Writes step `n` to the folder `stepN` in `mine`, which is made if it is not there. Returns the step's lessons.
pub fn start(root: &Path, mine: &Path, n: u8, stub: Stub) -> Result<Vec<Lesson>> {
    let lessons = of_step(root, n)?;
    ensure!(
        lessons.iter().any(|lesson| !lesson.stubs.is_empty()),
        "no lesson leaves a function of step {n} to you: those of the steps 1 to 9 do"
    );
    let (step, target) = (format!("step{n}"), mine.join(format!("step{n}")));
    ensure!(
        !target.exists(),
        "{0} is there already, and stays as it is. Go on with it: cargo xtask check {n}. To begin again, move it away first.",
        shown(root, mine, n)
    );
    // All is read, and found, before anything is written.
    let mut by_file = BTreeMap::<&str, Vec<(&str, &Lesson)>>::new();
    for lesson in &lessons {
        for it in &lesson.stubs {
            let (file, function) = it.split_once(' ').with_context(|| format!("lesson {}: {it}", lesson.id))?;
            by_file.entry(file).or_default().push((function, lesson));
        }
    }
    let mut texts = Vec::new();
    for (file, stubs) in by_file {
        let path = root.join(&step).join("src").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        texts.push((file, stubbed(text, stubs, stub).with_context(|| path.display().to_string())?));
    }

    let written = write(root, mine, &step, &texts);
    if written.is_err() {
        let _ = fs::remove_dir_all(&target); // so that the next try does not mistake it for somebody's work
    }
    written.map(|()| lessons)
}

/// Writes a step to `mine`: a copy with these files of its `src` in the place of others.
fn write(root: &Path, mine: &Path, step: &str, texts: &[(&str, String)]) -> Result<()> {
    let target = mine.join(step);
    eject::copy(&root.join(step), &target, true).with_context(|| format!("cannot copy {step}"))?;
    for (file, text) in texts {
        fs::write(target.join("src").join(file), text)?;
    }
    // A program's name of its own, since it is built beside those of this workspace.
    let package = eject::read(&target.join("Cargo.toml"))?;
    let program = format!("[[bin]]\nname = \"my-{step}\"\npath = \"src/main.rs\"\n\n[dependencies]");
    fs::write(target.join("Cargo.toml"), package.replacen("[dependencies]", &program, 1))?;
    settings(root, mine)?;
    workspace(root, mine)
}

/// The lessons that are about a step, but for those that only read it.
pub fn of_step(root: &Path, n: u8) -> Result<Vec<Lesson>> {
    let lessons = lessons::all(root)?.into_iter();
    Ok(lessons.filter(|lesson| lesson.id.starts_with(|c: char| ('1'..='9').contains(&c)) && lesson.step == n).collect())
}

/// A file with the bodies of these functions replaced.
fn stubbed(mut text: String, stubs: Vec<(&str, &Lesson)>, stub: Stub) -> Result<String> {
    let mut bodies = Vec::new();
    for (function, lesson) in stubs {
        bodies.push((item::body(&text, function)?, lesson));
    }
    bodies.sort_by_key(|(body, _)| std::cmp::Reverse(body.start)); // from the end, so that the others stay where they are
    for (body, lesson) in bodies {
        let todo = format!("todo!({:?})", lesson.todo());
        match stub {
            Stub::Todo => {
                let indent = " ".repeat(indentation(&text, &body));
                text.replace_range(body, &format!("{{\n{indent}    {todo}\n{indent}}}"));
            }
            Stub::AtRunTime => {
                let id = &lesson.id;
                let switch = format!(
                    "{{ if std::env::var(\"LESSONS_TO_DO\").is_ok_and(|ids| ids.split(' ').any(|id| id == {id:?})) {{ {todo} }}"
                );
                text.replace_range(body.start..=body.start, &switch);
            }
        }
    }
    Ok(text)
}

/// The number of spaces before the line on which a body ends.
fn indentation(text: &str, body: &Range<usize>) -> usize {
    let line = text[..body.end].rsplit('\n').next().unwrap_or_default();
    line.len() - line.trim_start().len()
}

/// Writes the manifest of `mine`, with what its steps inherit from this workspace, and Cargo.lock. What somebody has added to
/// the manifest stays.
fn workspace(root: &Path, mine: &Path) -> Result<()> {
    let mut manifest: DocumentMut = eject::read(&root.join("Cargo.toml"))?.parse()?;
    let steps: BTreeSet<String> = steps(mine).map(|n| format!("step{n}")).collect();
    let workspace = manifest["workspace"].as_table_mut().context("no workspace")?;
    workspace.remove("exclude");
    workspace.insert("members", value(steps.iter().collect::<Array>()));
    let inherited = eject::inherited(mine, &steps)?;
    eject::retain(&mut workspace["dependencies"], |name| inherited.contains(name));
    let up = relative(root, mine)?;
    for (_, dependency) in workspace["dependencies"].as_table_like_mut().context("no dependencies")?.iter_mut() {
        if let Some(path) = dependency.as_table_like_mut().and_then(|table| table.get_mut("path")) {
            *path = value(format!("{up}{}", path.as_str().context("a path that is no text")?));
        }
    }
    workspace["lints"]["rust"]["unused"] = value("allow"); // a stub does not use everything yet

    let file = mine.join("Cargo.toml");
    if file.exists() {
        let theirs: DocumentMut = eject::read(&file)?.parse()?;
        let members = manifest["workspace"]["members"].clone();
        put_over(manifest.as_table_mut(), theirs.as_table());
        manifest["workspace"]["members"] = members;
    }
    let write = |manifest: &DocumentMut| fs::write(&file, manifest.to_string());
    write(&manifest)?;
    fs::copy(root.join("Cargo.lock"), mine.join("Cargo.lock"))?;
    eject::prune(mine, &mut manifest)?;
    write(&manifest)?;
    Ok(())
}

/// Puts what another table has into this one.
fn put_over(table: &mut dyn TableLike, other: &dyn TableLike) {
    for (name, item) in other.iter() {
        match (table.get_mut(name).and_then(Item::as_table_like_mut), item.as_table_like()) {
            (Some(inner), Some(other)) => put_over(inner, other),
            _ => drop(table.insert(name, item.clone())),
        }
    }
}

/// Cargo's settings in `mine`, once: it builds into this workspace's target folder, where the dependencies are compiled
/// already, and knows `cargo xtask`.
fn settings(root: &Path, mine: &Path) -> Result<()> {
    let folder = mine.join(".cargo");
    let file = folder.join("config.toml");
    if file.exists() {
        return Ok(());
    }
    let mut settings = DocumentMut::new();
    settings["build"] = Item::Table(Table::from_iter([("target-dir", format!("{}target", relative(root, mine)?))]));
    let manifest = root.join("Cargo.toml").display().to_string();
    if !manifest.contains(char::is_whitespace) {
        let xtask = format!("run --quiet --manifest-path {manifest} --package xtask --");
        settings["alias"] = Item::Table(Table::from_iter([("xtask", xtask)]));
    }
    fs::create_dir_all(&folder)?;
    fs::write(&file, settings.to_string()).with_context(|| format!("cannot write {}", file.display()))
}

/// The numbers of the steps in `mine`.
fn steps(mine: &Path) -> impl Iterator<Item = u8> {
    let entries = fs::read_dir(mine).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("step")?.parse().ok())
}

/// The newest step in `mine`.
pub fn newest(mine: &Path) -> Result<u8> {
    steps(mine).max().context("you have no step yet. Begin with one: cargo xtask start 1")
}

/// The folder of a step in `mine`.
pub fn folder(root: &Path, mine: &Path, n: u8) -> Result<PathBuf> {
    let folder = mine.join(format!("step{n}"));
    ensure!(folder.is_dir(), "there is no {}. Begin with it: cargo xtask start {n}", shown(root, mine, n));
    Ok(folder)
}

/// Its name for people.
pub fn shown(root: &Path, mine: &Path, n: u8) -> String {
    mine.strip_prefix(root).unwrap_or(mine).join(format!("step{n}")).display().to_string()
}
