//! A Prometheus scrapes the shop, knows where the slow traces are, draws the dashboards, and alerts of errors.

use super::web::{encoded, get, json};
use crate::support::{Ask, Draft, Person, Setup, Shop, list, state, until};
use banyan_engines::{Engine, Kind, Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long until something is scraped, computed or told, on a machine that does much else.
const SEEN_MAX: Duration = Duration::from_secs(90);
/// How long until an alert has gone its way: the shop fails, is scraped, the rule holds, Alertmanager is told.
const ALERTED_MAX: Duration = Duration::from_secs(180);
/// Panels that show nothing in a shop whose stores are files.
const ON_SERVERS: [&str; 1] = ["Connections to servers"];

/// A Prometheus that scrapes one shop, and tells an Alertmanager.
struct Watch {
    prometheus: Engine,
    alertmanager: Engine,
    _folder: TempDir,
}

impl Watch {
    /// Starts both, with the rules that the shop exports.
    async fn of(shop: &Shop) -> Self {
        let folder = tempfile::Builder::new().prefix("watch-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder");
        let (own, other) = (folder.path().join("prometheus"), folder.path().join("alertmanager"));
        let alertmanager = Engine::start(Kind::Alertmanager, Options::in_folder(&other)).await;
        let alertmanager = alertmanager.expect("Alertmanager starts");
        let console = shop.status().await.expect("it runs")["console"].as_str().expect("a URL").to_owned();
        let targets =
            |url: &str| json!([{"targets": [url.trim_start_matches("http://")], "labels": {"job": "shop"}}]);
        write(&own.join("targets/shop.json"), &targets(&console).to_string());
        write(&own.join("alertmanagers/one.json"), &targets(alertmanager.url()).to_string());
        let rules = own.join("rules").display().to_string();
        shop.print(&["export", "prometheus-rules", "--quick", "--output", &rules]).await;
        let prometheus = Engine::start(Kind::Prometheus, Options::in_folder(&own)).await;
        Self { prometheus: prometheus.expect("Prometheus starts"), alertmanager, _folder: folder }
    }

    /// Asks Prometheus; returns the series of the answer.
    async fn query(&self, expr: &str) -> Result<Vec<Value>, String> {
        let url = format!("{}/api/v1/query?query={}", self.prometheus.url(), encoded(expr));
        Ok(list(&json(&url).await?["data"]["result"]))
    }

    /// Waits until the answer has series, none of them without a number.
    async fn answered(&self, expr: &str) -> Vec<Value> {
        until(SEEN_MAX, &format!("Prometheus has an answer to {expr}"), || async {
            let series = self.query(expr).await.unwrap_or_else(|error| panic!("{expr}: {error}"));
            let number = |one: &Value| one["value"][1].as_str() != Some("NaN");
            (!series.is_empty() && series.iter().all(number)).then_some(series)
        })
        .await
    }

    /// Returns the names of the alerts that Alertmanager knows.
    async fn alerts(&self) -> BTreeSet<String> {
        let alerts = json(&format!("{}/api/v2/alerts", self.alertmanager.url())).await.expect("it answers");
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned();
        list(&alerts).iter().map(name).collect()
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// Does `work` while a customer buys one thing after the other.
async fn while_people_buy(shop: &Shop, work: impl Future<Output = ()>) {
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(1_000, 100_000).await;
    let buying = async {
        loop {
            assert_eq!(state(&customer.buy(&Draft::of(&lamp, 1)).await), "CONFIRMED");
        }
    };
    tokio::select! {
        () = work => {}
        () = buying => {}
    }
}

/// Does `work` while people look at products, whatever the answer.
async fn while_people_look<T>(shop: &Shop, work: impl Future<Output = T>) -> T {
    let looking = async {
        loop {
            let _ = shop.client.send(&Ask::get("/v1/products")).await;
        }
    };
    tokio::select! {
        done = work => done,
        () = looking => unreachable!("it goes on for ever"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_has_native_histograms_with_examples_and_every_panel_has_data() {
    let shop = Shop::start(Setup::one_process()).await;
    let watch = Watch::of(&shop).await;
    let looked = async {
        histograms(&watch).await;
        examples(&shop, &watch).await;
        panels(&shop, &watch).await;
    };
    while_people_buy(&shop, looked).await;
    targets(&watch).await;
    let rules = json(&format!("{}/api/v1/rules", watch.prometheus.url())).await.expect("it answers");
    for group in list(&rules["data"]["groups"]) {
        for rule in list(&group["rules"]) {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }
    let alerts = watch.alerts().await;
    assert!(!alerts.contains("EdgeErrorRate") && !alerts.contains("SystemDown"), "it is well: {alerts:?}");
    shop.stop().await;
}

/// Quantiles come from native histograms, and no bucket is kept beside them.
async fn histograms(watch: &Watch) {
    let quantile =
        "histogram_quantile(0.99, sum(rate(http_server_request_duration_seconds{job=\"shop\"}[30s])))";
    let p99 = watch.answered(quantile).await;
    let seconds: f64 = p99[0]["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
    assert!(seconds > 0.0 && seconds < 60.0, "{p99:?}");
    let native = watch.query("rpc_server_call_duration_seconds").await.expect("it answers");
    assert!(native.iter().all(|series| series["histogram"].is_array()) && !native.is_empty(), "{native:?}");
    let classic = watch.query("{__name__=~\".*_bucket\", job=\"shop\"}").await.expect("it answers");
    assert!(classic.is_empty(), "no bucket is kept twice: {classic:?}");
}

/// The shop is up, and every scrape went well.
async fn targets(watch: &Watch) {
    let found = json(&format!("{}/api/v1/targets", watch.prometheus.url())).await.expect("it answers");
    let targets = list(&found["data"]["activeTargets"]);
    assert_eq!(targets.len(), 1, "{found}");
    assert_eq!((&targets[0]["health"], &targets[0]["lastError"]), (&json!("up"), &json!("")), "{found}");
    let text = get(&format!("{}/metrics", watch.prometheus.url())).await.expect("it answers");
    let text = String::from_utf8_lossy(&text).into_owned();
    let refused = "prometheus_target_scrapes_sample_";
    for line in text.lines().filter(|line| line.starts_with(refused)) {
        assert!(line.ends_with(" 0"), "samples were refused: {line}");
    }
}

/// What Prometheus has as an example of a slow call is a trace that can be looked at.
async fn examples(shop: &Shop, watch: &Watch) {
    let url = format!(
        "{}/api/v1/query_exemplars?query={}&start=0&end=9999999999",
        watch.prometheus.url(),
        encoded("http_server_request_duration_seconds{http_route=\"/v1/orders\"}")
    );
    let trace = until(SEEN_MAX, "an order is an example", || async {
        let found = json(&url).await.expect("it answers");
        let series = list(&found["data"]);
        let example = series.iter().flat_map(|one| list(&one["exemplars"])).next()?;
        Some(example["labels"]["trace_id"].as_str().expect("it names its trace").to_owned())
    })
    .await;
    let kept = shop.command(&["traces", "show", &trace]).await.expect("an example is a kept trace");
    assert!(list(&kept["spans"]).iter().any(|span| span["name"] == "POST /v1/orders"), "{kept}");
}

/// Runs every expression of every dashboard, as Grafana would with all choices open.
async fn panels(shop: &Shop, watch: &Watch) {
    let text = shop.print(&["export", "grafana-dashboards"]).await;
    let boards: Value = serde_json::from_str(&text).expect("JSON");
    let mut asked = 0;
    for (name, board) in boards.as_object().expect("dashboards by name") {
        let variables = list(&board["templating"]["list"]);
        for variable in variables.iter().filter(|variable| variable["type"] == "query") {
            let query = variable["query"]["query"].as_str().expect("a text");
            let series = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.rsplit_once(','))
                .expect("of a label");
            watch.answered(&seen_by_quick_rules(series.0)).await;
        }
        for panel in list(&board["panels"]) {
            let title = panel["title"].as_str().expect("a text").to_owned();
            for target in list(&panel["targets"]) {
                let mut expr = target["expr"].as_str().expect("a text").replace("$__rate_interval", "30s");
                for variable in &variables {
                    expr = expr.replace(&format!("${}", variable["name"].as_str().expect("a name")), ".*");
                }
                assert!(!expr.contains('$'), "{name}, {title}: {expr}");
                let expr = seen_by_quick_rules(&expr);
                match ON_SERVERS.contains(&title.as_str()) {
                    true => drop(watch.query(&expr).await.unwrap_or_else(|error| panic!("{expr}: {error}"))),
                    false => drop(watch.answered(&expr).await),
                }
                asked += 1;
            }
        }
    }
    println!("{asked} expressions of {} dashboards have data", boards.as_object().map_or(0, |all| all.len()));
}

/// The dashboards ask for what rules of minutes record; the rules here are of seconds.
fn seen_by_quick_rules(expr: &str) -> String {
    expr.replace("ratio_rate5m", "ratio_rate15s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_reach_the_alertmanager_and_end_with_the_fault() {
    let shop = Shop::start(Setup::one_process()).await;
    let watch = Watch::of(&shop).await;
    while_people_look(&shop, watch.answered("owner:http_server_request_errors:ratio_rate15s")).await;
    assert!(!watch.alerts().await.contains("EdgeErrorRate"));
    // Nine of ten calls between services fail.
    let config = shop.data().parent().expect("it is in a folder").join("banyan.toml");
    write(&config, "[faults]\nseed = 7\nerror_probability = 0.9\n");
    shop.command(&["config", "reload"]).await.expect("faults take hold while it runs");
    let wanted = ["EdgeErrorRate", "ErrorBudgetBurnsFast"];
    let told = until(ALERTED_MAX, "Alertmanager has heard of the errors", || async {
        let alerts = watch.alerts().await;
        wanted.iter().all(|name| alerts.contains(*name)).then_some(())
    });
    while_people_look(&shop, told).await;
    let alerts = json(&format!("{}/api/v2/alerts", watch.alertmanager.url())).await.expect("it answers");
    let edge = list(&alerts).into_iter().find(|alert| alert["labels"]["alertname"] == "EdgeErrorRate");
    let edge = edge.expect("it is there");
    assert_eq!((&edge["labels"]["job"], &edge["labels"]["severity"]), (&json!("shop"), &json!("critical")));
    println!("{}", edge["annotations"]["summary"]);
    // It ends when the fault does.
    write(&config, "");
    shop.command(&["config", "reload"]).await.expect("faults are taken back");
    let ended = until(ALERTED_MAX, "the alert of errors at the edge has ended", || async {
        let firing = watch.query("ALERTS{alertname=\"EdgeErrorRate\", alertstate=\"firing\"}").await;
        firing.expect("it answers").is_empty().then_some(())
    });
    while_people_look(&shop, ended).await;
    // A system that has gone is told of too.
    shop.stop().await;
    until(ALERTED_MAX, "Alertmanager has heard that the shop is down", || async {
        watch.alerts().await.contains("SystemDown").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_accepts_the_rules_and_their_tests_pass() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let promtool = banyan_engines::install(Kind::Prometheus).await.expect("it is installed");
    let promtool = promtool.with_file_name("promtool");
    let checked = |args: &[&str]| {
        let output =
            Command::new(&promtool).args(args).current_dir(folder.path()).output().expect("it starts");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    };
    let objectives = [
        &[][..],
        &[
            "--set",
            "slo.pay.rpc=shop.payments.v1.*",
            "--set",
            "slo.pay.objective=0.999",
            "--set",
            "slo.pay.latency_ms=800",
        ],
        &["--set", "slo.saga.saga=*", "--set", "slo.saga.objective=0.5", "--set", "slo.saga.window_hours=24"],
    ];
    for set in objectives {
        for quick in [&[][..], &["--quick"]] {
            let mut export = Command::new(env!("CARGO_BIN_EXE_shop"));
            export.args(["export", "prometheus-rules", "--output", "."]).args(set).args(quick);
            let status = export.current_dir(folder.path()).status().expect("the program starts");
            assert!(status.success(), "{set:?}");
            let (valid, said) = checked(&["check", "rules", "shop.yml"]);
            assert!(valid && !said.contains("duplicate"), "{said}");
        }
        let mut export = Command::new(env!("CARGO_BIN_EXE_shop"));
        export.args(["export", "prometheus-rules", "--output", "."]).args(set).current_dir(folder.path());
        assert!(export.status().expect("the program starts").success());
        let (passed, said) = checked(&["test", "rules", "shop.test.yml"]);
        assert!(passed, "{said}");
    }
    // A rule that alerts of less than it should does not pass.
    let rules = std::fs::read_to_string(folder.path().join("shop.yml")).expect("a file");
    std::fs::write(folder.path().join("shop.yml"), rules.replace("> 0.01", "> 0.05")).expect("a file");
    assert!(!checked(&["test", "rules", "shop.test.yml"]).0);
}
