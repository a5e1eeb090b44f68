//! The report is a page that any parser reads, needs nothing else, and says what the summary says.

use crate::load::{GET, run};
use crate::server::Server;
use banyan_load::{Summary, html};
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeSet;

const TITLE: &str = "A <b>title</b> & \"more\"";

async fn summary() -> Summary {
    let server = Server::start().await;
    let text = format!(
        "title = '{TITLE}'\nslo = ['p99 < 10s', 'errors < 1%']\n[load]\nrate = 100\nfor = '1s'\narrivals = 'uniform'\n{GET}\
         [[scenario]]\nname = 'bad'\n[[scenario.step]]\nname = '<bad>'\nrequest = 'GET /fail/500'\n"
    );
    run(&server, &text).go().await.expect("it runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_whole_and_its_numbers_are_those_of_the_summary() {
    let summary = summary().await;
    let page = html(&summary, Some("http://127.0.0.1:9/traces/{trace_id}"));
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).expect("every element is closed");
    let all = || document.descendants().filter(Node::is_element);

    let mut ids = BTreeSet::new();
    for node in all() {
        assert!(
            node.attribute("id").is_none_or(|id| ids.insert(id)),
            "an id is there once: {:?}",
            node.attribute("id")
        );
        assert!(node.attribute("src").is_none(), "nothing is loaded");
        assert!(
            !matches!(node.tag_name().name(), "link" | "iframe" | "object" | "embed" | "img"),
            "nothing is loaded"
        );
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "nothing is run: {}", attribute.name());
        }
    }
    for node in all() {
        let label = node.attribute("aria-labelledby");
        assert!(label.is_none_or(|id| ids.contains(id)), "{label:?} labels nothing");
    }
    assert!(!page.contains("url(") && !page.contains("@import"), "the style loads nothing");

    let text = |node: Node<'_, '_>| {
        node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect::<String>()
    };
    let find =
        |name: &str| all().find(|node| node.has_tag_name(name)).unwrap_or_else(|| panic!("{name} is there"));
    assert!(text(find("h1")).starts_with(TITLE) && text(find("h1")).contains("1 of 2 SLOs broken"));
    let script = all().find(|node| node.attribute("id") == Some("summary")).expect("the numbers are within");
    let within: Summary =
        serde_json::from_str(script.text().expect("it has text")).expect("they are a summary");
    assert_eq!(within, serde_json::from_str(&serde_json::to_string(&summary).unwrap()).unwrap());

    let tiles: Vec<(String, String)> = all()
        .filter(|node| node.has_tag_name("dt"))
        .map(|dt| (text(dt), text(dt.next_sibling_element().expect("a value follows"))))
        .collect();
    assert_eq!(tiles[0], ("requests".to_owned(), summary.requests.count.to_string()));
    assert_eq!(tiles[2], ("errors".to_owned(), format!("{:.2} %", summary.requests.error_rate * 100.0)));
    let rows: Vec<Vec<String>> = all()
        .filter(|node| node.has_tag_name("tr"))
        .map(|row| row.children().filter(Node::is_element).map(text).collect())
        .collect();
    for step in &summary.steps {
        let row =
            rows.iter().find(|row| row[0] == step.name && row.len() == 13).expect("each step has its row");
        assert_eq!(
            (row[1].as_str(), row[2].clone()),
            (step.request.as_str(), step.requests.count.to_string())
        );
    }
    let all_requests = rows.iter().find(|row| row[0] == "all requests").expect("the sum is there");
    assert_eq!(all_requests[2], summary.requests.count.to_string());
    let plots = all().filter(|node| node.attribute("role") == Some("img")).count();
    assert_eq!(plots, 4);
    let links: Vec<&str> = all().filter_map(|node| node.attribute("href")).collect();
    assert_eq!(links.len(), summary.slowest.len() + summary.failures.len());
    assert_eq!(links[0], format!("http://127.0.0.1:9/traces/{}", summary.slowest[0].trace_id));
    assert!(text(find("pre")).contains("[[scenario.step]]"), "the scenario is within");
}

#[test]
fn a_run_of_nothing_is_a_page_too() {
    let page = html(&Summary::default(), None);
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(&page, options).expect("every element is closed");
    assert!(page.contains("Nothing to show"));
}
