//! `cargo xtask drift`, and the test that holds what it checks: a step changes only what it teaches, a lesson is short
//! enough to be read at once, no file is long, and no modules need each other in a circle.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Value};

use crate::circles;
use crate::step::{Change, Kind, changes};

/// The lines of a lesson, which is a new file, at most.
const LESSON: usize = 150;
/// The lines of any file without its tests, at most.
const FILE: usize = 300;
/// The lines that a step changes in the previous one's files, at most.
const CHANGED: usize = 40;

/// What a step may do to the previous one's files. Names are those of files in `src`, or paths in the step's folder.
struct Allowed {
    step: u8,
    new: &'static [&'static str],
    differs: &'static [&'static str],
    gone: &'static [&'static str],
    /// Why it may change more lines, or have longer files, than others.
    longer: Option<&'static str>,
}

/// A file that is not named here is the same, byte for byte, as in the step before; but for `main.rs` and `Cargo.toml`,
/// which may always differ, and README.md, which is not looked at.
const STEPS: [Allowed; 11] = [
    Allowed { step: 1, new: &["guards.rs", "health.rs"], ..NOTHING },
    Allowed { step: 2, new: &["jsonrpc.rs", "methods.rs", "lifecycle.rs", "era.rs"], ..NOTHING },
    Allowed { step: 3, new: &["tools.rs", "prompts.rs"], ..NOTHING },
    Allowed { step: 4, differs: &["tools.rs", "prompts.rs"], longer: Some("the change is the lesson"), ..NOTHING },
    Allowed { step: 5, new: &["jwks.rs"], ..NOTHING },
    Allowed { step: 6, new: &["bearer.rs", "verify.rs", "auth.rs"], differs: &["jsonrpc.rs"], ..NOTHING },
    Allowed { step: 7, new: &["metadata.rs"], differs: &["bearer.rs", "health.rs", "methods.rs"], ..NOTHING },
    Allowed { step: 8, new: &["permissions.rs"], differs: &["jsonrpc.rs", "methods.rs", "tools.rs"], ..NOTHING },
    Allowed {
        step: 9,
        new: &["caller.rs", "notes.rs", "migrations/0001_notes.sql", "user_tools.rs", "token_cache.rs"],
        differs: &["auth.rs", "methods.rs", "prompts.rs"],
        ..NOTHING
    },
    Allowed {
        step: 10,
        new: &["documents.rs", "issuers.rs", "doctor.rs"],
        differs: &["auth.rs", "health.rs", "permissions.rs"],
        gone: &["bearer.rs", "jwks.rs", "metadata.rs", "token_cache.rs", "verify.rs"],
        longer: Some("the lesson is the library, and what differs is its use"),
    },
    Allowed {
        step: 12,
        new: &["keys.rs", "migrations/postgres/0001_notes.sql", "well_known.rs"],
        differs: &["documents.rs", "health.rs", "methods.rs", "notes.rs", "user_tools.rs"],
        longer: Some("what SQLite alone did is said once more, for either database"),
        ..NOTHING
    },
];

const NOTHING: Allowed = Allowed { step: 0, new: &[], differs: &[], gone: &[], longer: None };

impl Allowed {
    fn allows(&self, Change { path, kind, .. }: &Change) -> bool {
        let named = |names: &[&str]| names.contains(&path.strip_prefix("src/").unwrap_or(path));
        match kind {
            Kind::New => named(self.new) || (self.step == 1 && is_wiring(path)),
            Kind::Differs => is_wiring(path) || named(self.differs),
            Kind::Gone => named(self.gone),
        }
    }

    /// What is wrong with the step, a sentence each.
    fn faults(&self, changes: &[Change]) -> Vec<String> {
        let fault = |Change { path, kind, .. }: &Change| {
            let what = match kind {
                Kind::New => "is new",
                Kind::Differs => "differs from the previous step's",
                Kind::Gone => "is gone",
            };
            format!("step{}/{path} {what}", self.step)
        };
        let mut faults: Vec<_> = changes.iter().filter(|change| !self.allows(change)).map(fault).collect();
        if self.longer.is_none() {
            for (path, lines) in lessons(changes).filter(|(_, lines)| *lines > LESSON) {
                faults.push(format!("step{}/{path} has {lines} lines to read: {LESSON} at most", self.step));
            }
            let lines = changed(changes);
            if lines > CHANGED {
                faults.push(format!(
                    "step{} changes {lines} lines of files that it has not made: {CHANGED} at most",
                    self.step
                ));
            }
        }
        faults
    }
}

/// The files that put a step together, and are no lesson.
fn is_wiring(path: &str) -> bool {
    matches!(path, "src/main.rs" | "Cargo.toml")
}

/// The new files, and how many lines of each there are to read.
fn lessons(changes: &[Change]) -> impl Iterator<Item = (&str, usize)> {
    let new = changes.iter().filter(|change| change.kind == Kind::New && !is_wiring(&change.path));
    new.map(|change| (change.path.as_str(), to_read(&change.after)))
}

/// The lines of a file that are to be read: not its imports, its tests and what is empty.
fn to_read(text: &str) -> usize {
    let (mut lines, mut in_import) = (0, false);
    for line in without_tests(text).lines() {
        in_import |= line.starts_with("use ") || line.starts_with("pub use ");
        lines += usize::from(!in_import && !line.trim().is_empty());
        in_import &= !line.ends_with(';');
    }
    lines
}

fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod ").map_or(text, |(code, _)| code)
}

/// How many lines a step adds to files of the previous one, and deletes in them.
fn changed(changes: &[Change]) -> usize {
    let old = changes.iter().filter(|change| change.kind == Kind::Differs && !is_wiring(&change.path));
    old.map(Change::lines).map(|(added, deleted)| added + deleted).sum()
}

/// The folders of all packages that are there: the members of the workspace.
fn packages(root: &Path) -> Result<Vec<PathBuf>> {
    let manifest = root.join("Cargo.toml");
    let cannot = || format!("cannot read {}", manifest.display());
    let workspace: DocumentMut = fs::read_to_string(&manifest).with_context(cannot)?.parse().with_context(cannot)?;
    let members = workspace["workspace"]["members"].as_array().with_context(cannot)?;
    let folders = members.iter().filter_map(Value::as_str).map(|member| root.join(member));
    Ok(folders.filter(|folder| folder.join("src").is_dir()).collect())
}

/// The circles of modules in all packages, a sentence each.
fn circles(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in packages(root)? {
        for circle in circles::find(&package.join("src"))? {
            let name = package.strip_prefix(root).unwrap_or(&package).display();
            faults.push(format!("{name}: these modules need each other in a circle: {circle}"));
        }
    }
    Ok(faults)
}

/// The files in a folder, and below, that are too long, a sentence each. Code that is only for tests may be long.
fn long_files(root: &Path, folder: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let cannot = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let other = name.starts_with('.') || ["tests", "target", "mine"].contains(&&*name);
        if path.is_dir() && !other {
            faults.extend(long_files(root, &path)?);
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (name, lines) =
                (path.strip_prefix(root).unwrap_or(&path).display(), without_tests(&text).lines().count());
            if lines > FILE {
                faults.push(format!("{name} has {lines} lines without its tests: {FILE} at most"));
            }
        }
    }
    faults.sort();
    Ok(faults)
}

/// Prints what each step changes; true if none changes what it should not.
pub fn report(root: &Path) -> bool {
    println!("The lines to read in new files; what is changed in others, in lines; and what puts it together.");
    let mut faults = Vec::new();
    for step in &STEPS {
        let changes = match changes(root, step.step) {
            Ok(changes) => changes,
            Err(error) => {
                faults.push(format!("step{}: {error:#}", step.step));
                continue;
            }
        };
        let short = |path: &str| path.trim_start_matches("src/").to_owned();
        let new: Vec<_> = lessons(&changes).map(|(path, lines)| format!("{} {lines}", short(path))).collect();
        let names = |wanted: fn(&Change) -> bool| {
            let wanted = changes.iter().filter(|change| wanted(change));
            wanted
                .map(|change| format!("{} {}", short(&change.path), change.lines().0 + change.lines().1))
                .collect::<Vec<_>>()
        };
        let differ = names(|change| change.kind == Kind::Differs && !is_wiring(&change.path));
        let wiring = names(|change| is_wiring(&change.path));
        let gone: Vec<_> =
            changes.iter().filter(|change| change.kind == Kind::Gone).map(|change| short(&change.path)).collect();
        println!("step{:<2} new: {}", step.step, new.join(", "));
        if !differ.is_empty() {
            println!("       changed: {} ({})", changed(&changes), differ.join(", "));
        }
        if !gone.is_empty() {
            println!("       gone: {}", gone.join(", "));
        }
        println!("       wiring: {}", wiring.join(", "));
        faults.extend(step.faults(&changes));
    }
    for found in [long_files(root, root), circles(root)] {
        faults.extend(found.unwrap_or_else(|error| vec![format!("{error:#}")]));
    }
    for fault in &faults {
        eprintln!("drift: {fault}");
    }
    faults.is_empty()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;
    use crate::{root, step};

    fn faults(root: &Path, step: u8) -> Vec<String> {
        let lesson = STEPS.iter().find(|lesson| lesson.step == step).unwrap();
        changes(root, step).map_or_else(|error| vec![format!("step{step}: {error:#}")], |all| lesson.faults(&all))
    }

    /// A copy of the steps that a test may damage.
    fn copy() -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(root().join("Cargo.toml"), copy.path().join("Cargo.toml")).unwrap();
        for n in step::SERVERS {
            for (path, text) in step::files(root(), n).unwrap() {
                let file = copy.path().join(format!("step{n}/{path}"));
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
        }
        assert!(report(copy.path()));
        copy
    }

    #[test]
    fn each_step_changes_only_what_it_teaches() {
        let faults: Vec<_> = STEPS.iter().flat_map(|lesson| faults(root(), lesson.step)).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn no_modules_need_each_other_in_a_circle() {
        let packages = packages(root()).unwrap();
        for package in ["step1", "crates/oauth", "crates/auth-server/program", "auth-check/gallery"] {
            assert!(packages.iter().any(|found| found.ends_with(package)), "{package} is not in {packages:?}");
        }
        assert_eq!(circles(root()).unwrap(), [""; 0]);
        let copy = copy();
        let file = copy.path().join("step9/src/caller.rs");
        let circle = format!("use crate::auth::Caller;\n{}", fs::read_to_string(&file).unwrap());
        fs::write(&file, circle).unwrap();
        assert_eq!(circles(copy.path()).unwrap(), ["step9: these modules need each other in a circle: auth, caller"]);
        assert!(!report(copy.path()));
    }

    #[test]
    fn no_file_is_too_long_without_its_tests() {
        assert_eq!(long_files(root(), root()).unwrap(), [""; 0]);
        let copy = copy();
        let file = copy.path().join("step9/src/main.rs");
        let text = "// a line\n".repeat(FILE);
        fs::write(&file, format!("{text}#[cfg(test)]\nmod tests {{\n{text}}}\n")).unwrap();
        assert_eq!(long_files(copy.path(), copy.path()).unwrap(), [""; 0]);
        fs::write(&file, format!("{text}#[cfg(test)]\nuse a::b;\n")).unwrap();
        let fault = "step9/src/main.rs has 302 lines without its tests: 300 at most";
        assert_eq!(long_files(copy.path(), copy.path()).unwrap(), [fault]);
        assert!(!report(copy.path()));
    }

    #[test]
    fn a_long_lesson_is_drift_and_so_are_many_changes() {
        let copy = copy();
        let file = copy.path().join("step9/src/notes.rs");
        let text = fs::read_to_string(&file).unwrap();
        let lines = |count: usize| "// one more\n".repeat(count);
        fs::write(&file, format!("{text}{}", lines(LESSON - to_read(&text)))).unwrap();
        assert_eq!(faults(copy.path(), 9), [""; 0]);
        fs::write(&file, format!("{text}{}", lines(LESSON + 1 - to_read(&text)))).unwrap();
        assert_eq!(faults(copy.path(), 9), ["step9/src/notes.rs has 151 lines to read: 150 at most"]);
        let file = copy.path().join("step8/src/methods.rs");
        fs::write(&file, format!("{}{}", fs::read_to_string(&file).unwrap(), lines(CHANGED))).unwrap();
        assert!(faults(copy.path(), 8)[0].starts_with("step8 changes "), "{:?}", faults(copy.path(), 8));
    }

    /// The packages that a package is built with.
    fn dependencies(package: &str) -> Vec<String> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{lib}",
            "--package",
            package,
        ]);
        let tree = cargo.current_dir(root()).output().unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        String::from_utf8(tree.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_steps_before_the_keys_are_built_without_cryptography() {
        let cryptography = ["jsonwebtoken", "rsa", "aws_lc_rs", "aws_lc_sys", "oauth"];
        for step in ["step1", "step2", "step3", "step4"] {
            let dependencies = dependencies(step);
            assert!(dependencies.iter().any(|name| name == "actix_web"), "{dependencies:?}");
            let found: Vec<_> = dependencies.iter().filter(|name| cryptography.contains(&name.as_str())).collect();
            assert!(found.is_empty(), "{step}: {found:?}");
        }
        let dependencies = dependencies("step5");
        assert!(cryptography.iter().all(|name| dependencies.iter().any(|other| other == name)), "{dependencies:?}");
    }

    #[test]
    fn imports_tests_and_empty_lines_are_not_counted() {
        let text = "//! Head\n\nuse a::b;\nuse c::{\n    d,\n    e,\n};\n\nfn f() {\n    g();\n}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(to_read(text), 4);
    }

    #[test]
    fn one_byte_is_drift() {
        let copy = copy();
        let file = copy.path().join("step3/src/jsonrpc.rs");
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(&file, bytes).unwrap();
        let differs = "src/jsonrpc.rs differs from the previous step's";
        assert_eq!(faults(copy.path(), 3), [format!("step3/{differs}")]);
        assert_eq!(faults(copy.path(), 4), [format!("step4/{differs}")]);
        assert!(!report(copy.path()));
    }

    #[test]
    fn a_stray_file_is_drift_and_so_is_a_lost_one() {
        let copy = copy();
        fs::write(copy.path().join("step3/src/stray.rs"), "").unwrap();
        fs::remove_file(copy.path().join("step3/src/health.rs")).unwrap();
        assert_eq!(faults(copy.path(), 3), ["step3/src/health.rs is gone", "step3/src/stray.rs is new"]);
    }

    #[test]
    fn a_missing_step_is_drift() {
        let copy = copy();
        fs::remove_dir_all(copy.path().join("step3")).unwrap();
        assert_eq!(faults(copy.path(), 3), ["step3: there is no step3"]);
    }

    #[test]
    fn manifests_names_and_readmes_may_differ() {
        let copy = copy();
        for name in ["Cargo.toml", "README.md", "src/main.rs"] {
            fs::write(copy.path().join("step3").join(name), "name = \"other\"\n").unwrap();
        }
        assert_eq!(faults(copy.path(), 3), [""; 0]);
    }
}
