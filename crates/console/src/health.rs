//! How every part of the system is: the tree that the root finds out, once for however many ask.

use crate::answer::Answer;
use crate::app::Shared;
use axum::extract::State;
use banyan_control::contract as api;
use serde_json::{Value, json};

pub(crate) async fn health(State(app): Shared) -> Answer {
    let found = app.parts.control.get_health(&app.context(), api::GetHealthRequest {}).await;
    Answer(found.map(|tree| node(&tree)))
}

/// Shows a part with those below it.
pub(crate) fn node(of: &api::HealthNode) -> Value {
    json!({
        "name": of.name, "kind": of.kind, "status": of.status,
        "latency_ms": of.latency_us.map(|us| us as f64 / 1e3), "checked_ms": of.checked_ms,
        "message": Some(&of.message).filter(|message| !message.is_empty()),
        "children": of.children.iter().map(node).collect::<Vec<_>>(),
    })
}

/// Finds the part that is a service.
pub(crate) fn of_service<'t>(tree: &'t api::HealthNode, service: &str) -> Option<&'t api::HealthNode> {
    if tree.kind == "service" && tree.name == service {
        return Some(tree);
    }
    tree.children.iter().find_map(|child| of_service(child, service))
}
