//! Writes the pages, and the pictures in them, to where they are read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::links;

/// Writes pages by their names, with the pictures from `book/src`; `source` says where a source is.
///
/// # Errors
/// If one cannot be written.
pub fn write(root: &Path, pages: &BTreeMap<&str, &str>, folder: &Path, source: &dyn Fn(&str) -> String) -> Result<()> {
    copy(&root.join("book/src"), folder)?;
    for (name, text) in pages {
        let text = links::rewrite(text, source);
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Copies a folder's files, and those in its folders.
///
/// # Errors
/// If one cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, to).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}
