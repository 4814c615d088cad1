//! Who may come in.

use std::{net::IpAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, HOST, HeaderName, ORIGIN},
    http::{request::Parts, uri::Authority},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Fewer characters could be guessed.
const LEAST_CHARACTERS: usize = 16;
/// Says, in browsers that know it, what page a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a guest has to know. Kept as its hash, so that comparing takes the same
/// time whatever is offered.
pub(super) struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// From a file, else from an environment variable; `None` where there is
    /// neither. Not from the command line: everybody on the machine can read that.
    ///
    /// # Errors
    /// The file cannot be read, or what is there is no good token.
    pub fn load(file: Option<&Path>, variable: &str) -> Result<Option<Self>> {
        if let Some(path) = file {
            let shown = path.display();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the token: {shown}"))?;
            let mode = std::fs::metadata(path)?.permissions().mode();
            if mode & 0o077 != 0 {
                eprintln!("note: other users can read the token; chmod 600 {shown}");
            }
            let token = Self::parse(text.trim());
            return token.with_context(|| shown.to_string()).map(Some);
        }
        match std::env::var(variable) {
            Ok(text) => Self::parse(text.trim())
                .with_context(|| variable.to_owned())
                .map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(error).with_context(|| variable.to_owned()),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let count = text.len();
        if !text.bytes().all(fits) {
            bail!("a token holds letters, digits and - . _ ~ only, so that it fits into a URL");
        }
        if count < LEAST_CHARACTERS {
            bail!(
                "the token has {count} characters, expected at least {LEAST_CHARACTERS}; \
                 make one by: openssl rand -hex 32"
            );
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    fn is(&self, offered: &str) -> bool {
        let offered: [u8; 32] = Sha256::digest(offered).into();
        offered.ct_eq(&self.0).into()
    }
}

/// Web pages that may come in without a token, from a browser on this machine. A
/// browser lets any page talk to loopback, and says which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guests {
    /// None but our own: a page could start and discard episodes.
    NoPages,
    /// Foxglove's app, and what is served on this machine.
    Foxglove,
}

/// Decides who may come in.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    token: Option<Arc<Token>>,
    guests: Guests,
}

/// Who may not, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied {
    pub status: StatusCode,
    pub reason: String,
}

impl Gate {
    /// With a token, it is all that counts: a page cannot know it. Without one, the
    /// door is on loopback, and what a browser says about a page counts.
    pub fn new(token: Option<Arc<Token>>, guests: Guests) -> Self {
        Self { token, guests }
    }

    /// Whether a token is asked for.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request may come in.
    ///
    /// # Errors
    /// It may not.
    pub fn admit(&self, request: &Parts) -> Result<(), Denied> {
        let Some(token) = &self.token else {
            return self.admit_local(&request.headers);
        };
        if offered(request).is_some_and(|offered| token.is(offered)) {
            return Ok(());
        }
        Err(Denied {
            status: StatusCode::UNAUTHORIZED,
            reason: "wrong token or none; send it as `Authorization: Bearer TOKEN`, or as \
                     ?token=TOKEN in the URL"
                .to_owned(),
        })
    }

    fn admit_local(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let deny = |reason: String| {
            Err(Denied {
                status: StatusCode::FORBIDDEN,
                reason,
            })
        };
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let authority = host.and_then(|host| host.parse::<Authority>().ok());
        // A name that somebody else made point to this machine is not local.
        if hosts.next().is_some() || !authority.is_some_and(|a| is_local(a.host())) {
            return deny(format!(
                "host is `{}`, expected localhost or 127.0.0.1; for other names use a token",
                host.unwrap_or_default()
            ));
        }
        let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
        let is_foreign = site.is_some_and(|site| !matches!(site, b"none" | b"same-origin"));
        if is_foreign && self.guests == Guests::NoPages {
            return deny("a web page cannot drive the recorder without a token".to_owned());
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or("null");
            let is_welcome = match self.guests {
                Guests::NoPages => host.is_some_and(|host| is_origin_of(origin, host)),
                Guests::Foxglove => is_viewer(origin),
            };
            if !is_welcome {
                return deny(format!(
                    "a web page of `{origin}` has no business here without a token"
                ));
            }
        }
        Ok(())
    }
}

/// The token of a request: in its header, else in its URL.
fn offered(request: &Parts) -> Option<&str> {
    if let Some(value) = request.headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    let query = request.uri.query()?;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
}

/// Whether a host is this machine by its very name.
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_origin_of(origin: &str, host: &str) -> bool {
    origin
        .strip_prefix("http://")
        .is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

/// Whether a page is a viewer's: Foxglove's, one of this machine, or a desktop
/// app's (whose pages come from no web server).
fn is_viewer(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else {
        // `null`: a page that hides where it is from.
        return false;
    };
    let Ok(authority) = rest.parse::<Authority>() else {
        return scheme == "file" && rest.is_empty();
    };
    let host = authority.host();
    match scheme {
        "http" => is_local(host),
        "https" => is_local(host) || host == "foxglove.dev" || host.ends_with(".foxglove.dev"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    const TOKEN: &str = "0123456789abcdef-._~";

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn status(gate: &Gate, uri: &str, headers: &[(&str, &str)]) -> u16 {
        match gate.admit(&parts(uri, headers)) {
            Ok(()) => 200,
            Err(denied) => denied.status.as_u16(),
        }
    }

    #[test]
    fn the_token_counts_and_nothing_else() {
        let token = Token::parse(TOKEN).expect("a token");
        let gate = Gate::new(Some(Arc::new(token)), Guests::NoPages);
        let bearer = |token: &str| format!("Bearer {token}");
        let with = |value: &str| status(&gate, "/", &[("authorization", value)]);
        assert_eq!(with(&bearer(TOKEN)), 200);
        assert_eq!(with(&format!("bearer {TOKEN}")), 200);
        assert_eq!(with(&bearer(&TOKEN[1..])), 401);
        assert_eq!(with(&bearer(&format!("{TOKEN}0"))), 401);
        assert_eq!(with(&bearer("")), 401);
        assert_eq!(with(&format!("Basic {TOKEN}")), 401);
        assert_eq!(with(TOKEN), 401);
        let url = |query: &str| status(&gate, &format!("/{query}"), &[("host", "rig.lan")]);
        assert_eq!(url(&format!("?token={TOKEN}")), 200);
        assert_eq!(url(&format!("?a=1&token={TOKEN}&b=2")), 200);
        assert_eq!(url(&format!("?nottoken={TOKEN}")), 401);
        assert_eq!(url("?token="), 401);
        assert_eq!(url(""), 401);
        // A wrong header is not mended by the URL.
        let both = [("authorization", "Bearer x")];
        assert_eq!(status(&gate, &format!("/?token={TOKEN}"), &both), 401);
        // Loopback is no excuse where there is a token.
        assert_eq!(status(&gate, "/", &[("host", "127.0.0.1:8766")]), 401);
    }

    #[test]
    fn a_token_that_can_be_guessed_or_does_not_fit_a_url_is_refused() {
        let said = |text: &str| Token::parse(text).expect_err("no token").to_string();
        assert!(said("short").contains("5 characters, expected at least 16"));
        assert!(said("").contains("0 characters"));
        assert!(said("spaces are not in a URL").contains("letters, digits"));
        assert_eq!(
            format!("{:?}", Token::parse(TOKEN).expect("one")),
            "Token(…)"
        );
    }

    #[test]
    fn a_token_file_goes_before_the_variable_and_need_not_exist() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, format!("{TOKEN}\n")).expect("a token file");
        // PATH is set, and no token.
        let token = Token::load(Some(&path), "PATH").expect("read");
        assert!(token.is_some_and(|token| token.is(TOKEN)));
        assert!(Token::load(None, "PATH").is_err());
        assert!(matches!(Token::load(None, "DEXUMI_NOT_SET"), Ok(None)));
        assert!(Token::load(Some(&folder.path().join("none")), "PATH").is_err());
    }

    #[test]
    fn a_name_that_only_points_here_is_not_local() {
        let gate = Gate::new(None, Guests::NoPages);
        for host in [
            "localhost:8766",
            "LOCALHOST",
            "127.0.0.1:9",
            "[::1]:8766",
            "127.8.8.8",
        ] {
            assert_eq!(status(&gate, "/", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8766",
            "",
        ] {
            assert_eq!(status(&gate, "/", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&gate, "/", &[]), 403);
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(status(&gate, "/", &two), 403);
    }

    #[test]
    fn no_page_but_our_own_drives_the_recorder() {
        let gate = Gate::new(None, Guests::NoPages);
        let from = |name, value| status(&gate, "/", &[("host", "localhost:8766"), (name, value)]);
        assert_eq!(from("origin", "http://localhost:8766"), 200);
        for origin in [
            "http://localhost:8888",
            "http://localhost",
            "https://localhost:8766",
            "https://evil.example",
            "https://app.foxglove.dev",
            "null",
        ] {
            assert_eq!(from("origin", origin), 403, "{origin}");
        }
        assert_eq!(from("sec-fetch-site", "none"), 200);
        assert_eq!(from("sec-fetch-site", "same-origin"), 200);
        assert_eq!(from("sec-fetch-site", "same-site"), 403);
        assert_eq!(from("sec-fetch-site", "cross-site"), 403);
    }

    #[test]
    fn foxglove_and_local_pages_look_and_others_do_not() {
        let gate = Gate::new(None, Guests::Foxglove);
        let from = |origin| status(&gate, "/", &[("host", "localhost"), ("origin", origin)]);
        for origin in [
            "https://app.foxglove.dev",
            "https://foxglove.dev",
            "http://localhost:8080",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "file://",
            "app://foxglove",
        ] {
            assert_eq!(from(origin), 200, "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://app.foxglove.dev",
            "https://foxglove.dev.evil.example",
            "https://notfoxglove.dev",
            "http://localhost.evil.example",
            "http://",
        ] {
            assert_eq!(from(origin), 403, "{origin}");
        }
    }
}
