//! The token endpoint (RFC 6749 §3.2): all grants are one request with different parameters.

use serde_json::Value;
use url::Url;

use crate::{
    document::Document,
    dpop::Dpop,
    failure::{Failure, Result},
    http::{Answer, Body, Http, Request, without},
    registration::Client,
    terminal,
};

pub const AUTHORIZATION_CODE: &str = "authorization_code";
pub const REFRESH_TOKEN: &str = "refresh_token";
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 7523 §2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 8693 §2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// draft-ietf-oauth-identity-assertion-authz-grant.
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// Where tokens come from, and for what.
pub struct TokenEndpoint<'a> {
    pub http: &'a Http,
    pub url: Url,
    pub issuer: &'a str,
    pub client: &'a Client,
    pub resource: &'a str,
    pub dpop: Option<&'a Dpop>,
}

/// Tokens that have just arrived.
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: Option<String>,
    /// In seconds. `None`: the server did not say.
    pub expires_in: Option<u64>,
    /// `None`: what was asked for (RFC 6749 §5.1).
    pub scope: Option<Vec<String>>,
}

/// A token response that has not been judged yet.
pub struct TokenResponse {
    tokens: Tokens,
    token_type: String,
    expected: &'static str,
    exchange: u32,
}

impl TokenEndpoint<'_> {
    /// Asks for tokens by a grant: its parameters, the resource (RFC 8707), and who is asking.
    ///
    /// # Errors
    /// If they are missing, or cannot be used.
    pub async fn request(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<Tokens> {
        self.ask(why, grant).await?.tokens()
    }

    /// The same, but for the judgement.
    ///
    /// # Errors
    /// If there is no token response.
    pub async fn ask(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<TokenResponse> {
        let answer = self.send(why, grant).await?;
        // 200 is the rule (RFC 6749 §5.1, §5.2); some servers say 201, and some say 200 to an error.
        if !answer.status.is_success() || has_error(&answer.body) {
            let failure = oauth_failure(&answer, "the authorization server gives no token");
            return Err(match failure.oauth_error.as_deref() {
                Some("invalid_scope") => failure.advice("Name the scopes that this client may have with --scope."),
                _ => failure,
            });
        }
        let (tokens, token_type) = read(&answer.body).map_err(|why| {
            Failure::authorization(format!("the authorization server's answer is no token response: {}", why.message))
                .at(answer.exchange)
        })?;
        self.http.secrets.add(&tokens.access_token, "access token");
        self.http.secrets.add(tokens.refresh_token.as_deref().unwrap_or_default(), "refresh token");
        let expected = if self.dpop.is_some() { "DPoP" } else { "Bearer" };
        Ok(TokenResponse { tokens, token_type, expected, exchange: answer.exchange })
    }

    /// Sends the request; and once more, if the server wants its nonce in the DPoP proof (RFC 9449 §8).
    async fn send(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<Answer> {
        let mut form: Vec<_> = grant.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        form.push(("resource", self.resource.to_owned()));
        let mut request = Request::post(self.url.clone(), Body::Form(form));
        self.client.authenticate(self.http, self.issuer, &mut request)?;
        if let Body::Form(form) = &request.body {
            let names: Vec<&str> = form.iter().map(|(name, _)| *name).collect();
            request.url = without(&request.url, &names);
        }
        let Some(dpop) = self.dpop else { return self.http.send(why, &request).await };
        let headers = request.headers.len();
        request.headers.push(("DPoP".to_owned(), dpop.proof(&request.method, &request.url, None)?));
        let answer = self.http.send(why, &request).await?;
        let new_nonce = dpop.remember(&request.url, &answer.headers);
        if answer.status.is_client_error() && new_nonce && oauth_failure(&answer, "").is_oauth("use_dpop_nonce") {
            self.http.note("The authorization server wants its nonce in the proof. Once more, with it.");
            request.headers[headers].1 = dpop.proof(&request.method, &request.url, None)?;
            return self.http.send(why, &request).await;
        }
        Ok(answer)
    }
}

impl TokenResponse {
    pub fn refresh_token(&self) -> Option<&str> {
        self.tokens.refresh_token.as_deref()
    }

    /// The tokens, if they can be used.
    ///
    /// # Errors
    /// If the access token is not valid, of another type, or has expired.
    pub fn tokens(self) -> Result<Tokens> {
        let TokenResponse { tokens, token_type, expected, exchange } = self;
        let fail = |why: &str| Err(Failure::authorization(why).at(exchange));
        // `b64token` (RFC 6750 §2.1): what else could stand in a header, or end it?
        if !tokens.access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail("the access token has characters that no token may have");
        }
        if !token_type.eq_ignore_ascii_case(expected) {
            return fail(&format!(
                "the access token is of type {:?} instead of {expected}",
                terminal::line(&token_type)
            ));
        }
        if tokens.expires_in == Some(0) {
            return fail("the access token had expired when it arrived");
        }
        Ok(tokens)
    }
}

/// Reads a token response (RFC 6749 §5.1): the tokens, and their type. A lifetime is any number, and what says nothing is
/// absent: there is no empty refresh token (§A.17).
///
/// # Errors
/// Says which member is missing, or cannot be read.
fn read(body: &[u8]) -> Result<(Tokens, String)> {
    let document = Document::read("it", body)?;
    let scopes = |text: String| text.split_whitespace().map(str::to_owned).collect();
    let tokens = Tokens {
        access_token: document.required_text("access_token")?,
        refresh_token: document.text("refresh_token")?,
        expires_in: document.seconds("expires_in")?,
        scope: document.text("scope")?.map(scopes),
    };
    Ok((tokens, document.required_text("token_type")?))
}

/// Exchanges the identity that a person has at their company for a grant that is good at the MCP server's authorization
/// server (Enterprise-Managed Authorization §4).
///
/// # Errors
/// If the identity provider refuses.
pub async fn identity_assertion(
    http: &Http,
    idp: &Url,
    client_id: &str,
    id_token: &str,
    (issuer, resource, scope): (&str, &str, Option<&str>),
) -> Result<String> {
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE.to_owned()),
        ("requested_token_type", ID_JAG.to_owned()),
        ("audience", issuer.to_owned()),
        ("resource", resource.to_owned()),
        ("subject_token", id_token.to_owned()),
        ("subject_token_type", ID_TOKEN.to_owned()),
        ("client_id", client_id.to_owned()),
    ];
    form.extend(scope.map(|scope| ("scope", scope.to_owned())));
    let why = "Exchange the ID token at the identity provider for a grant (RFC 8693)";
    let answer = http.send(why, &Request::post(idp.clone(), Body::Form(form))).await?;
    if !answer.status.is_success() || has_error(&answer.body) {
        return Err(oauth_failure(&answer, "the identity provider gives no grant for this server"));
    }
    let at = |failure: Failure| failure.at(answer.exchange);
    // The grant is called `access_token`, but it is not an access token (RFC 8693 §2.2.1).
    let exchanged = Document::read("the identity provider's answer", &answer.body).map_err(at)?;
    let grant = exchanged.required_text("access_token").map_err(at)?;
    http.secrets.add(&grant, "assertion");
    if exchanged.required_text("issued_token_type").map_err(at)? != ID_JAG {
        return Err(at(Failure::authorization("the identity provider gave another token than an ID-JAG")));
    }
    Ok(grant)
}

/// An error in the words of the server: `error` and `error_description` (RFC 6749 §5.2), in JSON or in a form; or an `error`
/// that is an object, with a message.
struct Refusal {
    /// The OAuth error code.
    code: Option<String>,
    description: Option<String>,
}

impl Refusal {
    /// What a body says, whatever its status.
    fn of(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).unwrap_or_else(|_| form(body));
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let error = &body["error"];
        match text(error) {
            Some(code) => Some(Refusal { code: Some(code), description: text(&body["error_description"]) }),
            None => text(&error["message"]).map(|message| Refusal { code: None, description: Some(message) }),
        }
    }
}

/// The members of a form. A page is not a form, though it may have `&error=` in it.
fn form(body: &[u8]) -> Value {
    let body = body.trim_ascii();
    if body.iter().any(|byte| !byte.is_ascii_graphic() || b"<>\"".contains(byte)) {
        return Value::Null;
    }
    url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), Value::from(value))).collect()
}

/// Whether an answer is an error, although its status is that of a success.
pub fn has_error(body: &[u8]) -> bool {
    Refusal::of(body).is_some()
}

/// A refusal in the words of the server (RFC 6749 §5.2, RFC 7591 §3.2.2).
pub fn oauth_failure(answer: &Answer, what: &str) -> Failure {
    let refusal = Refusal::of(&answer.body);
    let said = match &refusal {
        None => format!("it answers {}", answer.status),
        Some(Refusal { code, description }) => {
            let parts: Vec<String> =
                [code, description].into_iter().flatten().map(|text| terminal::line(text)).collect();
            parts.join(", ")
        }
    };
    let kind = if answer.status.is_server_error() { Failure::network } else { Failure::authorization };
    let mut failure = kind(format!("{what}: {said}")).at(answer.exchange);
    failure.oauth_error = refusal.and_then(|refusal| refusal.code);
    failure.status = Some(answer.status.as_u16());
    failure
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_response_says_what_it_must_and_what_says_nothing_is_absent() {
        let response = |change: Value| {
            let mut response = json!({ "access_token": "a", "token_type": "Bearer" });
            response.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            read(response.to_string().as_bytes()).map_err(|failure| failure.message)
        };
        for nothing in [json!(null), json!("")] {
            let (tokens, _) =
                response(json!({ "refresh_token": nothing, "expires_in": nothing, "scope": nothing })).unwrap();
            assert!(tokens.refresh_token.is_none() && tokens.expires_in.is_none() && tokens.scope.is_none());
        }
        let (tokens, _) = response(json!({ "scope": " a  b ", "expires_in": 3599.0 })).unwrap();
        assert_eq!((tokens.scope.unwrap(), tokens.expires_in), (vec!["a".to_owned(), "b".to_owned()], Some(3599)));
        for (change, why) in [
            (json!({ "access_token": null }), "access_token is missing"),
            (json!({ "access_token": "" }), "access_token is missing"),
            (json!({ "access_token": 5 }), "access_token must be a string"),
            (json!({ "token_type": null }), "token_type is missing"),
            (json!({ "expires_in": -1 }), "expires_in must be a number of seconds"),
            (json!({ "scope": ["a"] }), "scope must be a string"),
            (json!({ "refresh_token": { "value": "b" } }), "refresh_token must be a string"),
        ] {
            assert_eq!(response(change).err().unwrap(), format!("it cannot be read: {why}"));
        }
        assert_eq!(
            read(b"access_token=a&token_type=bearer").err().unwrap().message,
            "it cannot be read: it is not JSON"
        );
    }

    #[test]
    fn an_error_is_a_text_or_has_a_message_in_json_or_in_a_form() {
        for (body, is_error) in [
            (r#"{ "error": "bad_verification_code" }"#, true),
            (r#"{ "ok": false, "error": "invalid_code" }"#, true),
            (r#"{ "error": { "code": 400, "message": "No." } }"#, true),
            ("error=bad_verification_code&error_description=It+is+old.", true),
            (r#"{ "error": null, "access_token": "a" }"#, false),
            (r#"{ "error": "", "access_token": "a" }"#, false),
            (r#"{ "error": {}, "access_token": "a" }"#, false),
            (r#"["error"]"#, false),
            (r#""error""#, false),
            ("<a href=\"?a=b&error=c&d=e\">", false),
            ("error=", false),
        ] {
            assert_eq!(has_error(body.as_bytes()), is_error, "{body}");
        }
        let refusal = Refusal::of(b"error=bad_verification_code&error_description=It+is+old.").unwrap();
        assert_eq!(
            (refusal.code.as_deref(), refusal.description.as_deref()),
            (Some("bad_verification_code"), Some("It is old."))
        );
    }
}
