//! The examination of a source of secrets, healthy and otherwise.

use crate::bao::Bao;
use anyhow::Result;
use banyan_core::{Check, Env, Finding, Verdict};
use banyan_identity::{Secret, SecretExamination, SecretSource};
use banyan_openbao::{Login, OpenBao, OpenBaoOptions};
use serde_json::json;
use std::time::Duration;

const SKEW_MS: u64 = 600_000;

async fn examine(address: &str, login: Login, env: Env) -> Vec<Finding> {
    let options = OpenBaoOptions { address: address.to_owned(), login, ..OpenBaoOptions::default() };
    let paths = ["kv/shop/db#password", "kv/shop/db#user", "kv/other#password"];
    let paths = paths.into_iter().map(str::to_owned).collect();
    let asked = SecretExamination { paths, env: env.clone(), limit: Duration::from_secs(60) };
    let findings = OpenBao::new(options, env).examine(asked).await;
    assert!(!format!("{findings:?}").contains("hunter"), "a secret is shown: {findings:?}");
    findings
}

#[tokio::test]
async fn what_a_role_may_read_is_told_and_not_read() -> Result<()> {
    let bao = Bao::start().await?;
    bao.write("sys/mounts/kv", json!({"type": "kv", "options": {"version": "2"}})).await?;
    bao.write("kv/data/shop/db", json!({"data": {"password": "hunter2"}})).await?;
    let login = bao.role(&["kv/data/shop/*"], "1h").await?;
    let url = bao.url().to_owned();
    let findings = examine(&url, login.clone(), Env::default()).await;
    for (check, subject) in [
        (Check::Reachable, url.as_str()),
        (Check::Version, &url),
        (Check::Clock, &url),
        (Check::Permissions, "login"),
        (Check::Permissions, "kv/shop/db"),
    ] {
        assert_eq!(Finding::of(&findings, check, subject).verdict, Verdict::Ok, "{findings:#?}");
    }
    assert_eq!(
        Finding::of(&findings, Check::Permissions, "kv/other").verdict,
        Verdict::Fail,
        "{findings:#?}"
    );
    let behind = Env::simulated(1, Env::default().clock.unix_ms() - SKEW_MS);
    let findings = examine(&url, login, behind).await;
    assert_eq!(Finding::of(&findings, Check::Clock, &url).verdict, Verdict::Fail, "{findings:#?}");

    let wrong = Login::Token(Secret::new("hunter3".to_owned()));
    let findings = examine(&url, wrong.clone(), Env::default()).await;
    assert_eq!(Finding::of(&findings, Check::Permissions, "login").verdict, Verdict::Fail, "{findings:#?}");
    bao.stop().await?;
    let findings = examine(&url, wrong, Env::default()).await;
    let gone = Finding::of(&findings, Check::Reachable, &url);
    assert!(gone.next_step.as_deref().is_some_and(|next| next.contains("start the server")), "{gone:?}");
    Ok(())
}
