//! The pages that a person sees: log-in, consent, what was allowed, and errors. Plain HTML with one inline style, which the
//! Content-Security-Policy names by its digest, and no script. The templates escape what clients say about themselves,
//! and mark it as the client's claim.

use std::sync::LazyLock;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, ContentType, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
            X_FRAME_OPTIONS,
        },
    },
};
use askama::Template;
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use url::{Host, Url};

use oauth::redirect_uri::can_be_an_apps;

const STYLE: &str = include_str!("../templates/style.css");

static STYLE_DIGEST: LazyLock<String> =
    LazyLock::new(|| STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes())));

/// Asks for a name and a password.
#[derive(Template)]
#[template(path = "login.html")]
pub struct LoginPage {
    /// This server's URL without its scheme.
    pub server: String,
    /// What was typed before.
    pub username: String,
    /// The name that the client gives itself, if one asks for access.
    pub client: Option<String>,
    pub action: String,
    pub csrf: String,
    /// Why the last attempt failed.
    pub problem: Option<&'static str>,
}

/// Asks whether a client may act for the person who is logged in.
#[derive(Template)]
#[template(path = "consent.html")]
pub struct ConsentPage {
    /// The name that the client gives itself.
    pub client: String,
    /// The host of a `client_id` that is a URL. A client that registered itself has none.
    pub client_id_host: Option<String>,
    pub redirect_host: String,
    /// The scheme of the app that gets the answer, if it is not a web page or a loopback address.
    pub app_scheme: Option<String>,
    /// Whether all its redirect URIs lead to this computer, where any program can listen.
    pub loopback_only: bool,
    pub user: String,
    pub action: String,
    pub csrf: String,
    pub scopes: Vec<ScopeChoice>,
    pub resource: String,
    pub given_before: bool,
}

impl ConsentPage {
    /// Whether there is anything to allow.
    fn grantable(&self) -> bool {
        self.scopes.iter().any(|choice| choice.grantable)
    }
}

/// A scope that a client asks for, and that the person may untick.
pub struct ScopeChoice {
    pub scope: String,
    pub words: &'static str,
    /// Whether the person's role allows it.
    pub grantable: bool,
}

/// Shows what a person has allowed.
#[derive(Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    pub user: String,
    pub action: String,
    pub csrf: String,
    pub allowed: Vec<Allowed>,
}

/// What a client may do at one resource.
pub struct Allowed {
    pub client_id: String,
    /// A name, or the id of a client whose name is not known.
    pub client: String,
    /// Whether the operator has given the name.
    pub checked: bool,
    /// As in [`ConsentPage`].
    pub client_id_host: Option<String>,
    pub resource: String,
    pub words: Vec<&'static str>,
    pub given_at: String,
}

/// Says what is wrong, where a redirect would be wrong too.
#[derive(Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub problem: String,
    pub hint: &'static str,
}

/// What a scope allows, for a person to read.
pub fn words(scope: &str) -> &'static str {
    match scope {
        "mcp:read" => "See which tools and prompts there are",
        "mcp:tools" => "Run tools for you",
        "mcp:prompts" => "Read prompts",
        _ => "Something this server does not know",
    }
}

/// A page without caching, framing or scripts. Its forms post to this server only, which may redirect to `form_action`:
/// a validated redirect URI, or its [`form_action_source`].
pub fn respond(page: &impl Template, status: StatusCode, form_action: Option<&str>) -> HttpResponse {
    let Ok(html) = page.render() else { return HttpResponse::InternalServerError().finish() };
    let target = form_action.map(form_action_source).filter(|source| !source.is_empty());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{}; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_DIGEST,
        target.map(|source| format!(" {source}")).unwrap_or_default(),
    );
    HttpResponse::build(status)
        .insert_header(ContentType::html())
        .insert_header((CACHE_CONTROL, "no-store"))
        // With `no-referrer`, Chromium posts `Origin: null`.
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .body(html)
}

/// A redirect URI as a source in a `form-action` directive: its origin, or its scheme where that is an app's own (RFC
/// 8252 §7.1). Anything else gives an empty text. A source cannot name an IPv6 address (CSP §2.3.1), so the scheme
/// takes its place. A text that is a source already stays as it is.
pub fn form_action_source(redirect_uri: &str) -> String {
    if let "http:" | "https:" = redirect_uri {
        return redirect_uri.to_owned();
    }
    let Ok(url) = Url::parse(redirect_uri) else { return String::new() };
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(Host::Ipv6(_))) => format!("{}:", url.scheme()),
        // The URL standard lets `;`, `,`, `'` and `*` stand in a host.
        ("http" | "https", Some(host))
            if host.to_string().bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) =>
        {
            url.origin().ascii_serialization()
        }
        (scheme, _) if can_be_an_apps(scheme) => format!("{scheme}:"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody;

    use super::*;

    const HOSTILE: &str = "</title><script>alert('x')</script>\"&";
    const ESCAPED: &str = "&#60;/title&#62;&#60;script&#62;alert(&#39;x&#39;)&#60;/script&#62;&#34;&#38;";

    fn login(problem: Option<&'static str>) -> LoginPage {
        LoginPage {
            server: HOSTILE.into(),
            username: HOSTILE.into(),
            client: Some(HOSTILE.into()),
            action: HOSTILE.into(),
            csrf: HOSTILE.into(),
            problem,
        }
    }

    fn choice(scope: &str, grantable: bool) -> ScopeChoice {
        ScopeChoice { scope: scope.into(), words: words(scope), grantable }
    }

    fn consent(scopes: Vec<ScopeChoice>) -> ConsentPage {
        ConsentPage {
            client: HOSTILE.into(),
            client_id_host: Some(HOSTILE.into()),
            redirect_host: HOSTILE.into(),
            app_scheme: Some(HOSTILE.into()),
            loopback_only: false,
            user: HOSTILE.into(),
            action: HOSTILE.into(),
            csrf: HOSTILE.into(),
            scopes,
            resource: HOSTILE.into(),
            given_before: false,
        }
    }

    fn html(page: &impl Template) -> String {
        let body = respond(page, StatusCode::OK, None).into_body().try_into_bytes().unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn nothing_that_others_say_is_html() {
        let error = ErrorPage { problem: HOSTILE.into(), hint: "Start again from the program that sent you here." };
        let account = AccountPage {
            user: HOSTILE.into(),
            action: HOSTILE.into(),
            csrf: HOSTILE.into(),
            allowed: vec![Allowed {
                client_id: HOSTILE.into(),
                client: HOSTILE.into(),
                checked: false,
                client_id_host: Some(HOSTILE.into()),
                resource: HOSTILE.into(),
                words: vec![HOSTILE],
                given_at: HOSTILE.into(),
            }],
        };
        for (page, times) in [
            (html(&login(None)), 6),
            (html(&consent(vec![choice(HOSTILE, true)])), 10),
            (html(&account), 11),
            (html(&error), 1),
        ] {
            assert!(!page.contains("<script"), "{page}");
            assert_eq!(page.matches(ESCAPED).count(), times, "{page}");
        }
    }

    #[test]
    fn a_page_has_the_headers_that_guard_it() {
        let response =
            respond(&login(None), StatusCode::UNAUTHORIZED, Some("http://127.0.0.1:8123/callback?a=b;script-src *"));
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("referrer-policy"), "same-origin");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let policy = header("content-security-policy");
        let body = html(&login(None));
        let style = body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let digest = STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self' http://127.0.0.1:8123; \
                 frame-ancestors 'none'; base-uri 'none'"
            )
        );
        for none in [None, Some("javascript:alert(1)")] {
            let response = respond(&login(None), StatusCode::OK, none);
            let policy = response.headers().get("content-security-policy").unwrap().to_str().unwrap();
            assert!(policy.contains("; form-action 'self'; "), "{policy}");
        }
    }

    #[test]
    fn a_redirect_uri_adds_one_source_or_none() {
        for (uri, source) in [
            ("https://app.example/callback", "https://app.example"),
            ("https://APP.example:443/callback", "https://app.example"),
            ("https://app.example:8443/", "https://app.example:8443"),
            ("http://localhost:3000/cb?x=1", "http://localhost:3000"),
            ("http://127.0.0.1:49152", "http://127.0.0.1:49152"),
            ("http://[::1]:49152/", "http:"),
            ("https://bücher.example/", "https://xn--bcher-kva.example"),
            ("https://app.example@evil.example/", "https://evil.example"),
            ("com.example.app:/callback", "com.example.app:"),
            ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor:"),
            ("com.example.app://host;x/ 'unsafe-inline'", "com.example.app:"),
            ("https://a.example/;script-src 'unsafe-inline'", "https://a.example"),
            ("https://a.example;script-src/", ""),
            ("https://a.example,script-src/", ""),
            ("https://a'unsafe-inline'/", ""),
            ("https://\"a\"/", ""),
            ("https://*/", ""),
            ("https://*.example/", ""),
            ("https://a b/", ""),
            ("https://a%20b/", ""),
            ("https://a%3Bb/", ""),
            ("https://a.example\r\n;x/", ""),
            ("https://a.example:1;x/", ""),
            ("javascript:alert(1)", ""),
            ("data:text/html,x", ""),
            ("file:///etc/passwd", ""),
            ("*", ""),
            ("'self'", ""),
            ("", ""),
        ] {
            assert_eq!(form_action_source(uri), source, "{uri}");
            assert_eq!(form_action_source(source), source, "its source is its own source");
        }
    }

    #[test]
    fn only_what_a_role_allows_can_be_ticked() {
        let page = html(&consent(vec![choice("mcp:read", true), choice("mcp:tools", false)]));
        assert!(page.contains(r#"name="scope" value="mcp:read" checked"#), "{page}");
        assert!(page.contains(r#"name="scope" value="mcp:tools" disabled"#), "{page}");
        assert_eq!(page.matches("your role does not allow this").count(), 1, "{page}");
        assert!(page.contains(r#"value="allow""#) && page.contains(r#"value="deny""#), "{page}");
        let page = html(&consent(vec![choice("mcp:tools", false)]));
        assert!(!page.contains(r#"value="allow""#), "nothing to allow: {page}");
    }

    #[test]
    fn warnings_stand_where_they_belong() {
        let page = html(&consent(vec![]));
        assert!(
            !page.contains("registered itself") && !page.contains("Any program") && !page.contains("before"),
            "{page}"
        );
        let page =
            html(&ConsentPage { client_id_host: None, loopback_only: true, given_before: true, ..consent(vec![]) });
        assert!(
            page.contains("registered itself") && page.contains("Any program") && page.contains("before"),
            "{page}"
        );
        assert!(!html(&login(None)).contains("role=\"alert\""));
        assert!(html(&login(Some("No."))).contains(r#"role="alert" id="problem">No.</p>"#));
    }
}
