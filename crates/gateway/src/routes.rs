//! What a gateway serves, by the names that a configuration may use for it.

use crate::aggregate::Aggregate;
use banyan::{System, suggestion};
use banyan_transcoding::Transcoder;
use std::collections::BTreeSet;

/// The routes of a gateway.
pub(crate) struct Routes(Vec<Route>);

struct Route {
    /// What requests are dispatched by: the gRPC path of a method, the path of an aggregate, the prefix of a mount.
    id: String,
    names: BTreeSet<String>,
}

impl Routes {
    pub(crate) fn new(system: &System, aggregates: &[Aggregate], contracts: &Transcoder) -> Self {
        let mut routes: Vec<_> = contracts
            .methods()
            .map(|method| Route { id: method.path.clone(), names: BTreeSet::from([method.path.clone()]) })
            .collect();
        for (method, verb, path) in contracts.rules() {
            if let Some(route) = routes.iter_mut().find(|route| route.id == method.path) {
                route.names.extend([path.to_owned(), format!("{verb} {path}")]);
            }
        }
        routes.extend(aggregates.iter().map(|aggregate| {
            let path = aggregate.path();
            Route { id: path.to_owned(), names: BTreeSet::from([path.to_owned(), format!("GET {path}")]) }
        }));
        let mounts = system.services().iter().filter_map(|service| service.mount());
        routes.extend(mounts.map(|mount| {
            let prefix = mount.prefix().to_owned();
            Route { id: prefix.clone(), names: BTreeSet::from([prefix]) }
        }));
        Self(routes)
    }

    /// Returns the routes that `patterns` name: all of them without patterns.
    ///
    /// # Errors
    /// The pattern that names none.
    pub(crate) fn select(&self, patterns: &[String]) -> Result<BTreeSet<&str>, String> {
        if patterns.is_empty() {
            return Ok(self.0.iter().map(|route| route.id.as_str()).collect());
        }
        let mut selected = BTreeSet::new();
        for pattern in patterns {
            let fits = |name: &String| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            };
            let mut named = false;
            for route in self.0.iter().filter(|route| route.names.iter().any(fits)) {
                named = true;
                selected.insert(route.id.as_str());
            }
            if !named {
                return Err(pattern.clone());
            }
        }
        Ok(selected)
    }

    /// Says that a pattern names no route, and which one it may have meant.
    pub(crate) fn unknown(&self, pattern: &str) -> String {
        let names = self.0.iter().flat_map(|route| &route.names).map(String::as_str);
        let nearest = suggestion(pattern, names);
        // All routes would be a long list.
        let hint =
            if nearest.starts_with("the nearest") { nearest.as_str() } else { "/openapi.json has them all" };
        format!("there is no route {pattern:?}; {hint}")
    }
}
