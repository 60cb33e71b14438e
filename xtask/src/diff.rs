//! `cargo xtask diff N`: shows how a step differs from the one before it.

use std::env;
use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Result;
use similar::{ChangeTag, TextDiff};

use crate::step::{Change, Kind, SERVERS, before, changes, compare, files, files_in};

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Writes the names of the files that step `n` adds, then how it changes the others. A step that does not build on the
/// one before it has no such difference; the output says what to read instead.
pub fn show(root: &Path, n: u8, full: bool, mut out: impl Write + IsTerminal) -> Result<()> {
    if !SERVERS.contains(&n) {
        files(root, n)?; // there is such a step
        writeln!(
            out,
            "Step {n} is another program, not step {} with something added: there is no difference to show.",
            n - 1
        )?;
        writeln!(out, "Read step{n}/README.md, which says what it is and in which order to read its files.")?;
        return Ok(());
    }
    let (from, to) = (format!("step{}", before(n).unwrap_or_default()), format!("step{n}"));
    let mut page = Page::new(out, &from, &to);
    let (new, old): (Vec<Change>, Vec<Change>) = changes(root, n)?.into_iter().partition(|c| c.kind == Kind::New);
    for Change { path, after, .. } in &new {
        page.line(GREEN, &format!("new file: {to}/{path} ({} lines)", after.lines().count()))?;
    }
    for change in if full { new.iter() } else { [].iter() }.chain(&old) {
        page.change(change)?;
    }
    Ok(())
}

/// Writes how the step in `folder` must be changed to become our step `n`. Manifests are left out: that of a step in `mine`
/// is that of a workspace, too.
pub fn solution(root: &Path, folder: &Path, n: u8, out: impl Write + IsTerminal) -> Result<()> {
    let [mut mine, mut ours] = [files_in(folder)?, files(root, n)?];
    for files in [&mut mine, &mut ours] {
        files.retain(|path, _| !path.starts_with("Cargo."));
    }
    let (from, to) = (folder.strip_prefix(root).unwrap_or(folder).display().to_string(), format!("step{n}"));
    let changes = compare(mine, ours);
    let mut page = Page::new(out, &from, &to);
    if changes.is_empty() {
        page.line("", &format!("{from} is the same as {to}."))?;
    }
    changes.iter().try_for_each(|change| page.change(change))
}

/// A page of differences between two folders of these names.
struct Page<'a, W> {
    out: W,
    colour: bool,
    from: &'a str,
    to: &'a str,
}

impl<'a, W: Write + IsTerminal> Page<'a, W> {
    fn new(out: W, from: &'a str, to: &'a str) -> Self {
        let colour = out.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Page { out, colour, from, to }
    }

    fn change(&mut self, Change { path, kind, before, after }: &Change) -> Result<()> {
        let from = if *kind == Kind::New { "/dev/null".into() } else { format!("{}/{path}", self.from) };
        let to = if *kind == Kind::Gone { "/dev/null".into() } else { format!("{}/{path}", self.to) };
        writeln!(self.out)?;
        self.line(BOLD, &format!("--- {from}"))?;
        self.line(BOLD, &format!("+++ {to}"))?;
        for hunk in TextDiff::from_lines(before, after).unified_diff().iter_hunks() {
            self.line(CYAN, &hunk.header().to_string())?;
            for change in hunk.iter_changes() {
                let style = match change.tag() {
                    ChangeTag::Equal => "",
                    ChangeTag::Delete => RED,
                    ChangeTag::Insert => GREEN,
                };
                self.line(style, &format!("{}{}", change.tag(), change.value().trim_end_matches('\n')))?;
                if change.missing_newline() {
                    self.line("", "\\ No newline at end of file")?;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, style: &str, text: &str) -> Result<()> {
        if self.colour && !style.is_empty() {
            writeln!(self.out, "\x1b[{style}m{text}\x1b[0m")?;
        } else {
            writeln!(self.out, "{text}")?;
        }
        Ok(())
    }
}
