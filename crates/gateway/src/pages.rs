//! The pages of stable reasons, where the `type` of every problem points: `/errors/REASON`.
//!
//! The platform's pages, those of `docs/errors`, are part of this crate, and a system brings its own
//! ([`crate::GatewayOptions::pages`]). A page that is new there is noticed when this crate is compiled
//! the next time.

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path};
use axum::response::Response;
use axum::routing::get;
use banyan_core::{Context, Error};
use banyan_rpc::problem;
use http::{HeaderMap, HeaderValue, header};
use include_dir::{Dir, include_dir};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the pages are.
pub(crate) const PREFIX: &str = "/errors";

static PLATFORM: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../docs/errors");

/// Tells whether the page of `reason` is one of the platform's, those of `docs/errors`; else a system brings it.
pub fn is_platform_reason(reason: &str) -> bool {
    PLATFORM.get_file(format!("{reason}.md")).is_some()
}

/// Pages in Markdown, by their reason.
#[derive(Clone, Debug)]
pub(crate) struct Pages(Arc<BTreeMap<&'static str, &'static str>>);

impl Pages {
    /// Takes the pages of the platform, and `own` ones: reasons with their Markdown.
    pub(crate) fn new(own: &[(&'static str, &'static str)]) -> Self {
        let platform = PLATFORM.files().filter_map(|file| {
            let reason = file.path().file_name()?.to_str()?.strip_suffix(".md")?;
            (reason != "README").then_some((reason, file.contents_utf8()?))
        });
        Self(Arc::new(platform.chain(own.iter().copied()).collect()))
    }

    /// Serves the list and each page, as Markdown or for a browser as HTML.
    pub(crate) fn router(&self) -> Router {
        let (list, page) = (self.clone(), self.clone());
        let list = move |headers: HeaderMap| std::future::ready(written(&headers, "Reasons", list.list()));
        let page =
            move |Extension(cx): Extension<Context>, Path(reason): Path<String>, headers: HeaderMap| {
                std::future::ready(page.page(&cx, &reason, &headers))
            };
        Router::new().route(PREFIX, get(list)).route(&format!("{PREFIX}/{{reason}}"), get(page))
    }

    fn page(&self, cx: &Context, reason: &str, headers: &HeaderMap) -> Response {
        // Pages refer to each other by their files' names.
        let reason = reason.strip_suffix(".md").unwrap_or(reason);
        match self.0.get_key_value(reason) {
            Some((reason, page)) => written(headers, reason, (*page).to_owned()),
            None => problem(&Error::not_found("page of the reason", reason), cx.correlation_id()),
        }
    }

    fn list(&self) -> String {
        let items: String =
            self.0.keys().map(|reason| format!("- [{reason}]({PREFIX}/{reason})\n")).collect();
        format!("# Reasons\n\nWhy a request was refused, by the stable `reason` of the problem.\n\n{items}")
    }

    /// Describes the routes for the OpenAPI document.
    pub(crate) fn describe() -> Vec<(String, Value)> {
        let text = |description: &str| {
            let schema = json!({"schema": {"type": "string"}});
            json!({"description": description, "content": {"text/markdown": schema, "text/html": schema}})
        };
        let failed = json!({"$ref": "#/components/responses/Problem"});
        let operation = |id: &str, summary: &str, parameters: Value| {
            json!({"get": {
                "operationId": id, "summary": summary, "security": [], "x-banyan-access": "public",
                "parameters": parameters, "responses": {"200": text("OK"), "default": failed},
            }})
        };
        let reason = json!([{
            "name": "reason", "in": "path", "required": true, "schema": {"type": "string"},
            "description": "The reason of a problem.", "example": "INVALID_FIELD",
        }]);
        vec![
            (PREFIX.to_owned(), operation("ListReasons", "Lists the reasons of problems", json!([]))),
            (
                format!("{PREFIX}/{{reason}}"),
                operation("GetReason", "Explains the reason of a problem: what happened, what to do", reason),
            ),
        ]
    }
}

/// Answers with a page in the form that the client prefers.
fn written(headers: &HeaderMap, title: &str, markdown: String) -> Response {
    let (kind, body) = match accepts_html(headers) {
        true => ("text/html; charset=utf-8", to_html(title, &markdown)),
        false => ("text/markdown; charset=utf-8", markdown),
    };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Tells whether the client names HTML among what it accepts, as browsers do and other programs do not.
fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let refused = |part: &str| {
            part.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|q| q == 0.0)
        };
        is_html && !parts.any(refused)
    })
}

fn to_html(title: &str, markdown: &str) -> String {
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, pulldown_cmark::Parser::new(markdown));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}}\
         code{{background:#eee8;padding:0 .2em}}</style>\n{body}</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_for_those_who_ask_for_it() {
        let accepts = |text: &'static str| {
            accepts_html(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))]))
        };
        assert!(accepts("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(accepts("text/plain, TEXT/HTML;level=1;q=0.4"));
        for other in ["*/*", "text/*", "text/markdown", "application/json", "text/html;q=0", "text/htmlx", ""]
        {
            assert!(!accepts(other), "{other}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }

    #[test]
    fn own_pages_stand_beside_those_of_the_platform() {
        let pages = Pages::new(&[("OUT_OF_TEA", "# OUT_OF_TEA\n"), ("INTERNAL", "# ours\n")]);
        assert!(pages.0["NOT_FOUND"].starts_with("# NOT_FOUND"));
        assert_eq!((pages.0["OUT_OF_TEA"], pages.0["INTERNAL"]), ("# OUT_OF_TEA\n", "# ours\n"));
        assert!(!pages.0.contains_key("README"));
        assert!(pages.list().contains("- [OUT_OF_TEA](/errors/OUT_OF_TEA)\n"));
    }
}
