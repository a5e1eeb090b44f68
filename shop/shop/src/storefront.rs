//! The storefront: pages for a browser, built from `web/src` and embedded, so that nobody needs Node to run the shop.
//!
//! `npm run build` in `web/` makes `web/dist`. Both are committed; a test compares them.

use axum::Router;
use banyan_gateway::Site;
use include_dir::{Dir, include_dir};

static BUILT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/web/dist");

/// What the gateway serves itself: a path below is no page, also if nothing has it.
const API: &[&str] = &["v1", "errors", "openapi.json", ".well-known"];

/// Serves the storefront at `/`.
pub(crate) fn router() -> Router {
    site().router()
}

fn site() -> Site {
    Site::new(&BUILT, API)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::response::Response;
    use http::{HeaderValue, StatusCode, header};
    use std::path::Path;

    /// All scripts together, in bytes: what a phone loads before it shows anything.
    const SCRIPT_BYTES_MAX: usize = 100_000;

    fn ask(path: &str, accept: &str, etag: Option<&HeaderValue>) -> Response {
        let mut request =
            http::Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        if let Some(etag) = etag {
            request.headers_mut().insert(header::IF_NONE_MATCH, etag.clone());
        }
        site().serve(&request)
    }

    #[test]
    fn the_assets_are_what_the_sources_build() {
        banyan_testkit::assert_sealed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("web"));
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
        let site = site();
        let scripts: Vec<_> = site.files().filter(|(path, _)| path.ends_with(".js")).collect();
        assert!(!scripts.is_empty());
        assert!(scripts.iter().map(|(_, content)| content.len()).sum::<usize>() < SCRIPT_BYTES_MAX);
        for (path, _) in scripts {
            let cache = ask(path, "*/*", None).headers()["cache-control"].clone();
            assert!(path.starts_with("/assets/") && cache.to_str().unwrap().contains("immutable"), "{path}");
        }
        let index = site.files().find(|(path, _)| *path == "/index.html").unwrap().1;
        let index = std::str::from_utf8(index).unwrap();
        for script in index.split("<script").skip(1) {
            assert!(script.contains("src=") && script.contains("></script>"), "{script}");
        }
        assert!(!index.contains("<style") && !index.contains("style="));
    }
}
