//! The pages of reasons, and the document that describes the gateway's own routes.

use crate::mounts::{Bed, naming};
use banyan::Access;
use http::{Request, StatusCode};
use serde_json::Value;

#[tokio::test]
async fn every_reason_of_the_platform_has_its_page() {
    let bed = Bed::new([]).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
    for reason in ["INVALID_FIELD", "ROUTE_NOT_FOUND", "TOKEN_EXPIRED"] {
        let written = std::fs::read_to_string(format!("{folder}/{reason}.md")).unwrap();
        let answer = bed.get(&format!("/errors/{reason}")).await;
        assert_eq!(answer.0.headers()["content-type"], "text/markdown; charset=utf-8");
        assert_eq!(answer.text().await, (StatusCode::OK, written));
    }
    // As the page of another reason refers to it.
    assert_eq!(bed.get("/errors/RECORD_CORRUPT.md").await.text().await.0, StatusCode::OK);
    let (_, list) = bed.get("/errors").await.text().await;
    assert!(list.contains("- [INVALID_FIELD](/errors/INVALID_FIELD)"), "{list}");
    for unknown in [
        "/errors/NO_SUCH_REASON",
        "/errors/CARD_DECLINED",
        "/errors/README",
        "/errors/..%2FCargo.toml",
        "/errors/%3Cb%3E",
    ] {
        assert_eq!(bed.get(unknown).await.problem().await, (404, "NOT_FOUND".into()), "{unknown}");
    }
    // Where every problem points.
    let (_, problem) = bed.get("/nowhere").await.text().await;
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!(bed.get(problem["type"].as_str().unwrap()).await.text().await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_browser_reads_html() {
    let bed = Bed::new([]).await;
    let browser = || Request::get("/").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let answer = bed.send(browser(), "/errors/INVALID_FIELD", "").await;
    assert_eq!(answer.0.headers()["content-type"], "text/html; charset=utf-8");
    let (_, page) = answer.text().await;
    assert!(page.starts_with("<!doctype html>") && page.contains("<h1>INVALID_FIELD</h1>"), "{page}");
    let (_, list) = bed.send(browser(), "/errors", "").await.text().await;
    assert!(list.contains("<a href=\"/errors/INTERNAL\">INTERNAL</a>"), "{list}");
}

#[tokio::test]
async fn the_document_has_the_gateways_own_routes() {
    let bed = Bed::new([]).await;
    let (_, document) = bed.get("/openapi.json").await.text().await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&document["info"]["title"], &document["info"]["version"]), (&"test".into(), &"1".into()));
    assert!(document["paths"]["/errors/{reason}"]["get"]["responses"]["200"].is_object(), "{document}");
}

#[tokio::test]
async fn a_service_that_is_mounted_there_keeps_its_place() {
    let bed = Bed::new([("old", "/errors", Access::Public, naming("old"))]).await;
    assert_eq!(bed.get("/errors/1").await.text().await.1, "old /1 anonymous;;");
    let (_, document) = bed.get("/openapi.json").await.text().await;
    assert!(!document.contains("/errors/{reason}"), "{document}");
}
