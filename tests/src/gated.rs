//! The tests that run with `CI=true` only. Their attribute says what they need:
//! `#[cfg_attr(not(ci), ignore = "needs Java")]`.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use regex::Regex;

/// The modules that have such tests, and for each need, how many of their tests have it.
///
/// # Errors
/// If the tests' sources cannot be read.
pub fn gated() -> Result<BTreeMap<(String, String), usize>> {
    let gate = Regex::new(r#"(?m)^#\[cfg_attr\(not\(ci\), ignore = "needs ([^"]+)"\)\]\n(?:async )?fn "#)?;
    let mut gated = BTreeMap::new();
    let folder = |name: &str| fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    for file in folder("tests/it")?.chain(folder("tests/timing")?) {
        let path = file?.path();
        let module = path.file_stem().and_then(|stem| stem.to_str()).context("a file without a name")?;
        for found in gate.captures_iter(&fs::read_to_string(&path)?) {
            *gated.entry((module.to_owned(), found[1].to_owned())).or_default() += 1;
        }
    }
    Ok(gated)
}

/// The table in README.md.
///
/// # Errors
/// If the tests' sources cannot be read.
pub fn table() -> Result<String> {
    let mut table = "| tests | need |\n|---|---|\n".to_owned();
    for ((module, needed), count) in gated()? {
        writeln!(table, "| {count} in `{module}` | {needed} |")?;
    }
    Ok(table)
}
