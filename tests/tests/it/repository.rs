//! The repository itself: what is ignored, what a script may fetch, and whether the pages' links lead somewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use integration_tests::{gated, readme::root};
use regex::Regex;

/// What git says, line by line; `None` where this is no clone.
fn git(args: &[&str]) -> Result<Option<Vec<String>>> {
    if !root().join(".git").exists() {
        ensure!(!cfg!(ci), "this is no clone");
        return Ok(None);
    }
    let output = Command::new("git").args(args).current_dir(root()).output()?;
    ensure!(output.status.code() < Some(2), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect()))
}

/// The tracked files that are text.
fn files() -> Result<Option<Vec<(PathBuf, String)>>> {
    let Some(paths) = git(&["ls-files"])? else { return Ok(None) };
    let text = |path: String| fs::read_to_string(root().join(&path)).ok().map(|text| (path.into(), text));
    Ok(Some(paths.into_iter().filter_map(text).collect()))
}

#[test]
fn what_servers_leave_behind_is_ignored_wherever_they_were_started() -> Result<()> {
    let left = [
        "keys/mcp_private_key.pem",
        "step6/keys/mcp_private_key.pem",
        "data/notes.db",
        "step9/data/auth.db-wal",
        "step6/other/mcp_private_key.pem",
        "target/debug/step6",
        "tests/interop/go/target/x",
        "mine/step6/src/verify.rs",
    ];
    let Some(ignored) = git(&[&["check-ignore"][..], &left].concat())? else { return Ok(()) };
    assert_eq!(ignored, left);
    let tracked = git(&["ls-files", "--cached", "--ignored", "--exclude-standard"])?;
    assert_eq!(tracked, Some(vec![]), "tracked, and ignored too");
    Ok(())
}

/// Each registry's own client knows the registry's address, and the mirrors and proxies of the person who runs it.
#[test]
fn no_file_has_a_registrys_download_address() -> Result<()> {
    let hosts = ["repo1?[.]maven", "registry[.]npmjs", "pypi[.]org", "pythonhosted", "proxy[.]golang", "sum[.]golang"];
    let hosts =
        [&hosts[..], &["(static|index)[.]crates", "static[.]rust-lang", "deb[.]debian", "\"resolved\":"]].concat();
    let address = Regex::new(&hosts.join("|"))?;
    let Some(files) = files()? else { return Ok(()) };
    assert!(files.len() > 200, "{} files", files.len());
    for (path, text) in files.iter().filter(|(path, _)| !path.ends_with("tests/tests/it/repository.rs")) {
        let found = text.lines().find(|line| address.is_match(line));
        assert_eq!(found, None, "{}", path.display());
    }
    Ok(())
}

/// The places in a page that a link can lead to: its headings, as GitHub names them.
fn headings(page: &str) -> Vec<String> {
    let mut inside = false;
    let lines = page.lines().filter(|line| {
        inside ^= line.starts_with("```");
        !inside && line.starts_with('#')
    });
    let name = |c: char| match c {
        ' ' => Some('-'),
        _ => Some(c.to_ascii_lowercase()).filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)),
    };
    lines.map(|line| line.trim_start_matches('#').trim().chars().filter_map(name).collect()).collect()
}

#[test]
fn the_links_in_the_pages_lead_somewhere() -> Result<()> {
    let link = Regex::new(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)")?;
    let Some(files) = files()? else { return Ok(()) };
    let (mut count, mut anchors) = (0, 0);
    // Those of the book are checked where it is put together.
    let pages = files.iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "md"));
    for (path, text) in pages.filter(|(path, _)| !path.starts_with("book/src")) {
        for found in link.captures_iter(text) {
            let there = root().join(path.parent().unwrap_or(Path::new(""))).join(&found[1]);
            let to = if found[1].is_empty() { root().join(path) } else { there };
            assert!(to.exists(), "{}: {} is not there", path.display(), &found[1]);
            count += 1;
            if let Some(anchor) = found.get(2) {
                let named = headings(&fs::read_to_string(&to)?).iter().any(|name| name == anchor.as_str());
                assert!(named, "{}: {} has no heading {}", path.display(), to.display(), anchor.as_str());
                anchors += 1;
            }
        }
    }
    assert!(count > 50 && anchors > 0, "{count} links, {anchors} to headings");
    Ok(())
}

#[test]
fn every_package_is_under_the_two_licences_that_are_here() -> Result<()> {
    for (file, says) in
        [("LICENSE-MIT", "Copyright (c) 2026 the authors"), ("LICENSE-APACHE", "Version 2.0, January 2004")]
    {
        let text = fs::read_to_string(root().join(file))?;
        assert!(text.contains(says), "{file}");
    }
    assert!(fs::read_to_string(root().join("Cargo.toml"))?.contains("license = \"MIT OR Apache-2.0\""));
    let Some(files) = files()? else { return Ok(()) };
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with("Cargo.toml") && path.components().count() > 1) {
        assert!(text.contains("license.workspace = true"), "{}", path.display());
    }
    Ok(())
}

#[test]
fn the_tests_that_run_in_ci_only_are_listed_beside_the_command() -> Result<()> {
    let (table, readme) = (gated::table()?, fs::read_to_string(root().join("README.md"))?);
    assert!(readme.contains(&format!("\n\n{table}\n")), "README.md should have this table:\n{table}");
    Ok(())
}
