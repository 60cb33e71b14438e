//! The commands that manage people, clients and consents.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use auth_server::cli::AuthArgs;
use clap::Subcommand;
use serde::Serialize;

#[derive(Subcommand)]
pub enum User {
    /// Lists the people, their roles, and whether they can log in
    #[command(after_help = "Example: auth-server user list --json | jq '.[] | select(.disabled) | .name'")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Adds a person; the password is read from standard input
    #[command(after_help = "Example: auth-server user add carol --roles 'admin user'")]
    Add {
        name: String,
        /// admin, user or guest; several with spaces between
        #[arg(long, default_value = "user")]
        roles: String,
    },
    /// Sets a new password, read from standard input, and ends the person's sessions and tokens
    #[command(after_help = "Example: auth-server user passwd alice")]
    Passwd { name: String },
    /// Changes a person's roles: tokens have the new ones from the next log-in or refresh on
    #[command(after_help = "Example: auth-server user roles carol user guest")]
    Roles {
        name: String,
        /// admin, user or guest
        #[arg(required = true, value_name = "ROLE")]
        roles: Vec<String>,
    },
    /// Ends a person's sessions, codes and refresh tokens, and refuses log-ins
    #[command(after_help = "Example: auth-server user disable alice
An access token that was issued before is good until it expires, ten minutes at most.")]
    Disable { name: String },
    /// Lets a person who was disabled log in again
    #[command(after_help = "Example: auth-server user enable alice")]
    Enable { name: String },
    /// Deletes a person with their sessions, known browsers, codes, refresh tokens and consents
    #[command(after_help = "Example: auth-server user remove alice
Nobody gets the person's `sub` again. What MCP servers keep under it, such as notes, stays there. An access token that was
issued before is good until it expires, ten minutes at most.")]
    Remove { name: String },
}

#[derive(Subcommand)]
pub enum Client {
    /// Lists the clients that have registered themselves
    #[command(after_help = "Example: auth-server client list --json | jq '.[] | select(.last_consent == null)'
Clients that describe themselves at a URL, and those in --clients, are not kept: `consent list` shows who let them in.")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Deletes a client that has registered itself, with its codes, refresh tokens and consents
    #[command(after_help = "Example: auth-server client remove 5f0f1f2e-8a0f-4a52-b0a5-1d6a0d2e9c11
An access token that was issued before is good until it expires, ten minutes at most.")]
    Remove { client_id: String },
}

#[derive(Subcommand)]
pub enum Consent {
    /// Lists what people let clients do, the newest 1,000 of each person
    #[command(after_help = "Example: auth-server consent list --user alice")]
    List {
        /// Of this person only
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ends what a person lets a client do, with the client's codes and refresh tokens of this person
    #[command(
        after_help = "Example: auth-server consent withdraw --user alice --client https://client.example/oauth.json
An access token that was issued before is good until it expires, ten minutes at most."
    )]
    Withdraw {
        #[arg(long, value_name = "NAME")]
        user: String,
        /// The client_id
        #[arg(long, value_name = "ID")]
        client: String,
    },
}

pub async fn client(args: &AuthArgs, command: Client) -> Result<()> {
    let clients = args.registered_clients().await?;
    match command {
        Client::List { json } => {
            let row = |client: &auth_server::RegisteredClient| {
                let last = client.last_consent.as_deref().unwrap_or("-");
                [
                    client.client_id.clone(),
                    claimed(client.client_name.as_ref()),
                    client.registered.clone(),
                    last.to_owned(),
                ]
            };
            show(json, &clients.list().await?, ["CLIENT ID", "NAME IT CLAIMS", "REGISTERED", "LAST CONSENT"], row)
        }
        Client::Remove { client_id } => clients.remove(&client_id).await,
    }
}

pub async fn consent(args: &AuthArgs, command: Consent) -> Result<()> {
    let users = args.users().await?;
    match command {
        Consent::List { user, json } => {
            let row = |consent: &auth_server::Consent| {
                let (name, scopes) = (claimed(consent.client_name.as_ref()), consent.scopes.join(" "));
                let given_at = consent.given_at.clone();
                [consent.user.clone(), consent.client_id.clone(), name, consent.resource.clone(), scopes, given_at]
            };
            let head = ["USER", "CLIENT ID", "NAME IT CLAIMS", "RESOURCE", "SCOPES", "LAST GIVEN"];
            show(json, &users.consents(user.as_deref()).await?, head, row)
        }
        Consent::Withdraw { user, client } => users.withdraw(&user, &client).await,
    }
}

/// A name that a stranger has chosen, as a Rust literal: it cannot write over the lines around it.
fn claimed(name: Option<&String>) -> String {
    name.map_or("-".to_owned(), |name| format!("{name:?}"))
}

pub async fn user(args: &AuthArgs, command: User) -> Result<()> {
    let users = args.users().await?;
    match command {
        User::List { json } => {
            let people = users.list().await?;
            let row = |person: &auth_server::Person| {
                let state = if person.disabled { "disabled" } else { "enabled" };
                let last = person.last_log_in.as_deref().unwrap_or("-");
                [&person.name, &person.sub, &person.roles.join(" "), state, last].map(str::to_owned)
            };
            show(json, &people, ["NAME", "SUB", "ROLES", "STATE", "LAST LOG-IN"], row)
        }
        User::Add { name, roles } => users.add(&name, &roles, &read_password()?).await,
        User::Passwd { name } => users.set_password(&name, &read_password()?).await,
        User::Roles { name, roles } => users.set_roles(&name, &roles.join(" ")).await,
        User::Disable { name } => users.disable(&name).await,
        User::Enable { name } => users.enable(&name).await,
        User::Remove { name } => users.remove(&name).await,
    }
}

fn read_password() -> Result<String> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password("Password: ").context("the password could not be read");
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("the password could not be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Prints items as JSON, or as a table with a line for each.
fn show<T: Serialize, const N: usize>(
    json: bool,
    items: &[T],
    head: [&str; N],
    row: impl Fn(&T) -> [String; N],
) -> Result<()> {
    let text = if json { serde_json::to_string_pretty(items)? + "\n" } else { table(head, items.iter().map(row)) };
    io::stdout().write_all(text.as_bytes()).context("the list could not be printed")
}

/// Columns that are as wide as their widest text.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let lines: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().enumerate().map(|(column, cell)| {
            let width = lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
            format!("{cell:<width$}")
        });
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text() {
        let rows = [["alice", "a role"], ["zoë", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["NAME", "ROLES"], rows.into_iter()), "NAME   ROLES\nalice  a role\nzoë\n");
    }
}
