//! `cargo xtask diff N`: a step as its reader wants to see it.

use std::env;
use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Result;
use similar::{ChangeTag, TextDiff};

use crate::step::{Change, Kind, LAST, changes, files};

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Writes the names of the files that step `n` adds, then how it changes the others. A step that is not the one before
/// it and more has no such difference: what to read instead is said.
pub fn show(root: &Path, n: u8, full: bool, mut out: impl Write + IsTerminal) -> Result<()> {
    if n > LAST {
        files(root, n)?; // there is such a step
        writeln!(
            out,
            "Step {n} is another program, not step {} with something added: there is no difference to show.",
            n - 1
        )?;
        writeln!(out, "Read step{n}/README.md, which says what it is and in which order to read its files.")?;
        return Ok(());
    }
    let colour = out.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut page = Page { out, colour };
    let (new, old): (Vec<Change>, Vec<Change>) = changes(root, n)?.into_iter().partition(|c| c.kind == Kind::New);
    for Change { path, after, .. } in &new {
        page.line(GREEN, &format!("new file: step{n}/{path} ({} lines)", after.lines().count()))?;
    }
    for change in if full { new.iter() } else { [].iter() }.chain(&old) {
        page.change(n, change)?;
    }
    Ok(())
}

struct Page<W> {
    out: W,
    colour: bool,
}

impl<W: Write> Page<W> {
    fn change(&mut self, n: u8, Change { path, kind, before, after }: &Change) -> Result<()> {
        let from = if *kind == Kind::New { "/dev/null".into() } else { format!("step{}/{path}", n - 1) };
        let to = if *kind == Kind::Gone { "/dev/null".into() } else { format!("step{n}/{path}") };
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
