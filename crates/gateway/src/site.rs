//! Pages for a browser that a program carries in it: the files that a bundler built, and the index for every other page.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use include_dir::Dir;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

const INDEX: &str = "/index.html";
/// Which sources the assets were built from: for tests, not for browsers.
const SEAL: &str = "/SEAL";
/// Names of these carry a hash of what is in them.
const HASHED: &str = "/assets/";

/// Everything comes from here, and nothing runs that does not stand in a file of ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const ALWAYS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The pages of an application that runs in the browser, embedded with `include_dir!`.
///
/// A file is served as it is, below `assets/` for ever (its name has a hash of it), with an entity tag else. A browser that
/// asks for any other page gets `index.html`, which knows the page by its path.
#[derive(Debug)]
pub struct Site {
    assets: HashMap<String, Asset>,
    /// First segments of the paths that are no page, also if nothing has them.
    api: &'static [&'static str],
}

/// One file, as it is answered.
#[derive(Debug)]
struct Asset {
    content: &'static [u8],
    kind: &'static str,
    etag: HeaderValue,
    cache: &'static str,
}

impl Site {
    /// Makes the site of what was `built`; a path whose first segment is one of `api` is no page of it.
    pub fn new(built: &'static Dir<'static>, api: &'static [&'static str]) -> Self {
        Self { assets: assets(built), api }
    }

    /// Serves the site at `/`. What it does not have is a bare 404.
    pub fn router(self) -> Router {
        let site = Arc::new(self);
        let serve = move |request: Request| std::future::ready(site.serve(&request));
        Router::new().route("/", any(serve.clone())).route("/{*path}", any(serve))
    }

    /// Answers a request.
    pub fn serve(&self, request: &Request) -> Response {
        let path = request.uri().path();
        let wants_page = || path == "/" || (!self.is_api(path) && accepts_html(request.headers()));
        let asset = self.assets.get(path).or_else(|| self.assets.get(INDEX).filter(|_| wants_page()));
        match asset {
            Some(asset) if matches!(*request.method(), Method::GET | Method::HEAD) => {
                answer(asset, request.headers())
            }
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    /// Returns the path and the content of every file, for tests of what was built.
    pub fn files(&self) -> impl Iterator<Item = (&str, &'static [u8])> {
        self.assets.iter().map(|(path, asset)| (path.as_str(), asset.content))
    }

    fn is_api(&self, path: &str) -> bool {
        path.split('/').nth(1).is_some_and(|first| self.api.contains(&first))
    }
}

fn answer(asset: &Asset, asked: &HeaderMap) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|etags| has_etag(etags, &asset.etag));
    let mut response = match known {
        true => status(StatusCode::NOT_MODIFIED),
        false => Response::new(Body::from(asset.content)),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(asset.cache));
    headers.insert(header::ETAG, asset.etag.clone());
    headers.extend(ALWAYS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Tells whether a browser asks for a page, not a program for an answer.
fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

/// Tells whether `etag` is in a list of them (RFC 9110, section 13.1.2).
fn has_etag(etags: &HeaderValue, etag: &HeaderValue) -> bool {
    let of = |text: &str| text.trim().trim_start_matches("W/") == etag;
    etags.to_str().is_ok_and(|etags| etags.split(',').any(of))
}

fn assets(built: &'static Dir<'static>) -> HashMap<String, Asset> {
    let (mut folders, mut assets) = (vec![built], HashMap::new());
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        for file in folder.files() {
            let path = format!("/{}", file.path().display());
            let cache =
                if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
            let content = file.contents();
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            let etag = format!("\"{:016x}\"", hasher.finish()).parse().expect("hexadecimal digits");
            let kind = kind(&path);
            assets.insert(path, Asset { content, kind, etag, cache });
        }
    }
    assets.remove(SEAL);
    assets
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
