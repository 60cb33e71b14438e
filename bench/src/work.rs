//! The requests to a contender, and how the first answer is judged before wrk compares all others with it.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use common::mcp::MODERN;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::tokens::{Issuer, USERS};

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// tools/call echo, legacy (2025-11-25), one token
    Echo,
    /// tools/call echo, modern (2026-07-28), one token
    Modern,
    /// tools/list, legacy, one token
    List,
    /// tools/call echo, legacy, 1,000 tokens of 1,000 people in turn
    Tokens,
    /// tools/call echo, legacy, one token, while as many connections again send forged tokens, each another
    Flood,
}

impl Work {
    pub fn name(self) -> &'static str {
        match self {
            Work::Echo => "echo",
            Work::Modern => "modern",
            Work::List => "list",
            Work::Tokens => "tokens",
            Work::Flood => "flood",
        }
    }

    /// How many different tokens come in turn.
    pub fn tokens(self) -> usize {
        if self == Work::Tokens { 1000 } else { 1 }
    }

    fn body(self) -> Value {
        let params = match self {
            Work::List => json!({}),
            _ => json!({ "name": "echo", "arguments": { "message": "hello" } }),
        };
        let mut body = json!({ "jsonrpc": "2.0", "id": 1, "method": self.method(), "params": params });
        if self == Work::Modern {
            body["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1.0.0" }
            });
        }
        body
    }

    fn method(self) -> &'static str {
        if self == Work::List { "tools/list" } else { "tools/call" }
    }

    fn headers(self) -> Vec<(&'static str, &'static str)> {
        let mut headers = vec![("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
        if self == Work::Modern {
            headers.extend([("MCP-Protocol-Version", MODERN), ("Mcp-Method", self.method()), ("Mcp-Name", "echo")]);
        } else {
            headers.push(("MCP-Protocol-Version", "2025-11-25"));
        }
        headers
    }

    /// The request as bytes on the wire: what comes before the token, and after it.
    pub fn raw(self, host: &str, with_token: bool) -> (String, String) {
        use std::fmt::Write;
        let body = self.body().to_string();
        let mut head = format!("POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in self.headers() {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if with_token {
            head.push_str("Authorization: Bearer ");
            (head, format!("\r\n\r\n{body}"))
        } else {
            (head, format!("\r\n{body}"))
        }
    }

    /// Whether a body says what it should; contenders may say more than that.
    fn judge(self, body: &str) -> Result<()> {
        let answer: Value = serde_json::from_str(body).context("it is not JSON")?;
        ensure!(answer["jsonrpc"] == "2.0" && answer["id"] == 1, "it is not the response to request 1");
        let result = &answer["result"];
        if self == Work::List {
            let tools = result["tools"].as_array().context("it has no tools")?;
            let echo = tools.iter().find(|tool| tool["name"] == "echo").context("it does not list echo")?;
            ensure!(echo["inputSchema"]["properties"]["message"].is_object(), "echo has no schema");
        } else {
            let content = &result["content"];
            ensure!(content[0]["type"] == "text" && content[0]["text"] == "hello", "it does not say hello");
            ensure!(!result["isError"].as_bool().unwrap_or(false), "it is an error");
        }
        ensure!(self != Work::Modern || result["resultType"] == "complete", "it is not a modern result");
        Ok(())
    }
}

/// One request at a time, to see what an answer is before many are sent.
pub struct Prober {
    runtime: Runtime,
    client: reqwest::Client,
    pub issuer: Arc<Issuer>,
}

impl Prober {
    /// # Errors
    /// If there can be no client.
    pub fn new(issuer: Arc<Issuer>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Prober { runtime, client: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?, issuer })
    }

    fn ask(&self, host: &str, work: Work, token: Option<&str>) -> Result<(u16, String)> {
        let mut request = self.client.post(format!("http://{host}/mcp")).body(work.body().to_string());
        for (name, value) in work.headers() {
            request = request.header(name, value);
        }
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        self.runtime.block_on(async {
            let response = request.send().await?;
            Ok((response.status().as_u16(), response.text().await?))
        })
    }

    /// All right answers to this work: one, or one for each person.
    ///
    /// # Errors
    /// If an answer is wrong.
    pub fn answers(&self, host: &str, work: Work, with_token: bool, tokens: usize) -> Result<BTreeSet<String>> {
        let mut answers = BTreeSet::new();
        for number in 0..if with_token { tokens.min(USERS) } else { 1 } {
            let token = with_token.then(|| self.issuer.token(number)).transpose()?;
            let (status, body) = self.ask(host, work, token.as_deref())?;
            ensure!(status == 200, "{} was answered with {status}: {body}", work.name());
            work.judge(&body).with_context(|| format!("{} was answered with {body}", work.name()))?;
            ensure!(!body.contains('\n'), "an answer of several lines cannot be compared: {body}");
            answers.insert(body);
        }
        Ok(answers)
    }

    /// How a forged token is refused.
    ///
    /// # Errors
    /// If it is not.
    pub fn refusal(&self, host: &str) -> Result<BTreeSet<String>> {
        let forged = self.issuer.forged()?.replace('*', "0000000000000000");
        let (status, body) = self.ask(host, Work::Echo, Some(&forged))?;
        ensure!(status == 401, "a forged token was answered with {status}: {body}");
        Ok(BTreeSet::from([body]))
    }

    /// Makes sure that a contender which should check tokens does so.
    ///
    /// # Errors
    /// If a bad token, or none, is accepted.
    pub fn must_refuse(&self, host: &str) -> Result<()> {
        for (what, token) in
            self.issuer.bad()?.iter().map(|(what, token)| (*what, Some(token))).chain([("no token", None)])
        {
            let (status, body) = self.ask(host, Work::Echo, token.map(String::as_str))?;
            if status != 401 {
                bail!("it answered {what} with {status}: {body}");
            }
        }
        Ok(())
    }
}
