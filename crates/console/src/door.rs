//! Who comes in: requests that name the console as one of its own, from its own pages, by somebody who has logged in.

use crate::answer::refusal;
use crate::app::{App, Operator, Shared};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use banyan::{ConsoleRole, ConsoleSettings};
use banyan_core::{BoxFuture, Code, Error, Result};
use banyan_identity::Secret;
use banyan_rpc::UNSUPPORTED_MEDIA_TYPE;
use base64::Engine as _;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri, header};

/// The name of the cookie that holds a session.
pub(crate) const COOKIE: &str = "banyan_console";
/// Names that every console answers to.
const LOCAL: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Lets a request in or refuses it. Handlers find the [`Operator`] among its extensions.
pub(crate) async fn admit(State(app): Shared, mut request: Request, next: Next) -> Response {
    match check(&app, request.headers(), request.method(), request.uri()).await {
        Ok(Some(operator)) => {
            request.extensions_mut().insert(operator);
            kept_by_nobody(next.run(request).await)
        }
        Ok(None) => next.run(request).await,
        Err(error) => kept_by_nobody(refusal(&error)),
    }
}

/// What the console tells is for the moment, and nothing but what it says it is.
fn kept_by_nobody(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn check(app: &App, headers: &HeaderMap, method: &Method, uri: &Uri) -> Result<Option<Operator>> {
    let host = host(headers, uri, &app.parts.settings)?;
    from_its_own_pages(headers, host)?;
    if *method == Method::POST && !is_json(headers) {
        let message = "send application/json, and say so in Content-Type";
        return Err(Error::new(Code::InvalidArgument, UNSUPPORTED_MEDIA_TYPE, message));
    }
    match uri.path() {
        // Where one logs in.
        "/api/session" => Ok(operator(app, headers)),
        "/metrics" => scraper(app, headers).await.map(Some),
        path if path.starts_with("/api/") => operator(app, headers).map(Some).ok_or_else(nobody),
        _ => Ok(None),
    }
}

/// Returns by which name it was asked, if that is one of its own: DNS rebinding. HTTP/2 has the name in `:authority`, which is
/// the URI's.
fn host<'r>(headers: &'r HeaderMap, uri: &'r Uri, settings: &ConsoleSettings) -> Result<&'r str> {
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().unwrap_or_default(),
        None => uri.authority().map_or("", Authority::as_str),
    };
    let name = match host.rsplit_once(':') {
        // Other colons are those of an IPv6 address.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let known = LOCAL.contains(&name) || settings.hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
    match known {
        true => Ok(host),
        false => Err(Error::permission_denied(
            "the console does not answer to this name: use 127.0.0.1 or localhost, or add the name to console.hosts",
        )),
    }
}

/// Refuses what a page of somebody else sends in the name of who looks at it: questions too, of which streams last.
fn from_its_own_pages(headers: &HeaderMap, host: &str) -> Result<()> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let own = |origin: &str| origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host));
    match origin.to_str().is_ok_and(own) {
        true => Ok(()),
        false => Err(Error::permission_denied("the request comes from a page that is not the console's")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Returns who asks: whoever has a session, or everybody where nobody needs to log in.
fn operator(app: &App, headers: &HeaderMap) -> Option<Operator> {
    if !app.sessions.required() {
        return Some(Operator { name: "local".into(), role: ConsoleRole::Admin });
    }
    app.sessions.find(token(headers)?)
}

/// Returns what is over when who asks may not look any more: his session is. `None` if that is so already.
pub(crate) fn admitted_until(app: &App, headers: &HeaderMap) -> Option<BoxFuture<'static, ()>> {
    match app.sessions.required() {
        true => app.sessions.ended(token(headers)?),
        false => Some(Box::pin(std::future::pending())),
    }
}

/// Returns the session that the browser says it has.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token)
}

/// A scraper has no session: it gives name and password each time (RFC 7617).
async fn scraper(app: &App, headers: &HeaderMap) -> Result<Operator> {
    if let Some(operator) = operator(app, headers) {
        return Ok(operator);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let encoded = given.and_then(|value| value.strip_prefix("Basic ")).ok_or_else(nobody)?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|_| nobody())?;
    let pair = String::from_utf8(decoded).map_err(|_| nobody())?;
    let (name, password) = pair.split_once(':').ok_or_else(nobody)?;
    app.sessions.prove(&app.context(), name, Secret::new(password.to_owned())).await
}

pub(crate) fn nobody() -> Error {
    Error::unauthenticated("log in first")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_its_own_names_are_answered() {
        let settings =
            ConsoleSettings { hosts: vec!["ops.example.com".into()], ..ConsoleSettings::default() };
        for (name, own) in [
            ("127.0.0.1:8081", true),
            ("localhost", true),
            ("[::1]:8081", true),
            ("[::1]", true),
            ("OPS.example.com", true),
            ("ops.example.com:443", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:8081", false),
            ("localhost:80@evil.example", false),
            ("", false),
        ] {
            let path = Uri::from_static("/api/session");
            assert_eq!(host(&headers(&[(header::HOST, name)]), &path, &settings).is_ok(), own, "{name}");
        }
        for (uri, own) in [("https://[::1]:8081/", true), ("https://evil.example/", false), ("/", false)] {
            let uri: Uri = uri.parse().expect("it is one");
            assert_eq!(host(&HeaderMap::new(), &uri, &settings).is_ok(), own, "{uri}");
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let of = |origin| from_its_own_pages(&headers(&[(header::ORIGIN, origin)]), "localhost:8081").is_ok();
        assert!(of("http://localhost:8081") && of("https://localhost:8081"));
        assert!(!of("http://localhost:8080") && !of("null") && !of("http://evil.example"));
    }

    #[test]
    fn the_session_is_found_among_cookies() {
        let found = headers(&[(header::COOKIE, "a=b; banyan_console=abc; c=d")]);
        assert_eq!(token(&found), Some("abc"));
        assert_eq!(token(&headers(&[(header::COOKIE, "xbanyan_console=abc")])), None);
    }
}
