//! The authorization server in an actix-web application that is not ours: its own listener, and no other middleware.

use std::{fs, os::unix::fs::PermissionsExt};

use actix_web::{App, HttpServer};
use auth_server::AuthServer;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode, jwk::JwkSet};
use oauth::{claims::Claims, metadata::AuthorizationServerMetadata};
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use serde_json::{Value, json};

#[actix_web::test]
async fn a_machine_finds_its_way_and_gets_a_token_that_can_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    let clients = folder.path().join("clients.json");
    let machine = json!([{
        "client_id": "machine", "client_secret": "a secret", "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["client_credentials"], "roles": ["user"],
    }]);
    fs::write(&clients, machine.to_string()).unwrap();
    fs::set_permissions(&clients, fs::Permissions::from_mode(0o600)).unwrap();
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
    let key = EncodingKey::from_rsa_pem(key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let auth_server = AuthServer::new(&issuer, key)
        .resource("https://mcp.example/mcp")
        .database(folder.path().join("data/auth.db"))
        .clients(&clients)
        .first_password("correct horse battery staple".into())
        .open()
        .await
        .unwrap();
    auth_server.check().await.unwrap();
    let server = HttpServer::new(move || App::new().configure(|app| auth_server.configure_all(app)));
    actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let document = http.get(format!("{issuer}/.well-known/oauth-authorization-server")).send().await.unwrap();
    let document = AuthorizationServerMetadata::read(&document.bytes().await.unwrap()).unwrap();
    assert_eq!(document.issuer, issuer);
    let form = "grant_type=client_credentials&client_id=machine&client_secret=a+secret&scope=mcp:tools";
    let answer = http
        .post(document.token_endpoint.unwrap())
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();

    let jwks = http.get(document.jwks_uri.unwrap()).send().await.unwrap();
    let jwks: JwkSet = serde_json::from_slice(&jwks.bytes().await.unwrap()).unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[&issuer]);
    validation.set_audience(&["https://mcp.example/mcp"]);
    let claims = decode::<Claims>(token, &key, &validation).unwrap().claims;
    assert_eq!((claims.sub.as_str(), claims.scope.as_str()), ("machine", "mcp:tools"));
}
