//! Finds the binding of an HTTP method and path, by a tree of path segments.
//!
//! The outcome does not depend on the order of declaration: a literal beats `*`, `*` beats `**`, a custom verb beats
//! none, and two templates that match the same paths are refused when the tree is built.

use crate::binding::Binding;
use crate::method::Method;
use crate::percent;
use crate::template::Segment;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What a path leads to.
#[derive(Debug)]
pub enum RouteMatch {
    /// A method of a service.
    Found(Match),
    /// The path exists, but not with this HTTP method; `allowed` is sorted and not empty.
    MethodNotAllowed { allowed: Vec<String> },
    /// No template matches the path.
    NotFound,
}

/// A request path that fits a template: the method it leads to and the values of its variables.
#[derive(Clone, Debug)]
pub struct Match {
    pub(crate) binding: Arc<Binding>,
    /// One value for each variable of the template; `None` if it is not valid percent-encoded UTF-8.
    pub(crate) values: Vec<Option<String>>,
}

impl Match {
    /// Returns the method the path leads to; its `response_body` is that of the matched rule.
    pub fn method(&self) -> &Method {
        &self.binding.method
    }

    /// Returns the path template as the contract writes it: a name for the route with few distinct values.
    pub fn template(&self) -> &str {
        &self.binding.path
    }

    /// Returns the variables of the path: field path and decoded value.
    pub fn path_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.binding.variables.iter().map(|field| field.text.as_str());
        fields.zip(self.values.iter().map(|value| value.as_deref().unwrap_or_default()))
    }
}

/// A tree of path segments whose leaves are bindings.
#[derive(Debug, Default)]
pub(crate) struct Routes(Node);

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    one: Option<Box<Node>>,
    /// Bindings that end here.
    here: Vec<Arc<Binding>>,
    /// Bindings whose `**` stands here.
    rest: Vec<Arc<Binding>>,
}

impl Routes {
    /// Adds a binding; fails with the one that already has the same HTTP method and matches the same paths.
    pub(crate) fn add(&mut self, binding: Arc<Binding>) -> Result<(), Arc<Binding>> {
        let mut node = &mut self.0;
        let mut ends_with_rest = false;
        for segment in &binding.template.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                Segment::One => node = node.one.get_or_insert_default(),
                Segment::Rest => ends_with_rest = true,
            }
        }
        let leaf = if ends_with_rest { &mut node.rest } else { &mut node.here };
        let same = |other: &&Arc<Binding>| {
            other.http_method == binding.http_method && other.template.verb == binding.template.verb
        };
        if let Some(other) = leaf.iter().find(same) {
            return Err(other.clone());
        }
        leaf.push(binding);
        Ok(())
    }

    /// Finds the binding for a request; `path` is percent-encoded and without its query.
    pub(crate) fn find(&self, http_method: &str, path: &str) -> RouteMatch {
        let Some(path) = path.strip_prefix('/') else {
            return RouteMatch::NotFound;
        };
        let mut segments: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let mut search = Search { http_method, verb: None, allowed: BTreeSet::new() };
        if let Some((last, verb)) = segments.last().and_then(|last| last.rsplit_once(':'))
            && let Some(verb) = percent::decode(verb)
        {
            let whole = segments.pop();
            segments.push(last);
            search.verb = Some(&verb);
            if let Some(binding) = search.visit(&self.0, &segments) {
                return found(binding, &segments);
            }
            if !search.allowed.is_empty() {
                return search.refused();
            }
            search.verb = None;
            segments.pop();
            segments.extend(whole);
            return search.finish(&self.0, &segments);
        }
        search.finish(&self.0, &segments)
    }
}

struct Search<'a> {
    http_method: &'a str,
    verb: Option<&'a str>,
    /// HTTP methods of the bindings that match the path but not the request's method.
    allowed: BTreeSet<&'a str>,
}

impl<'a> Search<'a> {
    fn finish(mut self, root: &'a Node, segments: &[&str]) -> RouteMatch {
        match self.visit(root, segments) {
            Some(binding) => found(binding, segments),
            None => self.refused(),
        }
    }

    fn refused(self) -> RouteMatch {
        if self.allowed.is_empty() {
            return RouteMatch::NotFound;
        }
        RouteMatch::MethodNotAllowed { allowed: self.allowed.into_iter().map(str::to_owned).collect() }
    }

    /// Searches depth-first; every node is visited at most once, because each has one parent and one depth.
    fn visit(&mut self, node: &'a Node, segments: &[&str]) -> Option<&'a Arc<Binding>> {
        let Some((segment, others)) = segments.split_first() else {
            return self.pick(&node.here).or_else(|| self.pick(&node.rest));
        };
        if let Some(child) = percent::decode(segment).and_then(|text| node.literals.get(text.as_ref()))
            && let Some(binding) = self.visit(child, others)
        {
            return Some(binding);
        }
        if let Some(child) = &node.one
            && !segment.is_empty()
            && let Some(binding) = self.visit(child, others)
        {
            return Some(binding);
        }
        self.pick(&node.rest)
    }

    fn pick(&mut self, bindings: &'a [Arc<Binding>]) -> Option<&'a Arc<Binding>> {
        let of_verb = || bindings.iter().filter(|binding| binding.template.verb.as_deref() == self.verb);
        let picked = of_verb()
            .find(|binding| binding.http_method == self.http_method)
            .or_else(|| of_verb().find(|binding| binding.http_method == "*"));
        if picked.is_none() {
            self.allowed.extend(of_verb().map(|binding| binding.http_method.as_str()));
        }
        picked
    }
}

fn found(binding: &Arc<Binding>, segments: &[&str]) -> RouteMatch {
    let template = &binding.template;
    let value = |variable: &crate::template::Variable| {
        if variable.is_single(template) {
            return percent::decode(segments[variable.segments.start]).map(|value| value.into_owned());
        }
        let ends_with_rest = template.segments[variable.segments.end - 1] == Segment::Rest;
        let end = if ends_with_rest { segments.len() } else { variable.segments.end };
        let decoded: Option<Vec<_>> =
            segments[variable.segments.start..end].iter().map(|raw| percent::decode_but_slash(raw)).collect();
        Some(decoded?.join("/"))
    };
    let values = template.variables.iter().map(value).collect();
    RouteMatch::Found(Match { binding: binding.clone(), values })
}
