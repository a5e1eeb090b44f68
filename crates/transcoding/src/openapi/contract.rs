//! One contract, described for those who call it with JSON.

use crate::Transcoder;
use crate::openapi::comments::Comments;
use crate::openapi::schema::Schemas;
use serde_json::{Value, json};

impl Transcoder {
    /// Describes every method of the exposed service `name`, also those without an HTTP rule: the JSON Schemas of its request and
    /// its response, which refer to `components.schemas` of the same document, and what the contract says of it. `None` for
    /// a service that is not exposed.
    pub fn describe(&self, name: &str) -> Option<Value> {
        let comments = Comments::read(&self.pool);
        let mut schemas = Schemas::new(&comments);
        let methods: Vec<Value> = self
            .methods()
            .filter(|method| method.service == name)
            .map(|method| {
                let descriptor = &method.descriptor;
                json!({
                    "name": method.name,
                    "description": comments.of(&descriptor.parent_file(), descriptor.path()),
                    "input": schemas.message(&method.input),
                    "output": schemas.message(&method.output),
                })
            })
            .collect();
        let components = schemas.finish();
        (!methods.is_empty())
            .then(|| json!({"name": name, "methods": methods, "components": {"schemas": components}}))
    }
}
