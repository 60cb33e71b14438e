//! `auth-check`: see the library.

use std::process::ExitCode;

use auth_check::cli::Cli;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Cli::read().run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("auth-check: {error:#}");
            ExitCode::from(2)
        }
    }
}
