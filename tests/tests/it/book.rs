//! The book: it can be put together, its commands print what it shows, and it can be read on every screen.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use integration_tests::{
    each, interop, program, programs,
    readme::{Page, root},
    text,
};
use regex::Regex;

use crate::readme::check_beside;

/// The pages, with the program that each page's commands talk to, and whether the page must have commands.
fn pages() -> Result<Vec<(PathBuf, String, bool)>> {
    let lessons = fs::read_to_string(root().join("book/lessons.toml"))?;
    let lesson = Regex::new(r#"(?m)^chapter = "(.+)"\nstep = \d+\nbeside = "(.+)"$"#)?;
    let mut beside: Vec<_> = lesson.captures_iter(&lessons).map(|it| (it[1].to_owned(), it[2].to_owned())).collect();
    ensure!(beside.len() == lessons.matches("[[part.lesson]]").count(), "book/lessons.toml has another form");
    let mut pages = Vec::new();
    for entry in fs::read_dir(root().join("book/src"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|it| it == "md") {
            let lesson = beside.iter().position(|(chapter, _)| *chapter == name).map(|at| beside.swap_remove(at).1);
            let other = if name == "connect.md" { "step6" } else { "step9" };
            pages.push((path, lesson.clone().unwrap_or_else(|| other.to_owned()), lesson.is_some()));
        }
    }
    pages.sort();
    Ok(pages)
}

#[test]
fn every_page_is_put_together_and_every_link_leads_somewhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = programs::xtask()?.args(["book", "--markdown"]).arg(folder.path()).output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success(), "{text}");
    let index = fs::read_to_string(folder.path().join("rfcs.md"))?;
    assert!(index.contains("\n- [§3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)\n"), "{index}");
    let link = Regex::new(r"\]\(([^)#:]*/[^)#:]+)")?;
    let mut links = 0;
    for (path, ..) in pages()? {
        let page = fs::read_to_string(folder.path().join(path.file_name().context("a name")?))?;
        assert!(!page.contains("{{#") && !page.contains("](repo:"), "{}", path.display());
        // The page is read where it was written, so links to sources lead to the files there.
        for found in link.captures_iter(&page) {
            assert!(folder.path().join(&found[1]).exists(), "{}: {}", path.display(), &found[1]);
            links += 1;
        }
    }
    assert!(links > 200, "{links} links to sources");
    Ok(())
}

/// `CHAPTERS=6.2,a4` runs only those of these chapters.
#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn every_command_in_the_chapters_prints_what_they_show() -> Result<()> {
    program("gen-token")?;
    let mut chosen = pages()?;
    if let Ok(only) = env::var("CHAPTERS") {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        chosen.retain(|(path, ..)| only.split(',').any(|it| name(path).starts_with(&it.to_lowercase())));
        ensure!(!chosen.is_empty(), "there is no chapter {only}");
    }
    let checked = |(path, step, is_lesson): &(PathBuf, String, bool)| {
        let count = if *is_lesson || Page::read(path)?.has_examples() { check_beside(path, step)? } else { 0 };
        println!("{}: {count} examples", path.display());
        Ok(())
    };
    // Some commands have a time limit: a code must be used within a minute. Beside other tests a machine may be too busy.
    let again = each(2, &chosen, checked).into_iter().filter_map(|((path, step, _), error)| {
        println!("{}, first time: {error:#}", path.display());
        check_beside(path, step).err()
    });
    let failures: Vec<_> = again.map(|error| format!("{error:#}")).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

/// 390 and 1280 pixels wide, light and dark: nothing scrolls sideways, every text has enough contrast, headings are in
/// order, and nothing comes from another host.
#[test]
#[cfg_attr(not(ci), ignore = "needs Node.js, Chromium")]
fn every_page_can_be_read_in_chromium_on_a_phone_and_on_a_desktop() -> Result<()> {
    let built = programs::xtask()?.arg("book").output()?;
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let folder = interop::folder(true)?;
    let target = folder.join("../../target");
    let mut node = Command::new("node");
    node.arg("book.mjs").args([target.join("book"), target.join("screenshots")]).current_dir(&folder);
    let output = node.output()?;
    let text = text(&output);
    println!("{text}");
    assert!(output.status.success() && text.contains("ok - "), "{text}");
    Ok(())
}
