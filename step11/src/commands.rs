//! The commands.

use std::{io::Write, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use client::{
    Client, Failure, Result, Scope, Session, credentials::Grant, escape, file_store::Folder, secrets::Secrets,
    settings::Settings, store::Store,
};
use serde_json::{Value, json};

use crate::{
    options::{Options, in_words},
    terminal_json::terminal_json,
    tool_arguments,
};

/// How results are printed: for people, or for programs.
pub struct Output {
    pub json: bool,
    pub secrets: Arc<Secrets>,
}

impl Output {
    /// Text for people, which may have several lines.
    fn text(&self, text: &str) {
        Self::print(&escape::escape(&self.secrets.scrub(text)));
    }

    fn json(&self, value: &Value) {
        Self::print(&self.secrets.scrub(&terminal_json(value)));
    }

    /// A closed standard output is not a failure.
    fn print(text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Something to know besides the result.
    fn warn(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{}", escape::line(&self.secrets.scrub(&in_words(text))));
    }
}

/// Says who has logged in.
pub fn login(session: &Session, output: &Output) {
    let server = session.settings().server.to_string();
    match session.grant() {
        Some(grant) if output.json => output.json(&describe(&server, grant)),
        Some(grant) => {
            output.text(&format!("Logged in to {server} by {}.\nScopes: {}", grant.issuer, scope_text(grant)));
        }
        None if output.json => output.json(&json!({ "server": server, "issuer": null })),
        None => output.text(&format!("{server} asks for no log-in.")),
    }
}

/// Withdraws and forgets everything that is kept for the server.
pub async fn logout(store: &Folder, options: &Options, output: &Output) -> Result<()> {
    let settings = Settings::try_from(options)?;
    let server = settings.server.to_string();
    let entries = store.entries(&server, &settings.profile())?;
    for entry in &entries {
        let client = Client::new(Settings::try_from(options)?)?.secrets(output.secrets.clone());
        // Tokens that cannot be withdrawn are deleted anyway: the person wants them gone from this computer.
        if let Err(failure) = client.store(Arc::new(entry.clone())).log_out().await? {
            output.warn(&format!(
                "The tokens could not be withdrawn, and stay good until they expire: {}.",
                failure.message
            ));
        }
    }
    match (output.json, entries.is_empty()) {
        (true, _) => output.json(&json!({ "server": server, "forgotten": entries.len() })),
        (false, true) => output.text(&format!("Nothing is kept for {server}.")),
        (false, false) => output.text(&format!("Logged out of {server}.")),
    }
    Ok(())
}

/// Shows what is kept for the server.
pub fn status(store: &Folder, settings: &Settings, output: &Output) -> Result<()> {
    let server = settings.server.to_string();
    let mut all = Vec::new();
    for entry in store.entries(&server, &settings.profile())? {
        if let Some(grant) = entry.load()?.grant {
            all.push((entry.path, grant));
        }
    }
    if output.json {
        output.json(&all.iter().map(|(_, grant)| describe(&server, grant)).collect());
    }
    if all.is_empty() {
        return Err(
            Failure::authorization(format!("nobody is logged in to {server}")).advice("Log in with `step11 login`.")
        );
    }
    if !output.json {
        for (path, grant) in &all {
            let renewable = if grant.refresh_token.is_some() { ", and can be renewed" } else { "" };
            let bound = if grant.dpop_key.is_some() { ", and is bound to a key (DPoP)" } else { "" };
            output.text(&format!(
                "Logged in to          {server}\nauthorization server  {}\nclient                {}\nscopes                {}\n\
                 token                 {}{renewable}{bound}\nkept in               {}",
                escape::line(grant.issuer.as_str()),
                escape::line(grant.client_id.as_str()),
                scope_text(grant),
                lifetime(grant.expires_at),
                path.display()
            ));
        }
    }
    Ok(())
}

/// Lists the tools.
pub async fn tools(session: &mut Session, output: &Output) -> Result<()> {
    let (tools, rejected) = session.tools().await?;
    for (name, why) in rejected {
        output.warn(&format!("The tool {name} is left out: {why}."));
    }
    if output.json {
        output.json(&Value::Array(tools));
        return Ok(());
    }
    for tool in &tools {
        headline(tool, output);
        output.text(&format!("    takes: {}", escape::line(&tool_arguments::describe(&tool["inputSchema"]))));
    }
    Ok(())
}

/// Calls a tool.
pub async fn call(session: &mut Session, name: &str, pairs: &[String], output: &Output) -> Result<()> {
    let pairs = tool_arguments::pairs(pairs)?;
    let tool = session.tool(name).await?;
    let arguments = tool_arguments::typed(name, &tool["inputSchema"], &pairs)?;
    let result = session.call_tool(&tool, &Value::Object(arguments)).await?;
    let failed = result["isError"] == true;
    let text = contents(&result);
    if output.json {
        output.json(&result);
    } else if !failed {
        output.text(&text);
    }
    if failed { Err(Failure::tool(format!("the tool failed: {text}"))) } else { Ok(()) }
}

/// Lists the prompts.
pub async fn prompts(session: &mut Session, output: &Output) -> Result<()> {
    let prompts = session.list("Ask which prompts there are", "prompts/list", "prompts").await?;
    if output.json {
        output.json(&Value::Array(prompts));
        return Ok(());
    }
    for prompt in &prompts {
        headline(prompt, output);
        let one = |argument: &Value| {
            let required = if argument["required"] == true { " (required)" } else { "" };
            format!("{}{required}", argument["name"].as_str().unwrap_or_default())
        };
        let arguments: Vec<String> = prompt["arguments"].as_array().into_iter().flatten().map(one).collect();
        output.text(&format!(
            "    takes: {}",
            if arguments.is_empty() { "no arguments".to_owned() } else { escape::line(&arguments.join(", ")) }
        ));
    }
    Ok(())
}

/// Gets a prompt.
pub async fn prompt(session: &mut Session, name: &str, pairs: &[String], output: &Output) -> Result<()> {
    let arguments: serde_json::Map<String, Value> =
        tool_arguments::pairs(pairs)?.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let result = session.call("Get the prompt", "prompts/get", json!({ "name": name, "arguments": arguments })).await?;
    if output.json {
        output.json(&result);
        return Ok(());
    }
    for message in result["messages"].as_array().into_iter().flatten() {
        output.text(&format!("{}: {}", message["role"].as_str().unwrap_or_default(), content(&message["content"])));
    }
    Ok(())
}

fn headline(item: &Value, output: &Output) {
    let of = |name: &str| item[name].as_str().unwrap_or_default();
    output.text(&format!("{}  {}", of("name"), of("description")).replace('\n', " "));
}

/// What a tool says, for people.
fn contents(result: &Value) -> String {
    let parts: Vec<String> = result["content"].as_array().into_iter().flatten().map(content).collect();
    if parts.is_empty() && !result["structuredContent"].is_null() {
        return terminal_json(&result["structuredContent"]);
    }
    parts.join("\n")
}

fn content(part: &Value) -> String {
    match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => text.to_owned(),
        (kind, _) => format!("[{}: see it with --json]", kind.unwrap_or("content")),
    }
}

/// What may be shown of a grant: everything but its secrets.
fn describe(server: &str, grant: &Grant) -> Value {
    json!({
        "server": server, "issuer": grant.issuer, "resource": grant.resource, "client_id": grant.client_id,
        "scope": grant.scope, "expires_at": grant.expires_at, "renewable": grant.refresh_token.is_some(),
        "dpop": grant.dpop_key.is_some(),
    })
}

fn scope_text(grant: &Grant) -> String {
    if grant.scope.is_empty() {
        return "the server's own choice".to_owned();
    }
    escape::line(&grant.scope.iter().map(Scope::as_str).collect::<Vec<_>>().join(" "))
}

fn lifetime(expires_at: Option<DateTime<Utc>>) -> String {
    let Some(at) = expires_at else { return "the server does not say until when".to_owned() };
    let left = at - Utc::now();
    if left < TimeDelta::zero() {
        return "has expired".to_owned();
    }
    match (left.num_days(), left.num_hours(), left.num_minutes()) {
        (0, 0, minutes) => format!("is good for {minutes} min"),
        (0, hours, _) => format!("is good for {hours} h"),
        (days, ..) => format!("is good for {days} days"),
    }
}
