//! The project's own commands, for those who read the steps and for those who maintain them: `cargo xtask --help`.

mod book;
mod carry;
mod circles;
mod diff;
mod drift;
mod eject;
mod step;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

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
        Task::Diff { step, full } => match diff::show(root, step, full, io::stdout().lock()) {
            // The reader has seen enough: `cargo xtask diff 9 | head`.
            Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => {
                Ok(ExitCode::SUCCESS)
            }
            shown => shown.map(|()| ExitCode::SUCCESS),
        },
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

fn success(yes: bool) -> ExitCode {
    if yes { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a script of the workspace, in the workspace's folder, and ends as it ends.
fn bash(script: &str, args: &[String]) -> Result<ExitCode> {
    ensure!(root().join(script).is_file(), "there is no {script}");
    let status = Command::new("bash").arg(script).args(args).current_dir(root()).status().context("cannot run bash")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
