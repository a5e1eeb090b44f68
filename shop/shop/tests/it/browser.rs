//! The storefront in a real browser: `web/tests/browser.mjs`, against a shop of this test.

use crate::support::{Setup, Shop};
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// How long the whole walk through the pages may take on a busy machine.
const WALK_MAX: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_buy_in_a_browser_and_axe_finds_nothing_serious() {
    let shop = Shop::start(Setup::one_process()).await;
    shop.command(&["import"]).await.expect("the seed data is imported");
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    assert!(
        web.join("node_modules/playwright-core").is_dir(),
        "what drives the browser is missing; get it with: cargo xtask setup"
    );
    let walk = Command::new("node")
        .args(["tests/browser.mjs", shop.client.url()])
        .current_dir(web)
        .kill_on_drop(true)
        .output();
    let walk = tokio::time::timeout(WALK_MAX, walk).await.expect("the walk ends").expect("node starts");
    let (said, complained) = (String::from_utf8_lossy(&walk.stdout), String::from_utf8_lossy(&walk.stderr));
    println!("{said}");
    assert!(walk.status.success(), "{said}\n{complained}");
    shop.audit().await;
    shop.stop().await;
}
