//! A second workspace, in which steps can be changed and built beside the tests. It is made of links to the first one, and
//! its target folder of hard links to what is compiled there: only a step that was changed is compiled.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{programs, readme::root};

/// What Cargo and the compiler write is replaced as a whole if it is large, so that a hard link does no harm. Smaller files
/// may be written to, and are copied. In bytes.
const LARGE: u64 = 64 * 1024;

pub struct Workshop {
    folder: TempDir,
    profile: &'static str,
}

impl Workshop {
    /// # Errors
    /// If this workspace's programs cannot be built, or a link cannot be made.
    pub fn new() -> Result<Self> {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let built = programs::folder()?;
        let target = built.parent().context("no target folder")?;
        let workshop = Workshop { folder: tempfile::tempdir_in(target)?, profile }; // links need one file system
        // Cargo's own lock: a build beside us, such as that of another test, makes and removes files there.
        let lock = File::open(built.join(".cargo-lock")).context("Cargo has no lock")?;
        lock.lock()?;
        for folder in ["deps", "build", "examples", ".fingerprint"] {
            let to = workshop.target().join(profile).join(folder);
            link(&built.join(folder), &to).with_context(|| format!("cannot link {folder}"))?;
        }
        drop(lock);
        let workspace = workshop.workspace();
        fs::create_dir(&workspace)?;
        for entry in fs::read_dir(root())? {
            let entry = entry?;
            let name = entry.file_name();
            if name == "Cargo.toml" || name == "Cargo.lock" {
                fs::copy(entry.path(), workspace.join(name))?;
            } else if name != "target" && name != "mine" {
                symlink(entry.path(), workspace.join(name))?;
            }
        }
        Ok(workshop)
    }

    /// Where the steps are.
    pub fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    /// Replaces a package's sources by those of another folder.
    ///
    /// # Errors
    /// If they cannot be copied.
    pub fn put(&self, package: &str, from: &Path) -> Result<()> {
        let folder = self.workspace().join(package);
        if folder.is_symlink() {
            fs::remove_file(&folder)?;
        } else {
            fs::remove_dir_all(&folder)?;
        }
        copy(&root().join(package), &folder)?;
        copy(&from.join("src"), &folder.join("src"))?;
        Ok(())
    }

    /// Builds these packages. Their programs are in a folder of this name afterwards.
    ///
    /// # Errors
    /// If one does not build.
    pub fn build(&self, packages: &[String], name: &str) -> Result<PathBuf> {
        let mut cargo = programs::cargo();
        // An example, so that dev-dependencies count, as they did for what is compiled already.
        cargo.args(["build", "--workspace", "--locked", "--offline", "--example", "actix"]);
        cargo.args(packages.iter().flat_map(|package| ["--bin", package]));
        cargo.args(if self.profile == "release" { &["--release"][..] } else { &[] });
        cargo.current_dir(self.workspace()).env("CARGO_TARGET_DIR", self.target());
        let output = cargo.output()?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let to = self.folder.path().join(name);
        fs::create_dir_all(&to)?;
        for program in packages {
            fs::rename(self.target().join(self.profile).join(program), to.join(program))?;
        }
        Ok(to)
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to, meta) = (entry.path(), to.join(entry.file_name()), entry.metadata()?);
        if meta.is_dir() {
            link(&from, &to)?;
        } else if meta.is_file() && meta.len() >= LARGE {
            fs::hard_link(from, to)?;
        } else if meta.is_file() {
            fs::copy(from, &to)?;
            File::options().append(true).open(&to)?.set_modified(meta.modified()?)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
