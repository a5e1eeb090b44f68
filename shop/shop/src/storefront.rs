//! The storefront: pages for a browser, built from `web/src` and embedded, so that nobody needs Node to run the shop.
//!
//! `npm run build` in `web/` makes `web/dist`. Both are committed; a test compares them.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use include_dir::{Dir, include_dir};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

static BUILT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/web/dist");

const INDEX: &str = "/index.html";
/// Which sources the assets were built from: for the test, not for customers.
const SEAL: &str = "/SEAL";
/// Names of these carry a hash of what is in them.
const HASHED: &str = "/assets/";
/// What the gateway serves itself: a path below is no page, also if nothing has it.
const API: [&str; 4] = ["v1", "errors", "openapi.json", ".well-known"];

/// Everything comes from here, and nothing runs that does not stand in a file of ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const ALWAYS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// One file, as it is answered.
struct Asset {
    content: &'static [u8],
    kind: &'static str,
    etag: HeaderValue,
    cache: &'static str,
}

/// Serves the storefront at `/`: its files, and for every other page of a browser the index, which knows the page by its
/// path.
pub(crate) fn router() -> Router {
    let assets = Arc::new(assets(&BUILT));
    let serve = move |request: Request| std::future::ready(serve(&assets, &request));
    Router::new().route("/", any(serve.clone())).route("/{*path}", any(serve))
}

/// Answers a request; one that asks for no page gets the bare 404 that the gateway makes a problem of.
fn serve(assets: &HashMap<String, Asset>, request: &Request) -> Response {
    let path = request.uri().path();
    let wants_page = || path == "/" || (!is_api(path) && accepts_html(request.headers()));
    let asset = assets.get(path).or_else(|| assets.get(INDEX).filter(|_| wants_page()));
    match asset {
        Some(asset) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            answer(asset, request.headers())
        }
        _ => status(StatusCode::NOT_FOUND),
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

fn is_api(path: &str) -> bool {
    path.split('/').nth(1).is_some_and(|first| API.contains(&first))
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

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{Context, SHA256};
    use std::path::{Path, PathBuf};

    /// All that decides what is built; `web/scripts/seal.mjs` has the same list.
    const SOURCES: [&str; 7] = [
        "index.html",
        "package-lock.json",
        "package.json",
        "public",
        "src",
        "tsconfig.json",
        "vite.config.ts",
    ];
    /// All scripts together, in bytes: what a phone loads before it shows anything.
    const SCRIPT_BYTES_MAX: usize = 100_000;

    fn ask(path: &str, accept: &str, etag: Option<&HeaderValue>) -> Response {
        let mut request =
            http::Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        if let Some(etag) = etag {
            request.headers_mut().insert(header::IF_NONE_MATCH, etag.clone());
        }
        serve(&assets(&BUILT), &request)
    }

    /// Hashes files by their names, sizes and contents, sorted by name.
    fn digest(root: &Path, of: &[&str]) -> String {
        let mut files: Vec<String> = Vec::new();
        let mut open: Vec<PathBuf> = of.iter().map(|name| root.join(name)).collect();
        while let Some(path) = open.pop() {
            match path.is_dir() {
                true => open.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path())),
                false => files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()),
            }
        }
        files.retain(|name| name != "dist/SEAL");
        files.sort();
        let mut context = Context::new(&SHA256);
        for name in files {
            let content = std::fs::read(root.join(&name)).unwrap();
            context.update(format!("{name}\0{}\0", content.len()).as_bytes());
            context.update(&content);
        }
        context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_assets_are_what_the_sources_build() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let seal = std::fs::read_to_string(root.join("dist/SEAL")).unwrap();
        let now = format!("sources {}\nassets {}\n", digest(&root, &SOURCES), digest(&root, &["dist"]));
        assert_eq!(seal, now, "run `npm ci && npm run build` in shop/shop/web, and commit web/dist");
    }

    #[test]
    fn a_page_is_the_index_and_an_unknown_path_of_the_api_is_none() {
        for path in ["/", "/products/85123A", "/orders/1", "/nowhere"] {
            let response = ask(path, "text/html,*/*;q=0.8", None);
            let headers = response.headers();
            assert_eq!(
                (response.status(), &headers["content-type"]),
                (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap())
            );
            assert_eq!(headers["cache-control"], "no-cache");
            assert!(!headers["content-security-policy"].to_str().unwrap().contains("unsafe"));
        }
        assert_eq!(ask("/", "*/*", None).status(), StatusCode::OK);
        for (path, accept) in [
            ("/nowhere", "*/*"),
            ("/v1/nowhere", "text/html"),
            ("/errors/a/b", "text/html"),
            ("/SEAL", "*/*"),
        ] {
            assert_eq!(ask(path, accept, None).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let index = ask("/", "text/html", None);
        let again = ask("/", "text/html", Some(&index.headers()["etag"]));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = ask("/", "text/html", Some(&HeaderValue::from_static("\"0\"")));
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn scripts_are_small_never_change_and_are_no_part_of_the_index() {
        let assets = assets(&BUILT);
        let scripts: Vec<_> = assets.iter().filter(|(path, _)| path.ends_with(".js")).collect();
        assert!(!scripts.is_empty());
        assert!(scripts.iter().map(|(_, asset)| asset.content.len()).sum::<usize>() < SCRIPT_BYTES_MAX);
        for (path, asset) in scripts {
            assert!(path.starts_with(HASHED) && asset.cache.contains("immutable"), "{path}");
        }
        let index = std::str::from_utf8(assets[INDEX].content).unwrap();
        for script in index.split("<script").skip(1) {
            assert!(script.contains("src=") && script.contains("></script>"), "{script}");
        }
        assert!(!index.contains("<style") && !index.contains("style="));
    }
}
