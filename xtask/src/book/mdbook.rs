//! mdBook, which makes HTML of the pages. It is a program of its own, installed into `target/tools`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{pages, sources};
use crate::{cargo, eject};

/// The version that the book is tested with.
const VERSION: &str = "0.5.4";

/// Writes what mdBook reads into `target/book-src`, and runs it: the book is in `target/book`. With `open`, it is served
/// and shown until somebody ends it.
///
/// # Errors
/// If mdBook cannot be installed or fails, or a file cannot be written.
pub fn build(root: &Path, files: &BTreeMap<&str, &str>, open: bool) -> Result<()> {
    let folder = root.join("target/book-src");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let to = folder.join("src");
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    fs::copy(root.join("book/book.toml"), folder.join("book.toml")).context("cannot copy book/book.toml")?;
    eject::copy(&root.join("book/theme"), &folder.join("theme"), false).context("cannot copy book/theme")?;
    pages::write(root, files, &to, &sources::address)?;
    sources::write(root, files, &to)?;
    fs::copy(root.join("book/theme/source.css"), to.join("source/source.css")).context("cannot copy source.css")?;

    let program = installed(root)?;
    let target = root.join("target/book");
    let mut mdbook = Command::new(program);
    mdbook.args(if open { &["serve", "--open", "--dest-dir"][..] } else { &["build", "--dest-dir"] });
    let status = mdbook.arg(&target).arg(&folder).status().context("cannot run mdBook")?;
    ensure!(status.success(), "mdBook failed: {status}");
    println!("the book is in {}", target.join("index.html").display());
    Ok(())
}

/// mdBook in the version that is asked for, installed if it is not there.
fn installed(root: &Path) -> Result<PathBuf> {
    let tools = root.join("target/tools");
    let program = tools.join("bin/mdbook");
    let has = Command::new(&program).arg("--version").output();
    if has.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).trim() == format!("mdbook v{VERSION}")) {
        return Ok(program);
    }
    eprintln!("installing mdBook {VERSION} into target/tools, which takes some minutes, once");
    let mut cargo = cargo();
    cargo.args(["install", "mdbook", "--version", &format!("={VERSION}"), "--locked", "--quiet", "--root"]).arg(&tools);
    // It runs for seconds only: compiling it with little optimisation takes a fraction of the time.
    let profile = [("OPT_LEVEL", "1"), ("LTO", "off"), ("CODEGEN_UNITS", "16")];
    cargo.envs(profile.map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)));
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "mdBook cannot be installed");
    Ok(program)
}
