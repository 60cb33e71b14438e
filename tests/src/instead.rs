//! The tests of steps 9 and 10, on step 12: with `TEST_STEP12=sqlite` it is started in their place, and with
//! `TEST_STEP12=postgres://…` also on databases of that server.

use std::{collections::hash_map::DefaultHasher, hash::Hasher, path::Path, process::Command, thread};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;

use crate::{postgres, text};

/// What is started.
pub struct Instead<'a> {
    pub package: &'a str,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, String)>,
}

impl<'a> Instead<'a> {
    /// In the place of a step with these arguments. `folder`: the server's own.
    ///
    /// # Errors
    /// If a database cannot be made.
    pub fn of(package: &'a str, args: &[&str], folder: &Path) -> Result<Self> {
        let mut instead =
            Instead { package, args: args.iter().map(|arg| (*arg).to_owned()).collect(), env: Vec::new() };
        let Ok(on) = std::env::var("TEST_STEP12") else { return Ok(instead) };
        if matches!(package, "step9" | "step10") {
            instead.package = "step12";
        }
        if !on_postgresql() || !matches!(instead.package, "step12" | "auth-server") {
            return Ok(instead);
        }
        // A file of its own is a database of its own, and the same file the same database.
        let options = [("--database", "MCP_DATABASE"), ("--auth-database", "MCP_AUTH_DATABASE")];
        for (option, variable) in options {
            if let Some(place) = instead.args.iter().position(|arg| arg == option) {
                let file = instead.args.get_mut(place + 1).context("an option without a value")?;
                *file = database(&on, Path::new(file))?;
            } else {
                instead.env.push((variable, database(&on, folder)?));
            }
        }
        Ok(instead)
    }
}

/// Whether what is started keeps everything in PostgreSQL.
fn on_postgresql() -> bool {
    std::env::var("TEST_STEP12").is_ok_and(|on| on.starts_with("postgres:"))
}

/// Runs tests of this program again, in a process of its own: those of these modules, without those that are left out.
///
/// # Errors
/// If one fails; what all have said.
pub fn run_again(on: &str, modules: &[&str], left_out: &[&str]) -> Result<()> {
    // Linux finds this program there also after a build has put another in its place.
    let itself = Path::new("/proc/self/exe");
    let program = if itself.exists() { itself.to_owned() } else { std::env::current_exe()? };
    let all = text(&Command::new(&program).args(["--list", "--format", "terse"]).output()?);
    // Filters would also find the modules whose names end so.
    let names = all.lines().filter_map(|line| line.strip_suffix(": test"));
    let wanted = |name: &&str| modules.iter().any(|module| name.starts_with(module)) && !left_out.contains(name);
    let names: Vec<_> = names.filter(wanted).collect();
    let gone = left_out.iter().find(|name| !all.contains(&format!("{name}: test")));
    ensure!(gone.is_none(), "there is no test {gone:?} to be left out");
    // Few at a time, since the other tests of the first process run as well.
    let mut again = Command::new(&program);
    let output = again.args(["--exact", "--test-threads=2"]).args(&names).env("TEST_STEP12", on).output()?;
    let said = text(&output);
    ensure!(output.status.success() && said.contains(&format!("running {} tests", names.len())), "{said}");
    Ok(())
}

fn database(server: &str, file: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    hasher.write(file.as_os_str().as_encoded_bytes());
    let name = format!("test_{:x}", hasher.finish());
    // Tests may be in a runtime already.
    thread::scope(|scope| scope.spawn(|| Runtime::new()?.block_on(postgres::database(server, &name))).join())
        .map_err(|_| anyhow::anyhow!("a panic"))?
}
