//! The project's own commands, for those who read the steps and for those who maintain them: `cargo xtask --help`.

mod book;
mod carry;
mod check;
mod circles;
mod diff;
mod drift;
mod eject;
mod findings;
mod item;
mod lessons;
mod start;
mod step;
#[path = "../../tests/src/unset.rs"]
mod unset;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use self::unset::unset;

/// Commands for reading and maintaining the steps.
///
/// Every step is the previous one plus one capability, in a folder of its own. A file that a step has no reason to
/// change is the same, byte for byte, as in the step before.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "\
To read:      cargo xtask book --open              the book, in a browser
              cargo xtask diff 6                   what does JWT validation cost?
To build it:  cargo xtask start 6                  step 6 without its lessons, in mine/step6
              (edit)                               write what is todo!, with the chapter open
              cargo xtask check --only 6.2         is your lesson 6.2 right?
              cargo xtask solution 6               how yours differs from ours
To take away: cargo xtask eject 6 ../my-server     step 6 as a workspace of its own
To maintain:  edit step4/src/tools.rs, then
              cargo xtask carry step4/src/tools.rs the same fix in step5, step6, …
              cargo xtask drift                    do the steps still differ only where they should?
              cargo xtask ci                       everything that must pass"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the book, in target/book
    ///
    /// Puts the code that the pages name into them, adds what is generated, checks all links, and runs mdBook, which is
    /// installed into target/tools first if it is not there. A lesson's reading time counts 200 words or 20 lines of code a
    /// minute.
    Book {
        /// Serve it, show it in a browser, and stay until Ctrl-C
        #[arg(long)]
        open: bool,
        /// Only write the pages, complete, as Markdown into this folder; this needs no mdBook
        #[arg(long, value_name = "DIR", conflicts_with = "open")]
        markdown: Option<PathBuf>,
    },
    /// Show what a step adds to the one before it
    ///
    /// First the new files, then a unified diff of those that changed. README.md and the package's name are left
    /// out, since they differ in every step. In colour on a terminal, unless NO_COLOR is set.
    Diff {
        /// The step's number
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        step: u8,
        /// Show the text of new files too, not just their names
        #[arg(long)]
        full: bool,
    },
    /// Write a step to mine/stepN, with the functions of its lessons left to you
    ///
    /// The folder mine is a workspace of its own, which is not part of this one and is ignored by git: step N, in which each function
    /// that a lesson is about is only a `todo!("lesson 6.2: …")`. Earlier lessons are there. It builds into this workspace's
    /// target folder: cd mine && cargo run -p step6. A step that is there already is never touched.
    Start {
        /// The step's number
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        step: u8,
        #[command(flatten)]
        mine: Mine,
        /// For the tests: a function is left out only when the program runs, if `LESSONS_TO_DO` names its lesson
        #[arg(long, hide = true)]
        at_run_time: bool,
    },
    /// Build, start and judge your step in mine/stepN
    ///
    /// Runs tests/test_stepN.sh against it, on a free port and with keys of its own. Each line has the number of the lesson that
    /// teaches what was checked; at the end are the chapters of those that failed.
    ///
    /// From step 6 on, a whole step is then judged by auth-check too, from step 7 on with a log-in. What it finds comes with what to
    /// change and the number of the lesson, and fails the check; what only a later lesson brings is marked "later", and does not.
    Check {
        /// The step's number [default: the newest in mine; with --task, that of the lesson]
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        step: Option<u8>,
        /// Judge one lesson, such as 6.2, or those of one step, such as 6
        #[arg(long, value_name = "LESSON", conflicts_with = "task")]
        only: Option<String>,
        /// Judge the open task at the end of this lesson's chapter instead
        #[arg(long, value_name = "LESSON")]
        task: Option<String>,
        #[command(flatten)]
        mine: Mine,
    },
    /// Show how your step differs from ours, or how a task can be solved
    Solution {
        /// The step's number [default: the newest in mine]
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        step: Option<u8>,
        /// Show a solution of this lesson's open task
        #[arg(long, value_name = "LESSON")]
        task: Option<String>,
        #[command(flatten)]
        mine: Mine,
    },
    /// Carry a fix made in one step forward to all later steps
    ///
    /// Mend the file in the first step that has the fault, run this, then commit. What you changed since the last
    /// commit is merged into the same file of every later step, as `git merge` would. Where a later step changed the
    /// same lines, conflict markers are left in its file for you to resolve, and the exit code is 1.
    Carry {
        /// The file you changed, such as step4/src/tools.rs
        file: PathBuf,
        /// The commit to compare your file with, for a fix that is committed already
        #[arg(long, value_name = "COMMIT", default_value = "HEAD")]
        base: String,
    },
    /// Run a step's test script, tests/test_stepN.sh
    Test {
        /// The step's number
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        step: u8,
        /// Passed on to the script
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run everything that must pass before a change is accepted, .ci/run
    Ci,
    /// Check that each step changes only what it teaches
    ///
    /// Prints for each step its new files and the lines to read in each, and how many lines it changes in others.
    /// Fails if a file is new, differs or is gone that has no reason to (xtask/src/drift.rs has the list), if a lesson
    /// or a file is too long, and if modules of any package need each other in a circle.
    Drift,
    /// Write a step as a workspace of its own, to build something else on it
    ///
    /// DIR gets the step's folder, the folders of those packages of this workspace that it depends on (such as common), a
    /// Cargo.toml with the versions and lints of these, Cargo.lock with the same versions of other people's packages, and the
    /// licences. It builds without this workspace: cd DIR && cargo run -p stepN
    Eject {
        /// The step's number
        #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
        step: u8,
        /// A folder outside of this workspace that is empty or is not there yet
        dir: PathBuf,
    },
}

/// Where a learner's steps are.
#[derive(Args)]
struct Mine {
    /// Another folder than mine, inside this workspace
    #[arg(id = "mine", long = "dir", value_name = "DIR", default_value = "mine", hide = true)]
    folder: PathBuf,
}

fn main() -> ExitCode {
    run(Cli::parse().task).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(task: Task) -> Result<ExitCode> {
    let root = root();
    match task {
        Task::Book { open, markdown } => {
            match markdown {
                Some(folder) => book::markdown(root, &folder)?,
                None => book::build(root, open)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Diff { step, full } => shown(diff::show(root, step, full, io::stdout().lock())),
        Task::Start { step, mine, at_run_time } => {
            let mine = root.join(mine.folder);
            let stub = if at_run_time { start::Stub::AtRunTime } else { start::Stub::Todo };
            let lessons = start::start(root, &mine, step, stub)?;
            let folder = start::shown(root, &mine, step);
            let mut text = Vec::new();
            writeln!(text, "{folder} is step {step} without its lessons:")?;
            for lesson in lessons {
                writeln!(text, "{}", lesson.entry())?;
            }
            writeln!(text, "Write what is todo! in {folder}/src, then judge it: cargo xtask check {step}")?;
            shown(io::stdout().write_all(&text).map_err(Into::into))
        }
        Task::Check { step, only, task, mine } => {
            let what = match (only, task) {
                (_, Some(id)) => check::What::Task(id),
                (Some(id), None) => check::What::Only(id),
                (None, None) => check::What::Step,
            };
            check::check(root, &root.join(mine.folder), step, &what)
        }
        Task::Solution { task: Some(id), .. } => {
            let file = root.join(format!("book/tasks/{id}.patch"));
            let patch = fs::read(&file).with_context(|| format!("there is no task of a lesson {id}"))?;
            shown(io::stdout().write_all(&patch).map_err(Into::into))
        }
        Task::Solution { step, mine, .. } => {
            let mine = root.join(mine.folder);
            let step = step.map_or_else(|| start::newest(&mine), Ok)?;
            shown(diff::solution(root, &start::folder(root, &mine, step)?, step, io::stdout().lock()))
        }
        Task::Carry { file, base } => Ok(success(carry::carry(root, &file, &base)?)),
        Task::Test { step, args } => bash(&format!("tests/test_step{step}.sh"), &args),
        Task::Ci => bash(".ci/run", &[]),
        Task::Eject { step, dir } => {
            let packages = eject::eject(root, step, &dir)?;
            println!("{} has {}. Start it: cd {0} && cargo run -p step{step}", dir.display(), packages.join(", "));
            Ok(ExitCode::SUCCESS)
        }
        Task::Drift => Ok(success(drift::report(root))),
    }
}

/// The workspace's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Handles the result of writing to standard output. A closed pipe is not a failure: `cargo xtask diff 9 | head`.
fn shown(written: Result<()>) -> Result<ExitCode> {
    match written {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
            Ok(ExitCode::SUCCESS)
        }
        written => written.map(|()| ExitCode::SUCCESS),
    }
}

fn success(yes: bool) -> ExitCode {
    if yes { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a script of the workspace, in the workspace's folder, and ends as it ends.
fn bash(script: &str, args: &[String]) -> Result<ExitCode> {
    ensure!(root().join(script).is_file(), "there is no {script}");
    let mut bash = Command::new("bash");
    let status = unset(bash.arg(script).args(args)).current_dir(root()).status().context("cannot run bash")?;
    Ok(ended(status))
}

/// The exit code of a program that was run.
fn ended(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The cargo that runs us.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    unset(&mut cargo);
    cargo
}

/// How to come from a folder to the workspace's: `../../`.
///
/// # Errors
/// If one of the folders is not there.
fn relative(root: &Path, folder: &Path) -> Result<String> {
    let (root, folder) = (root.canonicalize()?, folder.canonicalize()?);
    let common = root.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(root.components().skip(common)).collect();
    Ok(if path.as_os_str().is_empty() { String::new() } else { format!("{}/", path.display()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_workspace_is_found_from_everywhere() -> Result<()> {
        let root = tempfile::tempdir()?;
        let (there, other) = (root.path().join("w"), root.path().join("o/p"));
        for folder in [&there.join("target/md"), &other] {
            fs::create_dir_all(folder)?;
        }
        assert_eq!(relative(&there, &there)?, "");
        assert_eq!(relative(&there, &there.join("target/md"))?, "../../");
        assert_eq!(relative(&there, &other)?, "../../w/");
        Ok(())
    }
}
