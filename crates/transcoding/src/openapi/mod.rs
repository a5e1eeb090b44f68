//! Describes the HTTP side of the contracts as an OpenAPI 3.1 document (<https://spec.openapis.org/oas/v3.1.0>).

mod comments;
mod contract;
mod document;
mod operation;
mod path;
mod schema;

use crate::Transcoder;
use crate::binding::Binding;
pub use document::{AggregateRoute, Document};

use comments::{Comments, PACKAGE};
use operation::{Operations, PROBLEM};
use path::PathTemplate;
use schema::Schemas;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The HTTP methods a path item can have; a rule with another custom method is not in the document.
const HTTP_METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

impl Transcoder {
    /// Describes every HTTP rule of the exposed services, and the other routes of `document`, as an OpenAPI 3.1 document.
    ///
    /// Texts come from the contracts' comments, if the descriptors have source information. Rules with a custom HTTP
    /// method that OpenAPI does not know are left out. `x-banyan-access` says who may call: `public`, `user`, `admin`
    /// or `internal` (nobody from outside).
    pub fn openapi(&self, document: &Document) -> Value {
        let comments = Comments::read(&self.pool);
        let mut schemas = Schemas::new(&comments);
        let mut paths = self.paths(&comments, &mut schemas);
        for route in &document.aggregates {
            paths.insert(route.path.clone(), json!({"get": self.aggregate(route, &mut schemas)}));
        }
        for (path, item) in &document.paths {
            paths.insert(path.clone(), item.clone());
        }
        let mut components = schemas.finish();
        components.insert(PROBLEM.to_owned(), operation::problem());
        let mut info = json!({"title": document.title, "version": document.version});
        if !document.description.is_empty() {
            info["description"] = document.description.clone().into();
        }
        json!({
            "openapi": "3.1.0",
            "info": info,
            "tags": self.tags(&comments),
            "paths": paths,
            "components": {
                "schemas": components,
                "responses": {PROBLEM: operation::problem_response()},
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        })
    }

    fn aggregate(&self, route: &AggregateRoute, schemas: &mut Schemas<'_>) -> Value {
        let parts = route.parts.iter().map(|(key, path)| {
            let method = self.methods.iter().find(|method| method.path == *path);
            (key.clone(), method.map_or_else(|| json!({}), |method| schemas.message(&method.output)))
        });
        operation::aggregate(route, parts.collect())
    }

    fn paths<'a>(&self, comments: &'a Comments, schemas: &mut Schemas<'a>) -> Map<String, Value> {
        let mut operations = Operations::new(self, comments, schemas);
        let mut names: HashMap<String, PathTemplate> = HashMap::new();
        let mut paths: Map<String, Value> = Map::new();
        for binding in self.described() {
            let own = PathTemplate::of(&binding.template);
            // Templates that differ only in the names of their parameters are one path: the first names count.
            let path = names.entry(own.shape()).or_insert_with(|| own);
            let operation = operations.describe(binding, path);
            let item = paths.entry(path.text()).or_insert_with(|| json!({}));
            // `{a=**}` and `{a}` look alike here; the first one stays.
            let http_method = binding.http_method.to_ascii_lowercase();
            if item.get(&http_method).is_none() {
                item[http_method] = operation;
            }
        }
        paths
    }

    fn described(&self) -> impl Iterator<Item = &Binding> {
        let bindings = self.bindings.iter().map(AsRef::as_ref);
        bindings.filter(|binding| HTTP_METHODS.contains(&binding.http_method.as_str()))
    }

    fn tags(&self, comments: &Comments) -> Vec<Value> {
        let mut tags: Vec<Value> = Vec::new();
        for binding in self.described() {
            let service = binding.method.descriptor.parent_service();
            if tags.iter().any(|tag| tag["name"] == service.full_name()) {
                continue;
            }
            let mut tag = json!({"name": service.full_name()});
            let file = service.parent_file();
            if let Some(comment) = comments.of(&file, service.path()).or_else(|| comments.of(&file, &PACKAGE))
            {
                tag["description"] = comment.into();
            }
            tags.push(tag);
        }
        tags
    }
}
