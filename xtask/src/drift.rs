//! `cargo xtask drift`, and the test that holds what it checks: a step changes only what it teaches.

use std::path::Path;

use crate::step::{Change, Kind, changes};

/// What a step may do to the previous one's files. Names are those of files in `src`.
struct Lesson {
    step: u8,
    new: &'static [&'static str],
    differs: &'static [&'static str],
}

/// Every step after the first. A file that is not named here is the same, byte for byte, as in the step before; but
/// for `main.rs` and `Cargo.toml`, which may always differ, and README.md, which is not looked at.
const LESSONS: [Lesson; 9] = [
    Lesson { step: 2, new: &["rpc.rs"], differs: &[] },
    Lesson { step: 3, new: &["tools.rs", "prompts.rs"], differs: &[] },
    Lesson { step: 4, new: &[], differs: &["tools.rs", "prompts.rs"] },
    Lesson { step: 5, new: &["jwks.rs"], differs: &[] },
    Lesson { step: 6, new: &["auth.rs"], differs: &[] },
    Lesson { step: 7, new: &["metadata.rs"], differs: &["health.rs", "rpc.rs", "auth.rs"] },
    Lesson { step: 8, new: &["permissions.rs"], differs: &["rpc.rs", "auth.rs"] },
    Lesson {
        step: 9,
        new: &["user_tools.rs"],
        differs: &["tools.rs", "prompts.rs", "rpc.rs", "auth.rs", "permissions.rs"],
    },
    Lesson {
        step: 10,
        new: &[
            "providers.rs",
            "discovery.rs",
            "jwks_client.rs",
            "fetch.rs",
            "introspection.rs",
            "reasons.rs",
            "doctor.rs",
            "profiles/generic.toml",
            "profiles/keycloak.toml",
            "profiles/auth0.toml",
            "profiles/entra.toml",
            "profiles/okta.toml",
            "profiles/zitadel.toml",
            "profiles/authentik.toml",
            "profiles/logto.toml",
            "profiles/cognito.toml",
            "profiles/keycloak-tutorial.toml",
        ],
        differs: &["auth.rs", "health.rs", "metadata.rs", "permissions.rs"],
    },
];

impl Lesson {
    fn allows(&self, Change { path, kind, .. }: &Change) -> bool {
        let named = |names: &[&str]| path.strip_prefix("src/").is_some_and(|name| names.contains(&name));
        match kind {
            Kind::New => named(self.new),
            Kind::Differs => path == "Cargo.toml" || named(&["main.rs"]) || named(self.differs),
            Kind::Gone => false,
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
        changes.iter().filter(|change| !self.allows(change)).map(fault).collect()
    }
}

/// Prints what each step changes; true if none changes what it should not.
pub fn report(root: &Path) -> bool {
    println!("{:<6} {:<24} {:<70} lines", "", "new", "changed");
    let mut faults = Vec::new();
    for lesson in &LESSONS {
        let changes = match changes(root, lesson.step) {
            Ok(changes) => changes,
            Err(error) => {
                faults.push(format!("step{}: {error:#}", lesson.step));
                continue;
            }
        };
        let names = |kind| {
            let of_kind = changes.iter().filter(|change| change.kind == kind);
            of_kind.map(|change| change.path.trim_start_matches("src/")).collect::<Vec<_>>().join(" ")
        };
        let counts = changes.iter().filter(|change| change.kind != Kind::New).map(Change::lines);
        let (added, deleted) = counts.fold((0, 0), |sum, lines| (sum.0 + lines.0, sum.1 + lines.1));
        let (new, differ) = (names(Kind::New), names(Kind::Differs));
        println!("step{:<2} {new:<24} {differ:<70} {:>3} (+{added} -{deleted})", lesson.step, added + deleted);
        faults.extend(lesson.faults(&changes));
    }
    for fault in &faults {
        eprintln!("drift: {fault}");
    }
    faults.is_empty()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::{root, step};

    fn faults(root: &Path, step: u8) -> Vec<String> {
        let lesson = LESSONS.iter().find(|lesson| lesson.step == step).unwrap();
        changes(root, step).map_or_else(|error| vec![format!("step{step}: {error:#}")], |all| lesson.faults(&all))
    }

    /// A copy of the steps to do harm to.
    fn copy() -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for n in 1..=step::LAST {
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
        let faults: Vec<_> = LESSONS.iter().flat_map(|lesson| faults(root(), lesson.step)).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn one_byte_is_drift() {
        let copy = copy();
        let file = copy.path().join("step3/src/rpc.rs");
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(&file, bytes).unwrap();
        let differs = "src/rpc.rs differs from the previous step's";
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
