//! The pages that are embedded.

use crate::running::Running;
use http::{Method, header};
use http_body_util::Full;
use std::path::Path;

#[test]
fn the_assets_are_what_the_sources_build() {
    banyan_testkit::assert_sealed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("web"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_the_index_and_runs_nothing_that_is_not_in_a_file() {
    let running = Running::start("").await;
    for path in ["/", "/traces", "/traces/0123", "/services/orders"] {
        let request = running.request(Method::GET, path).header(header::ACCEPT, "text/html");
        let told = running.send(request.body(Full::default()).unwrap()).await;
        let policy = told.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(told.status == 200 && !policy.contains("unsafe"), "{path}: {policy}");
        let text = told.body.as_str().unwrap();
        assert!(text.contains("<script") && !text.contains("<style") && !text.contains(" style="), "{text}");
    }
    let told = running.get("/errors/NOT_FOUND").await;
    assert_eq!(told.headers[header::LOCATION], "http://127.0.0.1:8080/errors/NOT_FOUND");
    running.stop().await;
}
