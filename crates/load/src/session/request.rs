//! A request with its values put in.

use super::{User, Workload};
use crate::limits::BODY_BYTES_MAX;
use crate::plan::{Body, Step};
use crate::template::Unset;
use banyan_core::{Rng, TraceContext};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request that can be sent, also again.
pub(super) struct Rendered {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    pub(super) trace: TraceContext,
}

impl Rendered {
    pub(super) fn to_http(&self) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

impl Workload {
    /// Puts the values of a virtual user into a step's request. A repeated look is a new request with the same key.
    ///
    /// # Errors
    /// What cannot be sent, in a few words.
    pub(super) fn request(&self, step: &Step, user: &User, rng: &Rng, run: u64) -> Result<Rendered, String> {
        let scope = self.scope(user, rng, run);
        let unset = |unset: Unset| format!("no value for {}", self.plan.names.name(unset.0));
        let path = step.path.path(&scope).map_err(unset)?;
        let uri = self.target.uri(&path).map_err(|_| "the path is no path".to_owned())?;
        let mut headers = HeaderMap::with_capacity(step.headers.len() + 4);
        let body = match &step.body {
            Body::None => Bytes::new(),
            Body::Text(template) => template.text(&scope).map_err(unset)?.into(),
            Body::Json(json) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                json.value(&scope).map_err(unset)?.to_string().into()
            }
        };
        if body.len() > BODY_BYTES_MAX {
            return Err("the body is too long".to_owned());
        }
        let value =
            |text: String| HeaderValue::from_str(&text).map_err(|_| "a header with a line break".to_owned());
        for (name, template) in &step.headers {
            headers.insert(name.clone(), value(template.text(&scope).map_err(unset)?)?);
        }
        if let Some(template) = &step.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY, value(template.text(&scope).map_err(unset)?)?);
        }
        // Ids of traces do not follow the seed: two runs would be one trace.
        let sampled = self.env.rng.unit() < self.plan.settings.trace_sample;
        let trace = TraceContext { sampled, ..TraceContext::root(&self.env.rng) };
        headers.insert(TRACEPARENT, value(trace.to_header())?);
        Ok(Rendered { method: step.method.clone(), uri, headers, body, trace })
    }
}
