//! Writes the pages, and the pictures in them, to where they are read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::links;
use crate::eject;

/// Writes pages by their names, with the pictures from `book/src`; `source` says where a source is.
///
/// # Errors
/// If one cannot be written.
pub fn write(root: &Path, pages: &BTreeMap<&str, &str>, folder: &Path, source: &dyn Fn(&str) -> String) -> Result<()> {
    eject::copy(&root.join("book/src"), folder, false).context("cannot copy book/src")?;
    for (name, text) in pages {
        let text = links::rewrite(text, source);
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}
