//! `WWW-Authenticate`: what a server says when it refuses a request (RFC 9110 §11, RFC 6750 §3, RFC 9449 §7.1), written
//! and read.
//!
//! Reading is strict: a header that breaks the grammar is ignored as a whole, because two parsers might understand it
//! differently. Reading undoes writing: `read(challenge.to_string())` gives the same challenge.

use std::fmt;

/// The longest header that is looked at, in bytes.
const MAX_LENGTH: usize = 16 * 1024;
/// The most challenges in one header.
const MAX_CHALLENGES: usize = 16;

/// One challenge: how to authenticate, and what the server adds to it. `Display` writes it as the value of a
/// `WWW-Authenticate` header; where a parameter is not ASCII, that is its UTF-8 (RFC 9110 §5.5: `obs-text`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// A challenge of this scheme, such as `Bearer`, without parameters.
    ///
    /// # Panics
    /// If it is not a `token` (RFC 9110 §5.6.2).
    pub fn new(scheme: &'static str) -> Self {
        assert!(is_token(scheme), "{scheme:?} cannot be a scheme");
        Challenge { scheme: scheme.to_owned(), params: Vec::new() }
    }

    /// The same with a parameter; one of this name that was there before is replaced. A control character, which no header
    /// may have, becomes a space.
    ///
    /// # Panics
    /// If the name is not a `token` (RFC 9110 §5.6.2).
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        assert!(is_token(name), "{name:?} cannot be a parameter");
        let value = value.chars().map(|c| if c.is_ascii_control() && c != '\t' { ' ' } else { c }).collect();
        self.params.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.params.push((name.to_owned(), value));
        self
    }

    /// How to authenticate.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether it is of this scheme; letter case means nothing (RFC 9110 §11.1).
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// A parameter's value, unless it says nothing; letter case means nothing in its name (§11.2).
    pub fn param(&self, name: &str) -> Option<&str> {
        let named = self.params.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        for (number, (name, value)) in self.params.iter().enumerate() {
            write!(f, "{}{name}=\"{}\"", if number == 0 { " " } else { ", " }, Quoted(value))?;
        }
        Ok(())
    }
}

/// The text between the quotes of a `quoted-string` (RFC 9110 §5.6.4).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            write!(f, "{}{c}", if matches!(c, '"' | '\\') { "\\" } else { "" })?;
        }
        Ok(())
    }
}

/// All challenges of a response, and the scheme that the request was sent with: a server may offer several, and each
/// says what is wrong with the request by its own rules (RFC 9449 §7.2).
#[derive(Debug)]
pub struct Challenges {
    all: Vec<Challenge>,
    in_use: &'static str,
}

impl Challenges {
    /// Reads a response's headers; with the challenges, what is wrong with headers that have none.
    pub fn read<'a>(headers: impl Iterator<Item = &'a [u8]>, in_use: &'static str) -> (Self, Option<&'static str>) {
        let mut all = Vec::new();
        let mut malformed = None;
        for header in headers {
            match read(header) {
                Ok(found) => all.extend(found),
                Err(why) => malformed = Some(why),
            }
        }
        all.truncate(MAX_CHALLENGES);
        all.retain(|one| one.is("Bearer") || one.is("DPoP"));
        // A stable sort: those of the scheme in use come first.
        all.sort_by_key(|one| !one.is(in_use));
        (Challenges { all, in_use }, malformed)
    }

    /// A parameter about the server, not about the request: any challenge may have it.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.all.iter().find_map(|one| one.param(name))
    }

    /// What is wrong with the request, from the challenge of the scheme that it was sent with. Another challenge counts
    /// only if the server does not offer that scheme.
    pub fn error(&self, name: &str) -> Option<&str> {
        let known = self.all.iter().any(|one| one.is(self.in_use));
        self.all.iter().filter(|one| !known || one.is(self.in_use)).find_map(|one| one.param(name))
    }

    /// Whether tokens may be bound to a key with this algorithm (RFC 9449 §7.1: `algs`).
    pub fn offers_dpop(&self, algorithm: &str) -> bool {
        let mut offers = self.all.iter().filter(|one| one.is("DPoP"));
        offers.any(|one| one.param("algs").is_none_or(|algs| algs.split(' ').any(|one| one == algorithm)))
    }
}

/// All challenges in one header value (`#challenge`).
///
/// # Errors
/// Says what breaks the grammar.
pub fn read(header: &[u8]) -> Result<Vec<Challenge>, &'static str> {
    if header.len() > MAX_LENGTH {
        return Err("it is too long");
    }
    let mut input = Input { text: header, at: 0 };
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        input.skip_list_space();
        if input.at == input.text.len() {
            return Ok(challenges);
        }
        if challenges.len() == MAX_CHALLENGES {
            return Err("it has too many challenges");
        }
        let scheme = input.token().ok_or("a scheme is missing")?;
        let mut challenge = Challenge { scheme, params: Vec::new() };
        if input.peek() == Some(b' ') {
            input.skip_spaces();
            if !input.token68() {
                input.params(&mut challenge.params)?;
            }
        } else if !matches!(input.peek(), None | Some(b',' | b'\t')) {
            return Err("a scheme has characters that no scheme may have");
        }
        challenges.push(challenge);
    }
}

struct Input<'a> {
    text: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_while(&mut self, skip: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skip) {
            self.at += 1;
        }
    }

    fn skip_spaces(&mut self) {
        self.skip_while(|byte| byte == b' ' || byte == b'\t');
    }

    /// The commas and spaces between the members of a list; members may be empty (RFC 9110 §5.6.1.2).
    fn skip_list_space(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b','));
    }

    fn token(&mut self) -> Option<String> {
        let start = self.at;
        self.skip_while(is_tchar);
        (self.at > start).then(|| String::from_utf8_lossy(&self.text[start..self.at]).into_owned())
    }

    /// `token68`, which stands alone, up to the next comma. It looks like a parameter's name, and `=` may end it.
    fn token68(&mut self) -> bool {
        let start = self.at;
        self.skip_while(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
        let name = self.at;
        self.skip_while(|byte| byte == b'=');
        let padding = self.at - name;
        self.skip_spaces();
        let alone = matches!(self.peek(), None | Some(b','));
        // `a=` is a token68; so is `a`. A parameter's name is followed by one `=` and a value.
        if name > start && alone && (padding > 0 || self.peek().is_none() || !self.next_is_param()) {
            return true;
        }
        self.at = start;
        false
    }

    /// Whether what follows the comma is a parameter of the challenge at hand.
    fn next_is_param(&self) -> bool {
        let mut rest = Input { text: self.text, at: self.at };
        rest.skip_list_space();
        rest.is_param()
    }

    /// Whether a parameter begins here, or else the next challenge.
    fn is_param(&self) -> bool {
        let mut rest = Input { text: self.text, at: self.at };
        if rest.token().is_none() {
            return false;
        }
        rest.skip_spaces();
        rest.peek() == Some(b'=')
    }

    /// `#auth-param`, up to the next challenge.
    fn params(&mut self, params: &mut Vec<(String, String)>) -> Result<(), &'static str> {
        loop {
            let before = self.at;
            self.skip_list_space();
            if self.peek().is_none() {
                return Ok(());
            }
            if !self.is_param() {
                // The first has no comma in front; the next challenge must have one.
                let comma = self.text[before..self.at].contains(&b',');
                return if comma && !params.is_empty() { Ok(()) } else { Err("a parameter has no value") };
            }
            if !params.is_empty() && !self.text[before..self.at].contains(&b',') {
                return Err("a comma is missing between two parameters");
            }
            let name = self.token().ok_or("a parameter has no name")?;
            self.skip_spaces();
            self.at += 1; // the `=`, which is_param saw
            self.skip_spaces();
            let value = if self.peek() == Some(b'"') {
                self.quoted()?
            } else {
                self.token().ok_or("a parameter has no value")?
            };
            if !matches!(self.peek(), None | Some(b' ' | b'\t' | b',')) {
                return Err("a value must be a token, or be quoted");
            }
            if params.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                return Err("a parameter appears twice");
            }
            params.push((name, value));
        }
    }

    fn quoted(&mut self) -> Result<String, &'static str> {
        self.at += 1;
        let mut value = Vec::new();
        loop {
            let byte = self.peek().ok_or("a quoted value has no end")?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(value).map_err(|_| "a value is not text"),
                b'\\' => {
                    let escaped = self.peek().filter(|byte| is_quotable(*byte)).ok_or("a quoted value has no end")?;
                    self.at += 1;
                    value.push(escaped);
                }
                byte if is_quotable(byte) => value.push(byte),
                _ => return Err("a quoted value has control characters"),
            }
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_tchar)
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_quotable(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Prefers what breaks parsers: quotes, backslashes, separators, and characters outside ASCII.
    fn value() -> impl Strategy<Value = String> {
        let one = prop_oneof![
            Just("\"".to_owned()),
            Just("\\".to_owned()),
            Just(",".to_owned()),
            Just("=".to_owned()),
            Just(" ".to_owned()),
            Just("\t".to_owned()),
            Just("é".to_owned()),
            Just("Bearer a=\"b\"".to_owned()),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(one, 0..12).prop_map(|parts| parts.concat())
    }

    fn challenge() -> impl Strategy<Value = Challenge> {
        let scheme = prop_oneof![Just("Bearer"), Just("DPoP"), Just("a!#$%&'*+-.^_`|~9")];
        let name = prop_oneof![Just("realm"), Just("scope"), Just("error"), Just("Error"), Just("x*")];
        let params = proptest::collection::vec((name, value()), 0..6);
        (scheme, params).prop_map(|(scheme, params)| {
            params.iter().fold(Challenge::new(scheme), |challenge, (name, value)| challenge.with(name, value))
        })
    }

    proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same(all in proptest::collection::vec(challenge(), 0..5)) {
            let header = all.iter().map(Challenge::to_string).collect::<Vec<_>>().join(", ");
            prop_assert_eq!(read(header.as_bytes()), Ok(all), "{}", header);
        }

        #[test]
        fn what_is_written_is_a_header(challenge in challenge()) {
            let header = challenge.to_string();
            prop_assert!(header.bytes().all(is_quotable), "{:?}", header);
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        /// The same with input that gets far into the parser: challenges with something wrong in them.
        #[test]
        fn reading_what_is_nearly_right_never_panics(
            challenge in challenge(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
        ) {
            let mut bytes = challenge.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(if cut { at + 1 } else { bytes.len() });
            for challenge in read(&bytes).unwrap_or_default() {
                let written = challenge.to_string();
                prop_assert_eq!(read(written.as_bytes()), Ok(vec![challenge]), "{}", written);
            }
        }
    }

    #[test]
    fn what_is_8_bit_is_text_or_refused() {
        let latin1 = b"Bearer error_description=\"caf\xe9\"";
        assert_eq!(read(latin1), Err("a value is not text"));
        assert_eq!(one("Bearer error_description=\"café\"").param("error_description"), Some("café"));
        assert!(read(b"B\xe9arer").is_err() && read(b"Bearer a\xe9=b").is_err() && read(b"Bearer a=\xe9").is_err());
    }

    #[test]
    fn what_is_written() {
        let challenge = Challenge::new("Bearer")
            .with("error", "invalid_token")
            .with("error_description", "a \"b\" \\ c\r\nSet-Cookie: d")
            .with("ERROR", "insufficient_scope")
            .with("scope", "");
        assert_eq!(
            challenge.to_string(),
            r#"Bearer error_description="a \"b\" \\ c  Set-Cookie: d", ERROR="insufficient_scope", scope="""#
        );
        assert_eq!(Challenge::new("Bearer").to_string(), "Bearer");
    }

    fn one(header: &str) -> Challenge {
        let mut all = read(header.as_bytes()).unwrap_or_else(|why| panic!("{header}: {why}"));
        assert_eq!(all.len(), 1, "{header}: {all:?}");
        all.remove(0)
    }

    #[test]
    fn what_servers_send() {
        let challenge =
            one(r#"Bearer resource_metadata="https://mcp.example/x?a=b,c", scope="a b", error="invalid_token""#);
        assert_eq!(challenge.param("resource_metadata"), Some("https://mcp.example/x?a=b,c"));
        assert_eq!(challenge.param("SCOPE"), Some("a b"));
        assert!(challenge.is("bearer") && !challenge.is("DPoP"));
        assert_eq!(one("Bearer").params, []);
        assert_eq!(one("Bearer ").params, []);
        assert_eq!(one(r#"Bearer realm = "a \"b\" \\" , , error=x"#).param("realm"), Some(r#"a "b" \"#));
        assert_eq!(one("Bearer ,a=b").param("a"), Some("b"));
    }

    #[test]
    fn several_challenges_in_one_header() {
        let all =
            read(br#"Negotiate, Basic realm="x", charset="UTF-8", Bearer error="y", DPoP algs="ES256", NTLM abc=="#)
                .unwrap();
        let schemes: Vec<_> = all.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["Negotiate", "Basic", "Bearer", "DPoP", "NTLM"]);
        assert_eq!(all[2].param("error"), Some("y"));
        assert_eq!(all[2].param("algs"), None);
    }

    #[test]
    fn each_scheme_has_its_own_opinion() {
        let headers = ["Basic realm=x", "Bearer error=invalid_token, DPoP error=use_dpop_nonce, scope=a", "Bearer \""];
        for (in_use, error) in [("Bearer", "invalid_token"), ("DPoP", "use_dpop_nonce")] {
            let (challenges, malformed) = Challenges::read(headers.into_iter().map(str::as_bytes), in_use);
            assert_eq!(challenges.error("error"), Some(error));
            assert_eq!(challenges.param("scope"), Some("a"));
            assert!(challenges.offers_dpop("ES256") && malformed.is_some());
        }
        let (challenges, _) = Challenges::read([&b"Bearer error=a, DPoP algs=\"RS256 ES384\""[..]].into_iter(), "DPoP");
        assert!(challenges.error("error").is_none() && !challenges.offers_dpop("ES256"));
        let (challenges, _) = Challenges::read([&b"Bearer error=a"[..]].into_iter(), "DPoP");
        assert_eq!(challenges.error("error"), Some("a"));
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for header in [
            "Bearer resource_metadata=https://mcp.example/",
            r#"Bearer scope="a"#,
            r#"Bearer scope="a\"#,
            r#"Bearer scope="a"b"#,
            r#"Bearer scope="a" error="b""#,
            r#"Bearer scope="a", scope="b""#,
            r#"Bearer scope="a", SCOPE="b""#,
            "Bearer scope=",
            "Bearer =x",
            "Bearer scope=\"a\u{1}\"",
            "Bearer:x",
            "\"Bearer\"",
            "Bearer a b=c",
        ] {
            // `scope=` alone is a token68: a challenge without parameters.
            let found = read(header.as_bytes());
            assert!(found.is_err() || found.unwrap()[0].params.is_empty(), "{header}");
        }
        assert!(read(format!("Bearer scope=\"{}\"", "x".repeat(MAX_LENGTH)).as_bytes()).is_err());
        assert!(read("a,".repeat(17).as_bytes()).is_err());
    }
}
