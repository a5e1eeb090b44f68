//! Logging in, guessing, logging out.

use crate::running::{PASSWORD, Running};
use base64::Engine as _;
use http::{Method, header};
use http_body_util::Full;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn at_this_machine_without_users_everybody_is_admin() {
    let running = Running::start("").await;
    let session = running.get("/api/session").await.body;
    assert_eq!((&session["user"], &session["role"]), (&json!("local"), &json!("admin")));
    assert_eq!(session["login_required"], false);
    assert_eq!(running.get("/api/system").await.status, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_logged_in_is_known_until_he_logs_out() {
    let running = Running::with_users().await;
    assert_eq!(running.get("/api/session").await.refused(401), "UNAUTHENTICATED");
    for path in ["/api/system", "/api/live", "/api/audit", "/metrics"] {
        assert_eq!(running.get(path).await.refused(401), "UNAUTHENTICATED", "{path}");
    }
    // The page on which one logs in is for everybody.
    assert_eq!(running.get("/").await.status, 200);
    let told = running.post("/api/session", json!({"name": "oli", "password": PASSWORD})).await;
    let cookie = told.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(told.body["role"], "operator");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(running.get_as(cookie, "/api/session").await.body["user"], "oli");
    let leave = running.request(Method::DELETE, "/api/session").header(header::COOKIE, cookie);
    assert_eq!(running.send(leave.body(Full::default()).unwrap()).await.status, 204);
    assert_eq!(running.get_as(cookie, "/api/system").await.refused(401), "UNAUTHENTICATED");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_locked_out_and_others_are_not() {
    let running = Running::with_users().await;
    let guess = async |name: &str, password: &str| {
        running.post("/api/session", json!({"name": name, "password": password})).await
    };
    for _ in 0..5 {
        assert_eq!(guess("ada", "123456").await.refused(401), "UNAUTHENTICATED");
    }
    let locked = guess("ada", PASSWORD).await;
    assert_eq!(locked.refused(429), "OVERLOADED");
    assert!(locked.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(guess("ada", &"x".repeat(2_000)).await.refused(429), "OVERLOADED");
    // A name that nobody has is answered like any other.
    let unknown = guess("eve", "123456").await;
    assert_eq!(unknown.refused(401), "UNAUTHENTICATED");
    assert_eq!(unknown.body["detail"], guess("vic", "123456").await.body["detail"]);
    running.log_in("vic").await;
    let operations = running.operations();
    // Once: who goes on guessing does not fill the log.
    let told = operations.iter().filter(|operation| *operation == "ada log in console: OVERLOADED");
    assert_eq!(told.count(), 1, "{operations:?}");
    assert!(operations.contains(&"eve log in console: UNAUTHENTICATED".to_owned()), "{operations:?}");
    assert_eq!(operations[0], "vic log in console: done");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_gives_its_password_each_time() {
    let running = Running::with_users().await;
    let scrape = async |password: &str| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("vic:{password}"));
        let request = running.request(Method::GET, "/metrics");
        let request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
        running.send(request.body(Full::default()).unwrap()).await.status
    };
    assert_eq!((scrape(PASSWORD).await.as_u16(), scrape("wrong").await.as_u16()), (200, 401));
    running.stop().await;
}
