//! The token endpoint (RFC 6749 §3.2): all grants are one request with different parameters.

use oauth::{
    document::{Document, Malformed},
    identifiers::Scope,
    secret::{ExposeSecret, SecretString},
};
use url::Url;

use crate::{
    authentication::Identity,
    dpop::Dpop,
    escape,
    exchange::{Answer, Body, Request},
    failure::{Failure, Result},
    http::Http,
    oauth_error::{has_error, oauth_failure},
    urls::without,
};

pub const AUTHORIZATION_CODE: &str = "authorization_code";
pub const REFRESH_TOKEN: &str = "refresh_token";
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 7523 §2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The endpoint that gives tokens, and the resource that they are for.
pub struct TokenEndpoint<'a> {
    pub http: &'a Http,
    pub url: Url,
    pub issuer: &'a str,
    pub client: &'a Identity,
    pub resource: &'a str,
    pub dpop: Option<&'a Dpop>,
}

/// Tokens that have just arrived.
pub struct Tokens {
    pub access_token: SecretString,
    pub refresh_token: Option<SecretString>,
    /// In seconds. `None`: the server did not say.
    pub expires_in: Option<u64>,
    /// `None`: what was asked for (RFC 6749 §5.1).
    pub scope: Option<Vec<Scope>>,
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
                Some("invalid_scope") => {
                    failure.advice("Name the scopes that this client may have with `Settings::scope`.")
                }
                _ => failure,
            });
        }
        let (tokens, token_type) = read(&answer.body).map_err(|why| {
            Failure::authorization(format!(
                "the authorization server's answer is not a token response: it cannot be read: {why}"
            ))
            .at(answer.exchange)
        })?;
        self.http.secrets.add(tokens.access_token.expose_secret(), "access token");
        if let Some(token) = &tokens.refresh_token {
            self.http.secrets.add(token.expose_secret(), "refresh token");
        }
        let expected = if self.dpop.is_some() { "DPoP" } else { "Bearer" };
        Ok(TokenResponse { tokens, token_type, expected, exchange: answer.exchange })
    }

    /// Sends the request; and once more, if the server wants its nonce in the DPoP proof (RFC 9449 §8).
    async fn send(&self, why: &str, grant: &[(&'static str, &str)]) -> Result<Answer> {
        let mut form: Vec<_> = grant.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        form.push(("resource", self.resource.to_owned()));
        let mut request = Request::post(self.url.clone(), Body::Form(form));
        self.client.authenticate(&self.http.secrets, self.issuer, &mut request)?;
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
    pub fn refresh_token(&self) -> Option<&SecretString> {
        self.tokens.refresh_token.as_ref()
    }

    /// The tokens, if they can be used.
    ///
    /// # Errors
    /// If the access token is not valid, of another type, or has expired.
    pub fn tokens(self) -> Result<Tokens> {
        let TokenResponse { tokens, token_type, expected, exchange } = self;
        let fail = |why: &str| Err(Failure::authorization(why).at(exchange));
        // `b64token` (RFC 6750 §2.1): other characters could end the header.
        if !tokens.access_token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return fail("the access token has characters that no token may have");
        }
        if !token_type.eq_ignore_ascii_case(expected) {
            return fail(&format!("the access token is of type {:?} instead of {expected}", escape::line(&token_type)));
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
fn read(body: &[u8]) -> std::result::Result<(Tokens, String), Malformed> {
    let document = Document::read(body)?;
    let scopes = |text: String| text.split_whitespace().map(Scope::new).collect();
    let tokens = Tokens {
        access_token: SecretString::from(document.required_text("access_token")?),
        refresh_token: document.text("refresh_token")?.map(SecretString::from),
        expires_in: document.seconds("expires_in")?,
        scope: document.text("scope")?.map(scopes),
    };
    Ok((tokens, document.required_text("token_type")?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_token_response_says_what_it_must_and_what_says_nothing_is_absent() {
        let response = |change: Value| {
            let mut response = json!({ "access_token": "a", "token_type": "Bearer" });
            response.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            read(response.to_string().as_bytes()).map_err(|why| why.to_string())
        };
        for nothing in [json!(null), json!("")] {
            let (tokens, _) =
                response(json!({ "refresh_token": nothing, "expires_in": nothing, "scope": nothing })).unwrap();
            assert!(tokens.refresh_token.is_none() && tokens.expires_in.is_none() && tokens.scope.is_none());
        }
        let (tokens, _) = response(json!({ "scope": " a  b ", "expires_in": 3599.0 })).unwrap();
        assert_eq!((tokens.scope.unwrap(), tokens.expires_in), (["a", "b"].map(Scope::new).to_vec(), Some(3599)));
        for (change, why) in [
            (json!({ "access_token": null }), "access_token is missing"),
            (json!({ "access_token": "" }), "access_token is missing"),
            (json!({ "access_token": 5 }), "access_token must be a string"),
            (json!({ "token_type": null }), "token_type is missing"),
            (json!({ "expires_in": -1 }), "expires_in must be a number of seconds"),
            (json!({ "scope": ["a"] }), "scope must be a string"),
            (json!({ "refresh_token": { "value": "b" } }), "refresh_token must be a string"),
        ] {
            assert_eq!(response(change).err().unwrap(), why);
        }
        assert_eq!(read(b"access_token=a&token_type=bearer").err().unwrap().to_string(), "it is not JSON");
    }
}
