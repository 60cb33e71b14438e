//! The source files that the book's pages link to.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

/// How to come from a folder to the workspace's: `../../`.
///
/// # Errors
/// If one of the folders is not there.
pub fn relative(root: &Path, folder: &Path) -> Result<String> {
    let (root, folder) = (root.canonicalize()?, folder.canonicalize()?);
    let common = root.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(root.components().skip(common)).collect();
    Ok(if path.as_os_str().is_empty() { String::new() } else { format!("{}/", path.display()) })
}
