//! The ways to tokens that the command line gives.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Result, ensure};
use oauth::secret::SecretString;
use url::Url;

use super::args::CheckArgs;
use crate::{
    context::Attacker,
    issuer::IssuerServer,
    jose::RsaKey,
    login::{KnownClient, Login, MAX_ROUNDS, terminal::Terminal},
    tokens::{Given, Mint, Tokens, read_key},
};

async fn login(args: &CheckArgs) -> Result<Login> {
    ensure!(
        args.client_id.is_some() || args.active,
        "--login needs a client: --client-id, or --active to register one"
    );
    let secret = args.client_secret.clone().map(SecretString::from);
    let known = args.client_id.clone().map(|id| KnownClient { id, secret });
    let terminal = Terminal::new(args.paste, args.redirect_uri.clone()).await?;
    eprintln!(
        "auth-check: the browser opens six to eight times for most servers, and at most {MAX_ROUNDS} times; each code and each refresh \
         token can be tried only once, and a token for fewer scopes takes a log-in of its own"
    );
    Ok(Login::new(Box::new(terminal), known))
}

/// The ways to tokens that were given, and the server that they need.
pub async fn given(args: &CheckArgs, given: Given, target: &Url) -> Result<(Tokens, Attacker)> {
    let mut tokens = Tokens { given, ..Tokens::default() };
    if args.login {
        tokens.login = Some(Box::new(login(args).await?));
    }
    let foreign = Arc::new(RsaKey::generate()?);
    let bait = foreign.key_set();
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let server = if let Some(issuer) = args.mock_issuer()? {
        let key = Arc::new(RsaKey::generate()?);
        let address = args.mock_bind.unwrap_or_else(|| loopback(issuer.port_or_known_default().unwrap_or(9099)));
        let server = IssuerServer::start(address, Some(issuer.as_str()), &key.key_set(), &bait).await?;
        eprintln!("auth-check: the issuer is {}; your server must trust it", server.url());
        tokens.mint = Some(Mint { key, issuer: server.url().to_owned() });
        server
    } else {
        IssuerServer::start(loopback(0), None, &serde_json::json!({ "keys": [] }), &bait).await?
    };
    if let Some(path) = &args.issuer_key {
        let issuer = args.issuer.clone().unwrap_or_else(|| target.origin().ascii_serialization());
        tokens.mint = Some(Mint { key: Arc::new(read_key(path)?), issuer });
    }
    Ok((tokens, Attacker { key: foreign, server }))
}
