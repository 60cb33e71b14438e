//! What a step's folder holds, and how it differs from the previous step's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use similar::{ChangeTag, TextDiff};

/// The steps each of which builds on the one before it here. Step 11 is another program, a client.
pub const SERVERS: [u8; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12];

/// The step that step `n` goes on from.
pub fn before(n: u8) -> Option<u8> {
    let place = SERVERS.iter().position(|server| *server == n)?;
    SERVERS.get(place.checked_sub(1)?).copied()
}

/// A step's files: their text by their path in the step's folder.
pub type Files = BTreeMap<String, String>;

/// A file that is not the same in a step as in the one before it.
pub struct Change {
    /// The path in the step's folder, such as `src/tools.rs`.
    pub path: String,
    pub kind: Kind,
    pub before: String,
    pub after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    New,
    Differs,
    Gone,
}

impl Change {
    /// How many lines were added, and how many deleted.
    pub fn lines(&self) -> (usize, usize) {
        let diff = TextDiff::from_lines(&self.before, &self.after);
        let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        (count(ChangeTag::Insert), count(ChangeTag::Delete))
    }
}

/// The changes of step `n` to the one before it; the whole step, if it is the first.
pub fn changes(root: &Path, n: u8) -> Result<Vec<Change>> {
    let after = files(root, n)?;
    let mut before = before(n).map(|before| files(root, before)).transpose()?.unwrap_or_default();
    if let (Some(before), Some(after)) = (before.get_mut("Cargo.toml"), after.get("Cargo.toml")) {
        rename(before, after);
    }
    Ok(compare(before, after))
}

/// The changes that turn one set of files into another.
pub fn compare(mut before: Files, mut after: Files) -> Vec<Change> {
    let paths: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
    let changes = paths.into_iter().filter_map(|path| {
        let (before, after) = (before.remove(&path), after.remove(&path));
        let kind = match (&before, &after) {
            (None, _) => Kind::New,
            (_, None) => Kind::Gone,
            (before, after) if before == after => return None,
            _ => Kind::Differs,
        };
        Some(Change { path, kind, before: before.unwrap_or_default(), after: after.unwrap_or_default() })
    });
    changes.collect()
}

/// Gives a manifest the package name that another one has: names differ in every step, and this difference is not worth
/// showing.
fn rename(manifest: &mut String, other: &str) {
    let name = |text: &str| text.lines().find(|line| line.starts_with("name =")).map(str::to_owned);
    if let (Some(from), Some(to)) = (name(manifest), name(other)) {
        *manifest = manifest.replacen(&from, &to, 1);
    }
}

/// The files of step `n`, without its README.md, hidden files, and what a run from inside its folder leaves there.
pub fn files(root: &Path, n: u8) -> Result<Files> {
    let folder = root.join(format!("step{n}"));
    ensure!(folder.is_dir(), "there is no step{n}");
    files_in(&folder)
}

/// The same of a step in another folder.
pub fn files_in(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    collect(folder, "", &mut files)?;
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Files) -> Result<()> {
    let context = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let file = entry.with_context(context)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let path = format!("{prefix}{name}");
        if name.starts_with('.') || name == "README.md" || ["target", "keys", "data"].contains(&path.as_str()) {
            continue;
        }
        if file.is_dir() {
            collect(&file, &format!("{path}/"), files)?;
        } else {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            files.insert(path, text);
        }
    }
    Ok(())
}
