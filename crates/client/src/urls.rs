//! URLs that other people's servers name. They are not trusted.

use ::url::{Url, form_urlencoded};
use oauth::fetch::url::{self, BadUrl};

use crate::escape;

/// A URL that anybody gave us, if it is one that may be asked: https, or http to this computer (OAuth 2.1 §1.5),
/// without user, password and fragment.
///
/// # Errors
/// Says why not, with the URL.
pub fn parse_url(text: &str) -> Result<Url, String> {
    url::parse(text).map_err(|why| match why {
        BadUrl::TooLong => format!("a URL of {} characters is too long", text.len()),
        _ => format!("{:?} {why}", escape::line(text)),
    })
}

/// The URL without these parameters in its query. An endpoint may have a query of its own, which stays as it is (RFC
/// 6749 §3.1, §3.2); but no parameter may be sent twice, since servers differ in which one counts.
pub fn without(url: &Url, names: &[&str]) -> Url {
    let Some(query) = url.query() else { return url.clone() };
    let is_named =
        |pair: &&str| form_urlencoded::parse(pair.as_bytes()).next().is_some_and(|(name, _)| names.contains(&&*name));
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_named(pair)).collect();
    let mut url = url.clone();
    url.set_query((!rest.is_empty()).then(|| rest.join("&")).as_deref());
    url
}

/// A URL in a message, without its query, which may hold anything.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    escape::line(url.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_not_in_the_query_already() {
        for (url, rest) in [
            ("https://as.example/authorize", "https://as.example/authorize"),
            ("https://as.example/authorize?", "https://as.example/authorize?"),
            ("https://as.example/authorize?resource=x", "https://as.example/authorize"),
            (
                "https://as.example/authorize?tenant=a&resource=https://x.example",
                "https://as.example/authorize?tenant=a",
            ),
            ("https://as.example/?%72esource=x&resource&a=b%20c+d&resource=y", "https://as.example/?a=b%20c+d"),
            ("https://as.example/?resources=x&Resource=y", "https://as.example/?resources=x&Resource=y"),
        ] {
            assert_eq!(without(&Url::parse(url).unwrap(), &["resource", "state"]).as_str(), rest, "{url}");
        }
    }
}
