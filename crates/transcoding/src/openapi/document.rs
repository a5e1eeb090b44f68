//! What an OpenAPI document says that no contract says.

use crate::Access;

/// The head of an OpenAPI document, and the routes beside those of the contracts.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The name of what is described.
    pub title: String,
    /// CommonMark; empty for none.
    pub description: String,
    pub version: String,
    pub aggregates: Vec<AggregateRoute>,
    /// Path items by their path, as they are to stand in the document.
    pub paths: Vec<(String, serde_json::Value)>,
}

/// A `GET` route that answers with the responses of several methods in one JSON object.
#[derive(Clone, Debug)]
pub struct AggregateRoute {
    pub path: String,
    /// CommonMark.
    pub description: String,
    pub access: Access,
    /// Keys of the object, each with the gRPC path of the method whose response it holds.
    pub parts: Vec<(String, String)>,
}

impl Document {
    /// Makes a document of the contracts alone.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        Self { title: title.into(), version: version.into(), ..Self::default() }
    }
}
