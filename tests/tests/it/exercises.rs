//! What a learner does: `cargo xtask start`, `check` and `solution`, lesson by lesson, and the open tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use auth_check::checks;
use integration_tests::{each, programs, readme::root, text, workshop::Workshop};
use regex::Regex;
use tempfile::TempDir;

/// Lessons without code of a step: `gen-token` signs (read only), and what is done by hand.
const NO_STUBS: [&str; 2] = ["5.2", "7.3"];

struct Lesson {
    id: String,
    step: u8,
    stubs: usize,
}

/// The lessons 1.1 to 9.5.
fn lessons() -> Result<Vec<Lesson>> {
    let text = fs::read_to_string(root().join("book/lessons.toml"))?;
    let lesson = Regex::new(r#"(?s)id = "([1-9]\.\d)".*?step = (\d+).*?stubs = \[(.*?)\]"#)?;
    let lessons = lesson
        .captures_iter(&text)
        .map(|it| Ok(Lesson { id: it[1].to_owned(), step: it[2].parse()?, stubs: it[3].matches('"').count() / 2 }));
    let lessons: Vec<Lesson> = lessons.collect::<Result<_>>()?;
    ensure!(lessons.len() == 24, "{} lessons", lessons.len());
    Ok(lessons)
}

/// A folder in which learners' steps may be.
fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir_in(programs::folder()?.parent().context("no target folder")?)?)
}

fn xtask(args: &[&str], mine: &Path) -> Result<Output> {
    let mut xtask = programs::xtask()?;
    xtask.args(args).arg("--dir").arg(mine).env("TEST_PROGRAMS", programs::folder()?);
    Ok(xtask.current_dir(root()).output()?)
}

fn start(step: u8, mine: &Path, more: &[&str]) -> Result<()> {
    let output = xtask(&[&["start", &step.to_string()][..], more].concat(), mine)?;
    ensure!(output.status.success(), "start {step}: {}", text(&output));
    Ok(())
}

/// What a script said of each lesson: the checks that passed, and those that failed.
struct Verdicts {
    lessons: BTreeMap<String, (usize, usize)>,
    code: Option<i32>,
    text: String,
}

impl Verdicts {
    fn passes(&self, lesson: &str) -> bool {
        self.lessons.get(lesson).is_some_and(|(passed, failed)| *passed > 0 && *failed == 0)
    }

    fn fails(&self, lesson: &str) -> bool {
        self.lessons.get(lesson).is_some_and(|(_, failed)| *failed > 0)
    }

    fn all_pass(&self) -> bool {
        self.code == Some(0) && !self.lessons.is_empty() && self.lessons.keys().all(|lesson| self.passes(lesson))
    }
}

/// Judges a program with a script. `to_do`: the lessons that it leaves out, if it was made for that.
fn judge(script: &[&str], program: &Path, to_do: &[&str]) -> Result<Verdicts> {
    let mut bash = Command::new("bash");
    bash.arg(root().join("tests").join(script[0])).args(&script[1..]).arg("--program").arg(program);
    // The task of 5.2 changes gen-token, too.
    let beside = program.parent().filter(|folder| folder.join("gen-token").exists()).map(Path::to_owned);
    bash.env("TEST_PROGRAMS", beside.map_or_else(programs::folder, Ok)?).env("LESSONS_TO_DO", to_do.join(" "));
    let output = bash.output()?;
    let (text, verdicts) = (text(&output), String::from_utf8_lossy(&output.stdout));
    ensure!(verdicts.trim_end().ends_with(" failed"), "{script:?} did not come to its end: {text}");
    let line = Regex::new(r"(?m)^(ok|FAIL) - (\S+) ")?;
    let mut lessons = BTreeMap::<_, (usize, usize)>::new();
    for found in line.captures_iter(&text) {
        let (passed, failed) = lessons.entry(found[2].to_owned()).or_default();
        if &found[1] == "ok" { *passed += 1 } else { *failed += 1 }
    }
    Ok(Verdicts { lessons, code: output.status.code(), text })
}

fn script(step: u8) -> String {
    format!("test_step{step}.sh")
}

fn package(step: u8) -> String {
    format!("step{step}")
}

/// Does something for each, several at a time: the scripts mostly wait.
fn for_each<T: Sync>(items: &[T], what: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let failures: Vec<_> = each(4, items, what).into_iter().map(|(_, error)| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

fn git_status() -> Result<String> {
    Ok(text(&Command::new("git").args(["status", "--porcelain"]).current_dir(root()).output()?))
}

#[test]
fn a_step_is_written_without_its_lessons_and_is_never_written_over() -> Result<()> {
    let folder = folder()?;
    let mine = folder.path();
    let (lock, status) = (fs::read(root().join("Cargo.lock"))?, git_status()?);
    let todo_of = Regex::new(r#"(?m)^ +todo!\("lesson (\S+): [^"]+"\)\n"#)?;
    for step in 1..=9 {
        start(step, mine, &[])?;
        let (mut todo, mut differ) = (BTreeMap::<String, usize>::new(), 0);
        for file in fs::read_dir(root().join(format!("step{step}/src")))? {
            let ours = file?.path();
            let name = ours.file_name().context("a file without a name")?;
            let (ours, theirs) =
                (fs::read_to_string(&ours)?, fs::read_to_string(mine.join(format!("step{step}/src")).join(name))?);
            differ += usize::from(ours != theirs);
            assert!(!ours.contains("todo!("), "step {step}: {}", name.display());
            for found in todo_of.captures_iter(&theirs) {
                *todo.entry(found[1].to_owned()).or_default() += 1;
            }
        }
        let lessons = lessons()?.into_iter().filter(|lesson| lesson.step == step && lesson.stubs > 0);
        assert_eq!(todo, lessons.map(|lesson| (lesson.id, lesson.stubs)).collect(), "step {step}");
        assert!((1..=todo.values().sum()).contains(&differ), "step {step}: {differ} files differ");
    }
    for Lesson { id, stubs, .. } in lessons()? {
        assert_eq!(stubs == 0, NO_STUBS.contains(&id.as_str()), "lesson {id} has {stubs} functions to write");
    }

    // Fails if anything in the manifests is missing or wrong, or if cargo would have to fetch something.
    let mut tree = programs::cargo();
    let output =
        tree.args(["tree", "--locked", "--offline", "--workspace", "--depth", "1"]).current_dir(mine).output()?;
    let said = text(&output);
    assert!(output.status.success() && said.contains("\nstep9 ") && !said.contains("warning"), "{said}");

    let work = mine.join("step6/src/verify.rs");
    fs::write(&work, "my work")?;
    let manifest = mine.join("Cargo.toml");
    let edited =
        fs::read_to_string(&manifest)?.replace("[workspace.dependencies]", "[workspace.dependencies]\nmy = \"1\"");
    fs::write(&manifest, edited)?;
    let output = xtask(&["start", "6"], mine)?;
    assert!(
        !output.status.success() && text(&output).contains("is there already, and stays as it is"),
        "{}",
        text(&output)
    );
    assert_eq!(fs::read_to_string(&work)?, "my work");
    fs::remove_dir_all(mine.join("step1"))?;
    start(1, mine, &[])?;
    let manifest = fs::read_to_string(&manifest)?;
    assert!(manifest.contains("\nmy = \"1\"") && manifest.contains("\"step1\", \"step2\""), "{manifest}");

    assert_eq!(fs::read(root().join("Cargo.lock"))?, lock);
    assert_eq!(git_status()?, status);
    Ok(())
}

#[test]
fn what_cannot_be_started_checked_or_shown_is_said() -> Result<()> {
    let folder = folder()?;
    for (args, code, says) in [
        (&["start", "0"][..], 2, "0 is not in 1.."),
        (&["start", "10"], 1, "no lesson leaves a function of step 10 to you"),
        (&["start", "12"], 1, "no lesson leaves a function of step 12 to you"),
        (&["check"], 1, "you have no step yet. Begin with one: cargo xtask start 1"),
        (&["check", "3"], 1, "/step3. Begin with it: cargo xtask start 3"),
        (&["check", "--task", "3.9"], 1, "there is no lesson 3.9"),
        (&["check", "--task", "3.1", "--only", "3"], 2, "cannot be used with"),
        (&["solution", "3"], 1, "/step3. Begin with it: cargo xtask start 3"),
        (&["solution", "--task", "3.9"], 1, "there is no task of a lesson 3.9"),
    ] {
        let output = xtask(args, folder.path())?;
        assert!(output.status.code() == Some(code) && text(&output).contains(says), "{args:?}: {}", text(&output));
    }
    assert_eq!(fs::read_dir(folder.path())?.count(), 0);
    Ok(())
}

#[test]
fn whatever_auth_check_finds_in_a_step_has_a_lesson() -> Result<()> {
    let text = fs::read_to_string(root().join("book/lessons.toml"))?;
    let list = Regex::new(r"(?m)^checks = \[(.*)\]$")?;
    let name = Regex::new(r#""([^"]+)""#)?;
    let lists = list.captures_iter(&text).map(|list| list.get(1).map_or("", |list| list.as_str()));
    let named: Vec<&str> = lists.flat_map(|list| name.captures_iter(list)).map(|one| one.extract::<1>().1[0]).collect();
    let unique: BTreeSet<&str> = named.iter().copied().collect();
    assert_eq!(named.len(), unique.len(), "a check has two lessons: {named:?}");
    // The steps offer no DPoP.
    let run = checks::all().filter(|check| check.prefix() != "DPOP");
    let without: Vec<_> = run.filter(|it| !unique.contains(it.id) && !unique.contains(it.prefix())).collect();
    assert!(without.is_empty(), "no lesson in book/lessons.toml teaches {without:?}");
    let known: BTreeSet<&str> = checks::all().flat_map(|check| [check.id, check.prefix()]).collect();
    assert_eq!(unique.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "these are no checks");
    Ok(())
}

#[test]
fn a_learner_finishes_a_step() -> Result<()> {
    let (folder, workshop) = (folder()?, Workshop::new()?);
    let mine = folder.path();
    start(6, mine, &[])?;
    workshop.put("step6", &mine.join("step6"))?;
    let todo = judge(&[&script(6)], &workshop.build(&[package(6)], "todo")?.join("step6"), &[])?;
    for lesson in ["6.1", "6.2", "6.3"] {
        assert!(todo.fails(lesson), "{lesson}: {}", todo.text);
    }
    assert!(todo.passes("1.1") && todo.passes("1.2") && todo.passes("5.1"), "{}", todo.text);

    let differences = text(&xtask(&["solution", "6"], mine)?);
    assert!(
        differences.contains("-        todo!(\"lesson 6.2: what makes a token good\")\n+        if token.len()"),
        "{differences}"
    );
    for file in ["auth.rs", "bearer.rs", "verify.rs"] {
        fs::copy(root().join("step6/src").join(file), mine.join("step6/src").join(file))?;
    }
    assert!(text(&xtask(&["solution"], mine)?).ends_with("/step6 is the same as step6.\n"));
    workshop.put("step6", &mine.join("step6"))?;
    let done = judge(&[&script(6)], &workshop.build(&[package(6)], "done")?.join("step6"), &[])?;
    assert!(done.all_pass(), "{}", done.text);
    Ok(())
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn each_lesson_can_be_done_by_itself_and_is_judged_by_its_own_checks() -> Result<()> {
    let (all, folder, workshop) = (lessons()?, folder()?, Workshop::new()?);
    let steps: Vec<u8> = (1..=9).collect();
    let packages: Vec<String> = steps.iter().map(|step| package(*step)).collect();
    let mut built = BTreeMap::new();
    for (name, more) in [("todo", &[][..]), ("switch", &["--at-run-time"])] {
        let mine = folder.path().join(name);
        for step in &steps {
            start(*step, &mine, more)?;
            workshop.put(&package(*step), &mine.join(package(*step)))?;
        }
        built.insert(name, workshop.build(&packages, name)?);
    }

    for_each(&steps, |step| {
        let (script, program) = (script(*step), package(*step));
        let of_step: Vec<&Lesson> = all.iter().filter(|lesson| lesson.step == *step).collect();
        let complete = judge(&[&script], &built["switch"].join(&program), &[])?;
        assert!(complete.all_pass(), "step {step}: {}", complete.text);
        let todo = judge(&[&script], &built["todo"].join(&program), &[])?;
        assert!(complete.lessons.keys().eq(todo.lessons.keys()), "step {step}: {}", todo.text);
        for lesson in of_step.iter().filter(|lesson| lesson.stubs > 0) {
            assert!(todo.fails(&lesson.id), "lesson {} is to do: {}", lesson.id, todo.text);
        }
        for (position, lesson) in of_step.iter().enumerate() {
            let id = &*lesson.id;
            // 7.3 is done by hand.
            assert_eq!(complete.lessons.contains_key(id), id != "7.3", "lesson {id}");
            if complete.lessons.contains_key(id) {
                let later: Vec<&str> = of_step[position + 1..].iter().map(|lesson| &*lesson.id).collect();
                let done = judge(&[&script, "--only", id], &built["switch"].join(&program), &later)?;
                assert!(done.all_pass(), "lesson {id} is done, {later:?} are not: {}", done.text);
            }
            if lesson.stubs > 0 {
                let left_out = judge(&[&script, "--only", &step.to_string()], &built["switch"].join(&program), &[id])?;
                assert!(left_out.fails(id), "lesson {id} is left out: {}", left_out.text);
            }
            if lesson.stubs > 0 && *step > 1 {
                let earlier = judge(&[&script, "--only", "1"], &built["switch"].join(&program), &[id])?;
                assert!(earlier.all_pass(), "lesson {id} is left out: {}", earlier.text);
            }
        }
        Ok(())
    })
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn each_open_task_has_a_solution_that_its_own_checks_tell_from_the_step() -> Result<()> {
    let (all, workshop) = (lessons()?, Workshop::new()?);
    let tasks = root().join("book/tasks");
    let steps: BTreeSet<u8> = all.iter().map(|lesson| lesson.step).collect();
    let steps: Vec<u8> = steps.into_iter().collect();
    let apply = |args: &[&str], patch: &str, folder: &Path| -> Result<()> {
        let mut git = Command::new("git");
        git.arg("apply").args(args).arg(tasks.join(patch)).current_dir(folder);
        // Not as part of the repository around it.
        git.env("GIT_CEILING_DIRECTORIES", folder.parent().context("no parent")?);
        let output = git.output()?;
        ensure!(output.status.success(), "{patch}: {}", text(&output));
        Ok(())
    };
    let packages: Vec<String> = steps.iter().map(|step| package(*step)).chain(["gen-token".to_owned()]).collect();
    for package in &packages {
        workshop.put(package, &root().join(package))?;
    }
    for lesson in &all {
        apply(&["--check"], &format!("{}.patch", lesson.id), &root())?;
        apply(&[], &format!("{}.patch", lesson.id), &workshop.workspace()).context("with those of earlier lessons")?;
    }
    let solved = workshop.build(&packages, "solved")?;
    for_each(&all, |Lesson { id, step, .. }| {
        let program = package(*step);
        let done = judge(&["test_task.sh", id], &solved.join(&program), &[])?;
        assert!(done.all_pass(), "task {id}: {}", done.text);
        let open = judge(&["test_task.sh", id], &programs::folder()?.join(&program), &[])?;
        assert!(open.code == Some(1) && open.fails(id), "task {id} is not done: {}", open.text);
        Ok(())
    })?;
    for_each(&steps, |step| {
        let kept = judge(&[&script(*step)], &solved.join(package(*step)), &[])?;
        assert!(kept.all_pass(), "step {step} with its tasks: {}", kept.text);
        Ok(())
    })
}

#[test]
#[cfg_attr(not(ci), ignore = "needs more than a minute")]
fn a_step_is_checked_as_a_learner_does_and_our_programs_stay() -> Result<()> {
    let folder = folder()?;
    let mine = folder.path();
    let ours = || -> Result<_> {
        let program = fs::metadata(programs::folder()?.join("step6"))?;
        Ok((program.modified()?, program.len(), fs::read(root().join("Cargo.lock"))?, git_status()?))
    };
    let before = ours()?;
    let check = |args: &[&str], code: i32, says: &[&str]| -> Result<()> {
        let output = xtask(&[&["check"][..], args].concat(), mine)?;
        let said = text(&output);
        let is_said = says.iter().all(|one| said.contains(one)) && !said.contains("warning");
        assert!(output.status.code() == Some(code) && is_said, "{args:?}: {said}");
        Ok(())
    };
    start(6, mine, &[])?;
    let chapter = "\nRead again:\n  6.2  What makes a token good: book/src/6.2-verify.md\n";
    check(&["--only", "6.2"], 1, &[chapter])?;
    for file in ["auth.rs", "bearer.rs", "verify.rs"] {
        fs::copy(root().join("step6/src").join(file), mine.join("step6/src").join(file))?;
    }
    // Ours lacks these, too.
    let later = ["\nlater - 7.1 CHAL-04 ", "\nlater - 7.1 PRM-01 ", "\nlater - 8.1 CHAL-06 ", "auth-check: 3 of "];
    check(&["6"], 0, &[&[" passed, 0 failed\n"][..], &later].concat())?;
    let verify = mine.join("step6/src/verify.rs");
    let good = fs::read_to_string(&verify)?;
    for (right, wrong, says) in [
        (
            "validation.set_audience(&[audience]);",
            "let _ = audience;\n        validation.validate_aud = false;",
            ["\nFAIL - 6.2 TOK-09 A token for another server is refused.\n       Accepted: ", chapter],
        ),
        // The script does not see this one.
        ("if claims.cnf.is_some()", "if false", ["\nFAIL - 6.2 TOK-21 ", " passed, 0 failed\n"]),
    ] {
        assert!(good.contains(right), "{right}");
        fs::write(&verify, good.replace(right, wrong))?;
        check(&["6"], 1, &[&says[..], &later[..3]].concat())?;
    }
    fs::write(&verify, good)?;
    check(&["--task", "6.2"], 1, &["\nFAIL - 6.2 "])?;
    let patch = xtask(&["solution", "--task", "6.2"], mine)?.stdout;
    fs::write(mine.join("patch"), patch)?;
    let mut git = Command::new("git");
    git.args(["apply", "patch"]).current_dir(mine).env("GIT_CEILING_DIRECTORIES", mine.parent().context("no parent")?);
    assert!(git.status()?.success());
    check(&["--task", "6.2"], 0, &[" passed, 0 failed\n"])?;
    assert!(before == ours()?);
    Ok(())
}
