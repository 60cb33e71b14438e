//! `cargo xtask carry FILE`: a fix made in one step, merged into every later one that goes on from it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::step::SERVERS;

/// Merges what was done to `file` since the commit `base` into the same file of each later step. True if every merge
/// was clean; otherwise the files that need a hand have conflict markers. All is checked before anything is written.
pub fn carry(root: &Path, file: &Path, base: &str) -> Result<bool> {
    let (step, path) = locate(root, file)?;
    let source = format!("step{step}/{path}");
    let fixed = root.join(&source);
    let before = show(root, &source, base)?;
    ensure!(fs::read(&fixed)? != before, "{source} is as it was at {base}: there is nothing to carry");

    let later = SERVERS.into_iter().skip_while(|n| *n != step).skip(1);
    let later: Vec<_> = later.take_while(|n| root.join(format!("step{n}")).is_dir()).collect();
    ensure!(!later.is_empty(), "step{step} is the last step: there is nowhere to carry {source}");
    let targets: Vec<_> = later.iter().map(|n| format!("step{n}/{path}")).collect();
    for name in targets.iter().chain([&source]) {
        let text = fs::read(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        let conflict = text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"<<<<<<< "));
        ensure!(!conflict, "{name} has conflict markers: resolve them first");
    }

    let folder = tempfile::tempdir()?;
    let original = folder.path().join("base");
    fs::write(&original, before)?;
    let mut clean = true;
    for name in &targets {
        let ours = root.join(name);
        let merge = git(root)
            .args(["merge-file", "-p", "-L", name, "-L", &format!("{source} at {base}"), "-L", &source])
            .args([&ours, &original, &fixed])
            .output()
            .context("cannot run git")?;
        // The exit code is the number of conflicts, at most 127; beyond that, or a signal, is a failure.
        let conflicts = merge.status.code().filter(|code| *code < 128);
        let Some(conflicts) = conflicts else { bail!("{name}: {}", String::from_utf8_lossy(&merge.stderr).trim()) };
        if fs::read(&ours)? == merge.stdout {
            println!("{name}: has it already");
            continue;
        }
        fs::write(&ours, merge.stdout).with_context(|| format!("cannot write {name}"))?;
        match conflicts {
            0 => println!("{name}: merged"),
            _ => println!("{name}: CONFLICT; look for <<<<<<< ({conflicts}) and resolve"),
        }
        clean &= conflicts == 0;
    }
    Ok(clean)
}

/// The step a file belongs to, and its path in the step's folder. `file` is relative to where the command was run or
/// to the workspace.
fn locate(root: &Path, file: &Path) -> Result<(u8, String)> {
    let here: PathBuf = env::current_dir()?.join(file);
    let file = if here.is_file() { here } else { root.join(file) };
    let full = file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?;
    let name = full.strip_prefix(root.canonicalize()?).ok().and_then(Path::to_str);
    name.and_then(|name| name.strip_prefix("step")?.split_once('/'))
        .and_then(|(step, path)| Some((step.parse().ok()?, path.to_owned())))
        .with_context(|| format!("{} is not a step's file, such as step4/src/tools.rs", file.display()))
}

/// A file as it was at a commit.
fn show(root: &Path, name: &str, commit: &str) -> Result<Vec<u8>> {
    let show = git(root).args(["show", &format!("{commit}:./{name}")]).output().context("cannot run git")?;
    ensure!(show.status.success(), "{}", String::from_utf8_lossy(&show.stderr).trim());
    Ok(show.stdout)
}

/// Git in the given folder, even if a hook of another repository runs this.
fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    git
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const FILE: &str = "step1/src/a.rs";

    /// A repository of steps whose `a.rs` have ten lines, the last of which grows with the step.
    fn repository() -> TempDir {
        let repository = tempfile::tempdir().unwrap();
        let root = repository.path();
        for n in [1, 2, 3, 10, 11] {
            fs::create_dir_all(root.join(format!("step{n}/src"))).unwrap();
            write(root, n, &text("two", &format!("ten of step {n}")));
        }
        let who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        for args in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "--no-verify", "-m", "Start"]] {
            assert!(git(root).args(who).args(args).status().unwrap().success());
        }
        repository
    }

    fn text(second: &str, last: &str) -> String {
        format!("1\n{second}\n3\n4\n5\n6\n7\n8\n9\n{last}\n")
    }

    fn write(root: &Path, n: u8, text: &str) {
        fs::write(root.join(format!("step{n}/src/a.rs")), text).unwrap();
    }

    fn read(root: &Path, n: u8) -> String {
        fs::read_to_string(root.join(format!("step{n}/src/a.rs"))).unwrap()
    }

    #[test]
    fn a_fix_reaches_every_later_step_and_leaves_their_own_lines_alone() {
        let repository = repository();
        let root = repository.path();
        write(root, 1, &text("fixed", "ten of step 1"));
        for _ in 0..2 {
            // The second time, there is nothing left to do.
            assert!(carry(root, Path::new(FILE), "HEAD").unwrap());
            assert_eq!(read(root, 2), text("fixed", "ten of step 2"));
            assert_eq!(read(root, 3), text("fixed", "ten of step 3"));
        }
    }

    #[test]
    fn earlier_steps_are_left_alone() {
        let repository = repository();
        let root = repository.path();
        write(root, 2, &text("fixed", "ten of step 2"));
        assert!(carry(root, Path::new("step2/src/a.rs"), "HEAD").unwrap());
        assert_eq!(read(root, 1), text("two", "ten of step 1"));
        assert_eq!(read(root, 3), text("fixed", "ten of step 3"));
    }

    #[test]
    fn a_conflict_is_marked_and_must_be_resolved_before_the_next_carry() {
        let repository = repository();
        let root = repository.path();
        write(root, 1, &text("fixed", "ten, mended"));
        assert!(!carry(root, Path::new(FILE), "HEAD").unwrap());
        let marked = "<<<<<<< step3/src/a.rs\nten of step 3\n=======\nten, mended\n>>>>>>> step1/src/a.rs";
        assert_eq!(read(root, 3), text("fixed", marked));
        let again = carry(root, Path::new(FILE), "HEAD").unwrap_err();
        assert_eq!(again.to_string(), "step2/src/a.rs has conflict markers: resolve them first");
    }

    #[test]
    fn a_file_that_a_later_step_lacks_is_an_error_and_nothing_is_written() {
        let repository = repository();
        let root = repository.path();
        write(root, 1, &text("fixed", "ten of step 1"));
        fs::remove_file(root.join("step3/src/a.rs")).unwrap();
        let error = carry(root, Path::new(FILE), "HEAD").unwrap_err();
        assert_eq!(error.to_string(), "cannot read step3/src/a.rs");
        assert_eq!(read(root, 2), text("two", "ten of step 2"));
    }

    #[test]
    fn what_cannot_be_carried_is_an_error() {
        let repository = repository();
        let root = repository.path();
        let refusal = |file: &str| carry(root, Path::new(file), "HEAD").unwrap_err().to_string();
        assert!(refusal(FILE).ends_with("there is nothing to carry"));
        assert!(refusal("step1/src/none.rs").starts_with("cannot find"));
        fs::write(root.join("other.rs"), "").unwrap();
        assert!(refusal("other.rs").contains("is not a step's file"));
        fs::write(root.join("step1/src/new.rs"), "").unwrap();
        assert!(refusal("step1/src/new.rs").contains("not in 'HEAD'"));
        write(root, 3, "fixed");
        assert!(refusal("step3/src/a.rs").contains("step3 is the last step"));
        write(root, 10, "fixed");
        assert!(refusal("step10/src/a.rs").contains("step10 is the last step"), "step 11 is another program");
    }
}
