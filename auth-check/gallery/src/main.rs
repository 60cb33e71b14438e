//! `auth-check-gallery`: the server by itself, to try other tools on it.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use auth_check_gallery::{
    Gallery,
    faults::{FAULTS, find},
    state::Trust,
};
use clap::Parser;

/// An MCP server that can be wrong in one way at a time.
#[derive(Parser)]
#[command(name = "auth-check-gallery", version)]
struct Cli {
    /// The fault; without it, the server does everything right
    #[arg(long)]
    fault: Option<String>,
    /// List all faults, and which checks find each
    #[arg(long)]
    list: bool,
    /// The port on 127.0.0.1
    #[arg(long, default_value_t = 9100)]
    port: u16,
    /// The issuer to trust
    #[arg(long, default_value = "http://localhost:9099")]
    issuer: String,
    /// A file with the issuer's key set (JSON), whose first key is an RSA key
    #[arg(long, required_unless_present = "list")]
    key_set: Option<PathBuf>,
}

#[actix_web::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    if cli.list {
        for fault in FAULTS {
            println!("{:28} {:60} {}", fault.name, fault.what, fault.found.join(" "));
        }
        return Ok(());
    }
    let path = cli.key_set.context("which key set?")?;
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let keys = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let fault = cli.fault.map(|name| find(&name).with_context(|| format!("there is no fault {name}"))).transpose()?;
    let gallery = Gallery::start(cli.port, fault, Trust { issuer: cli.issuer, keys })?;
    println!("listening on {}", gallery.endpoint());
    tokio::signal::ctrl_c().await.context("cannot wait for a signal")
}
