//! Scenario files: what is wrong in one is told with its key and its line, before anything is sent.

use banyan_load::{Overrides, Plan, Source};

const GOOD: &str = r#"title = "Orders"
slo = ["p99 < 1s"]

[load]
rate = 5
for = "1s"

[variables]
card = { visa = 9, declined = 1 }

[[setup]]
name = "login"
request = "POST /login"
extract = { token = "/token" }

[[scenario]]
name = "order"

[[scenario.step]]
name = "place"
request = "POST /orders"
headers = { authorization = "Bearer {token}" }
json = { card = "{card}" }
extract = { id = "/id" }

[[scenario.step]]
name = "look"
request = "GET /orders/{id}"
"#;

fn refused(text: &str, over: &Overrides) -> String {
    let error = Plan::read(&Source::built_in("orders.toml", text), over).expect_err(text);
    assert_eq!(error.reason(), "SCENARIO_INVALID");
    error.message().to_owned()
}

#[test]
fn a_good_file_tells_what_it_would_do() {
    let plan = Plan::read(&Source::built_in("orders.toml", GOOD), &Overrides::default()).expect("it is good");
    assert_eq!(plan.steps().collect::<Vec<_>>(), ["place", "look"]);
    let outline = plan.outline();
    for part in ["Orders", "5 for 1s", "first: login", "100 % order: place, look", "SLO p99 < 1s"] {
        assert!(outline.contains(part), "{part} is not in {outline}");
    }
}

#[test]
fn a_mistake_has_its_line_its_key_and_the_nearest_name() {
    for (from, to, expected) in [
        ("title =", "titel =", "orders.toml:1: titel: there is no such key; the nearest is \"title\""),
        ("rate = 5", "raet = 5", "orders.toml:5: load.raet: there is no such key; the nearest is \"rate\""),
        ("rate = 5", "rate = 'five'", "orders.toml:5: load.rate: invalid type: string \"five\""),
        (
            "name = \"place\"",
            "nmae = \"place\"",
            "scenario[0].step[0].nmae: there is no such key; the nearest is \"name\"",
        ),
        (
            "{token}",
            "{tokn}",
            "orders.toml:22: scenario[0].step[0].headers.authorization: {tokn} is nothing that is known here; the nearest is \"token\"",
        ),
        (
            "{card}",
            "{crad}",
            "scenario[0].step[0].json: {crad} is nothing that is known here; the nearest is \"card\"",
        ),
        ("declined = 1", "declined = 'often'", "variables.card: the weight of declined"),
        (
            "POST /orders",
            "PSOT /orders",
            "scenario[0].step[0].request: \"PSOT\" is no method; the nearest is \"POST\"",
        ),
        ("POST /orders", "POST http://evil/", "scenario[0].step[0].request: "),
        (
            "id = \"/id\"",
            "token = \"/id\"",
            "scenario[0].step[0].extract.token: \"token\" means something else already",
        ),
        ("id = \"/id\"", "id = \"id\"", "scenario[0].step[0].extract.id: \"id\" is no JSON pointer"),
        ("p99 < 1s", "look: p99 < 1", "orders.toml:2: slo[0]: "),
        ("p99 < 1s", "lok: p99 < 1s", "slo[0]: there is no step \"lok\"; the nearest is \"look\""),
        (
            "request = \"GET /orders/{id}\"",
            "request = \"GET /orders/{id}\"\nexpect = 42",
            "scenario[0].step[1].expect: ",
        ),
        (
            "request = \"GET /orders/{id}\"",
            "request = \"GET /orders/{id}\"\nthink = '2s..1s'",
            "scenario[0].step[1].think: ",
        ),
        (
            "request = \"GET /orders/{id}\"",
            "request = \"GET /orders/{id}\"\nheaders = { host = 'x' }",
            "headers.host: is written by",
        ),
        ("[[scenario]]\nname = \"order\"", "[[scenario]]\nname = ''", "scenario[0].name"),
        ("[load]", "[laod]", "laod: there is no such key; the nearest is \"load\""),
        ("for = \"1s\"", "for = \"1 second\"", "load.for: "),
        ("rate = 5", "rate = = 5", "orders.toml:5: "),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from} is in the file");
        let message = refused(&text, &Overrides::default());
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn a_name_is_known_only_after_it_is_extracted() {
    let text = GOOD.replacen("{card}", "{id}", 1);
    assert!(refused(&text, &Overrides::default()).contains("{id} is nothing that is known here"));
    let text = GOOD.replacen("extract = { id = \"/id\" }", "extract = { id = \"/id\" }\nchance = 0.5", 1);
    assert!(refused(&text, &Overrides::default()).contains("never left out"));
}

#[test]
fn an_argument_is_checked_as_the_file_is() {
    let over = Overrides { slos: vec!["pay: p99 < 1s".to_owned()], ..Overrides::default() };
    assert!(refused(GOOD, &over).contains("--slo: there is no step \"pay\""));
    let over = Overrides { rate: Some(1e9), ..Overrides::default() };
    assert!(refused(GOOD, &over).contains("load.rate: must be above 0 and at most 100000"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Source::file(std::path::Path::new("/nowhere/load.toml")).expect_err("it is not there");
    assert!(error.message().contains("/nowhere/load.toml: there is no such file"), "{error}");
}
