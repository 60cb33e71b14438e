//! `cargo xtask eject N DIR`: a step as a workspace of its own, with those packages of this one that it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, TableLike};

use crate::cargo;

/// The files that the new workspace gets from this one's folder.
const FILES: [&str; 6] =
    [".gitignore", "Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT", "rust-toolchain.toml", "rustfmt.toml"];

/// Writes step `n`, and what it depends on, to `target`, which is empty or not there yet. The packages' folders, whose names
/// are returned, are where they are here, so that their manifests need no change.
pub fn eject(root: &Path, n: u8, target: &Path) -> Result<Vec<String>> {
    let packages = packages(root)?;
    let step = format!("step{n}");
    ensure!(packages.contains_key(&step), "there is no step{n}");
    let needed = closure(&packages, step);
    prepare(root, target)?;

    for name in FILES {
        fs::copy(root.join(name), target.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    for folder in &needed {
        copy(&root.join(folder), &target.join(folder), true).with_context(|| format!("cannot copy {folder}"))?;
    }
    let mut manifest: DocumentMut = read(&root.join("Cargo.toml"))?.parse()?;
    manifest["workspace"]["members"] = Item::Value(needed.iter().collect::<Array>().into());
    let inherited = inherited(target, &needed)?;
    retain(&mut manifest["workspace"]["dependencies"], |name| inherited.contains(name));
    let write = |manifest: &DocumentMut| fs::write(target.join("Cargo.toml"), manifest.to_string());
    write(&manifest)?;

    prune(target, &mut manifest)?;
    write(&manifest)?;
    Ok(needed.into_iter().collect())
}

/// Removes packages that the new workspace does not need from its Cargo.lock, and then from the manifest's profiles.
/// The others keep their locked versions.
pub fn prune(target: &Path, manifest: &mut DocumentMut) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["update", "--workspace", "--offline", "--quiet"]).current_dir(target);
    ensure!(cargo.status().context("cannot run cargo")?.success(), "Cargo.lock cannot be written");
    let lock = read(&target.join("Cargo.lock"))?;
    retain(&mut manifest["profile"]["dev"]["package"], |name| lock.contains(&format!("\nname = \"{name}\"\n")));
    Ok(())
}

/// This workspace's packages by their folders, with the folders of those that they depend on.
fn packages(root: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let root = root.canonicalize()?;
    let mut cargo = cargo();
    let output = cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&root).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let folder = |path: &Value| Some(Path::new(path.as_str()?).strip_prefix(&root).ok()?.to_str()?.to_owned());
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?.iter();
    let package = |package: &Value| {
        let manifest = folder(&package["manifest_path"])?;
        let dependencies = package["dependencies"].as_array()?.iter().filter_map(|it| folder(&it["path"]));
        Some((manifest.strip_suffix("/Cargo.toml")?.to_owned(), dependencies.collect()))
    };
    packages.map(|it| package(it).context("cargo metadata has an unknown form")).collect()
}

/// A package and all that it depends on, by their folders.
fn closure(packages: &BTreeMap<String, Vec<String>>, package: String) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let mut next = vec![package];
    while let Some(package) = next.pop() {
        next.extend(packages.get(&package).into_iter().flatten().filter(|it| !needed.contains(*it)).cloned());
        needed.insert(package);
    }
    needed
}

/// Makes the folder, which must not be part of this workspace.
fn prepare(root: &Path, target: &Path) -> Result<()> {
    let shown = target.display();
    fs::create_dir_all(target).with_context(|| format!("cannot make the folder {shown}"))?;
    let inside = target.canonicalize()?.starts_with(root.canonicalize()?);
    let empty = fs::read_dir(target)?.next().is_none();
    if inside && empty {
        fs::remove_dir(target)?;
    }
    ensure!(!inside, "{shown} is in this workspace: choose a folder outside");
    ensure!(empty, "{shown} is not empty: choose another folder");
    Ok(())
}

/// Copies a package's folder, without hidden files and without what a run from inside leaves there.
pub fn copy(from: &Path, to: &Path, is_package: bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let left = is_package && ["target", "keys", "data"].iter().any(|left| name == *left);
        if left || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(name), false)?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// The dependencies whose versions these packages have from their workspace.
pub fn inherited(root: &Path, packages: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    fn collect(table: &dyn TableLike, of_dependencies: bool, found: &mut BTreeSet<String>) {
        for (name, item) in table.iter() {
            let Some(table) = item.as_table_like() else { continue };
            if of_dependencies && table.contains_key("workspace") {
                found.insert(name.to_owned());
            }
            collect(table, name.ends_with("dependencies"), found);
        }
    }
    let mut found = BTreeSet::new();
    for package in packages {
        let manifest: DocumentMut = read(&root.join(package).join("Cargo.toml"))?.parse()?;
        collect(manifest.as_table(), false, &mut found);
    }
    Ok(found)
}

/// Removes the other members from a table of a manifest.
pub fn retain(item: &mut Item, keep: impl Fn(&str) -> bool) {
    let Some(table) = item.as_table_like_mut() else { return };
    let others: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).filter(|name| !keep(name)).collect();
    for name in others {
        table.remove(&name);
    }
}

pub fn read(file: &PathBuf) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
