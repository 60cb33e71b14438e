//! The authorization response: judged before anything in it is used or shown.

use oauth::metadata::AuthorizationServerMetadata;
use url::Url;

use crate::{
    escape,
    failure::{Failure, Result},
};

/// How to tell which authorization server an answer is from if it has no `iss` (RFC 9700 §4.4.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ToldApartBy {
    /// It came back to [`redirect_uri_for`] this server.
    RedirectUri,
    /// The person named this server, and no other is asked.
    Person,
    Nothing,
}

/// An authorization response: its parameters, as they came.
pub type Parameters = Vec<(String, String)>;

/// Judges an authorization response, before anything in it is used or shown: is it the answer to our question
/// (`state`), from the server that was asked (`iss`, RFC 9207 §2.4), and is it a code? Also says how it recognised the
/// server.
pub fn check(
    parameters: &Parameters,
    state: &str,
    server: &AuthorizationServerMetadata,
    told_apart_by: ToldApartBy,
) -> Result<(String, &'static str)> {
    let one = |name: &str| -> Result<Option<&str>> {
        let mut values = parameters.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(Failure::authorization(format!("the authorization response has {name} twice"))),
        }
    };
    let unknown = "Nothing was sent on. Try again; if it happens again, do not trust this authorization server.";
    if one("state")? != Some(state) {
        return Err(Failure::authorization("the authorization response is not the answer to our request (state)")
            .advice(unknown));
    }
    let compared = match (one("iss")?, told_apart_by) {
        (Some(iss), _) if iss == server.issuer => "`iss` is the server that was asked",
        (Some(_), _) => {
            return Err(Failure::authorization(
                "the authorization response comes from another issuer than was asked (iss)",
            )
            .advice(unknown));
        }
        (None, _) if server.authorization_response_iss_parameter_supported => {
            return Err(Failure::authorization(
                "the authorization response does not say who it comes from (iss), though the server's metadata says that it does",
            )
            .advice(unknown));
        }
        (None, ToldApartBy::RedirectUri) => {
            "it came to the redirect URI that this server alone knows (there is no `iss`)"
        }
        (None, ToldApartBy::Person) => "you named this server (there is no `iss`)",
        (None, ToldApartBy::Nothing) => {
            return Err(Failure::authorization(
                "the authorization response does not say who it comes from (iss), and nothing else tells",
            )
            .advice("Nothing was sent on. If you trust this authorization server, name it with `Settings::issuer`."));
        }
    };
    if let Some(error) = one("error")?.filter(|error| !error.is_empty()) {
        let description = one("error_description")?.map_or(String::new(), |text| format!(", {}", escape::line(text)));
        let mut failure =
            Failure::authorization(format!("the authorization server says: {}{description}", escape::line(error)));
        failure.oauth_error = Some(error.to_owned());
        return Err(match error {
            "access_denied" => {
                failure.advice("The access was denied in the browser. Run the command again to be asked again.")
            }
            _ => failure,
        });
    }
    match one("code")? {
        Some(code) if !code.is_empty() => Ok((code.to_owned(), compared)),
        _ => Err(Failure::authorization("the authorization response has no code")),
    }
}

/// The parameters of the answer that an authorization response may have (RFC 6749 §4.1.2, RFC 9207).
pub fn names(parameters: &Parameters) -> String {
    let known = ["code", "state", "iss", "error", "error_description", "error_uri"];
    let there = known.into_iter().filter(|name| parameters.iter().any(|(one, _)| one == name));
    there.collect::<Vec<_>>().join(", ")
}

/// Reads what the person pasted, or a `Location`: it must lead to our redirect URI.
pub fn parse_answer(text: &str, redirect_uri: &Url) -> Option<Parameters> {
    let url = Url::parse(text.trim()).ok()?;
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    (bare == *redirect_uri).then(|| url.query_pairs().into_owned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::endpoints_of_2025_03_26;

    const ISSUER: &str = "https://as.example";

    fn outcome(
        query: &str,
        iss_supported: bool,
        told_apart_by: ToldApartBy,
    ) -> std::result::Result<(String, &'static str), String> {
        let mut server = endpoints_of_2025_03_26(&Url::parse(ISSUER).unwrap());
        server.authorization_response_iss_parameter_supported = iss_supported;
        let parameters = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        check(&parameters, "our state", &server, told_apart_by).map_err(|failure| failure.message)
    }

    #[test]
    fn an_answer_is_judged_before_it_is_used() {
        use ToldApartBy::{Nothing, Person, RedirectUri};
        let good = format!("code=abc&state=our+state&iss={ISSUER}");
        for (query, iss_supported, told_apart_by, compared) in [
            (good.as_str(), true, Nothing, "`iss` is"),
            (&good, false, Nothing, "`iss` is"),
            (&good, false, RedirectUri, "`iss` is"),
            ("code=abc&state=our+state", false, RedirectUri, "redirect URI"),
            ("code=abc&state=our+state", false, Person, "you named"),
        ] {
            let (code, why) = outcome(query, iss_supported, told_apart_by).unwrap();
            assert!(code == "abc" && why.contains(compared), "{query}: {why}");
        }
        for (query, iss_supported, told_apart_by, why) in [
            ("code=abc&state=our+state", true, RedirectUri, "does not say who"),
            ("code=abc&state=our+state", true, Person, "does not say who"),
            ("code=abc&state=our+state", false, Nothing, "nothing else tells"),
            ("code=abc&state=other&iss=https://as.example", true, RedirectUri, "not the answer"),
            ("code=abc&iss=https://as.example", true, RedirectUri, "not the answer"),
            ("code=abc&state=our+state&iss=https://as.example/", true, RedirectUri, "another issuer"),
            ("code=abc&state=our+state&iss=https://AS.example", false, RedirectUri, "another issuer"),
            ("code=abc&state=our+state&iss=", false, RedirectUri, "another issuer"),
            ("code=abc&state=our+state&iss=https://evil.example", false, Person, "another issuer"),
            ("code=abc&state=our+state&iss=https://as.example&iss=https://as.example", true, Nothing, "iss twice"),
            ("code=abc&code=def&state=our+state&iss=https://as.example", true, Nothing, "code twice"),
            ("state=our+state&iss=https://as.example", true, Nothing, "no code"),
            ("code=&state=our+state&iss=https://as.example", true, Nothing, "no code"),
            ("error=access_denied&state=our+state&iss=https://as.example", true, Nothing, "access_denied"),
        ] {
            let failure = outcome(query, iss_supported, told_apart_by).unwrap_err();
            assert!(failure.contains(why), "{query}: {failure}");
        }
        // Nothing of another issuer's error is shown.
        let failure = outcome(
            "error=look+here&error_description=call+0800&state=our+state&iss=https://evil.example",
            true,
            Nothing,
        );
        assert!(!failure.unwrap_err().contains("look here"));
    }

    #[test]
    fn what_is_pasted_must_be_our_address() {
        let ours = Url::parse("http://127.0.0.1:4711/callback").unwrap();
        assert!(parse_answer(" http://127.0.0.1:4711/callback?code=a&state=b \r", &ours).is_some());
        for other in [
            "http://127.0.0.1:4712/callback?code=a",
            "http://localhost:4711/callback?code=a",
            "code=a",
            "",
            "https://127.0.0.1:4711/callback?code=a",
        ] {
            assert!(parse_answer(other, &ours).is_none(), "{other}");
        }
    }
}
