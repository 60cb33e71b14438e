//! Helpers for the integration tests: they start the real programs and talk to them over HTTP.

pub mod browser;
pub mod client;
pub mod gated;
pub mod haproxy;
pub mod instead;
pub mod interop;
pub mod keycloak;
pub mod mock;
pub mod permissions;
pub mod postgres;
pub mod programs;
pub mod provider;
pub mod readme;
pub mod reply;
pub mod server;
pub mod signer;
pub mod unset;
pub mod workshop;
pub mod world;

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

pub use self::{programs::program, reply::Reply, server::Server};

/// The version whose requests carry everything with them.
pub const MODERN: &str = "2026-07-28";
/// The versions that begin with `initialize`, newest first.
pub const LEGACY: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

/// A command that runs a package's program without the settings of the person who runs the tests.
///
/// # Errors
/// If the program cannot be built.
pub fn command(package: &str) -> Result<Command> {
    let mut command = Command::new(program(package)?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MCP_")) {
        command.env_remove(name);
    }
    Ok(command)
}

/// A port for a server that has to be told one. It is below those that systems choose for connections (from 32768 on, by
/// default), so none takes it before the server listens there.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // A hasher of the standard library is random.
    let mut ports = std::iter::repeat_with(|| 10_000 + (RandomState::new().hash_one(()) % 20_000) as u16);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok() && given.insert(*port);
    ports.find(free).unwrap_or_default()
}

/// What a program wrote, to both outputs.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Does something for each item, a few at a time. Returns the items for which it failed.
pub fn each<T: Sync>(threads: usize, items: &[T], what: impl Fn(&T) -> Result<()> + Sync) -> Vec<(&T, anyhow::Error)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Relaxed)) {
            failed.extend(what(item).err().map(|error| (item, error)));
        }
        failed
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Where `jq` is missing, `jaq` takes its place in the folder `bin`, as it does in the shell tests.
///
/// # Errors
/// If it cannot be installed.
pub fn provide_jq(bin: &Path) -> Result<()> {
    let on_path = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if on_path("jq") {
        return Ok(());
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?.join("target/tools");
    let jaq = if on_path("jaq") { PathBuf::from("jaq") } else { tools.join("bin/jaq") };
    if !on_path("jaq") && !jaq.exists() {
        let install =
            programs::cargo().args(["install", "--quiet", "jaq", "--locked", "--root"]).arg(tools).status()?;
        ensure!(install.success(), "jq is missing, and jaq could not be installed");
    }
    fs::write(bin.join("jq"), format!("#!/bin/sh\nexec '{}' \"$@\"\n", jaq.display()))?;
    fs::set_permissions(bin.join("jq"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Whether the first numbers of `program --version` are at least these.
pub fn has(program: &str, least: [u32; 2]) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let version = String::from_utf8_lossy(&output.stdout);
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = digits.trim().split('.').map_while(|number| number.parse().ok());
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)] >= least
}

/// An error, if what a test needs is not there.
///
/// # Errors
/// If it is not.
pub fn needs(needed: &str, there: bool) -> Result<()> {
    ensure!(there, "this test needs {needed}");
    Ok(())
}

/// A token from `gen-token` for the server at `server_url`, signed with the key in `keys`.
///
/// # Errors
/// If the program fails, or prints something that is not text.
pub fn gen_token(keys: &Path, server_url: &str, args: &[&str]) -> Result<String> {
    let output = command("gen-token")?.arg("--keys").arg(keys).args(["--server", server_url]).args(args).output()?;
    if !output.status.success() {
        bail!("gen-token failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// A JSON-RPC request with the id 1.
pub fn rpc(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// The `_meta` that a modern request needs.
pub fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "tests", "version": "1.0.0" }
    })
}

/// Params with that `_meta`.
pub fn with_meta(mut params: Value) -> Value {
    params["_meta"] = meta();
    params
}
