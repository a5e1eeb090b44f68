//! The client of the card processor, a foreign HTTP API.

use crate::Settings;
use crate::domain::{Answer, Record};
use banyan::core::{ActiveSpan, SpanKind};
use banyan::prelude::*;
use banyan::resilience::Bulkhead;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The processor cannot be asked, or its answer makes no sense.
const PROCESSOR_UNAVAILABLE: Reason = Reason::new("PROCESSOR_UNAVAILABLE");
/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Connections kept open for the next requests.
const IDLE_CONNECTIONS_MAX: usize = 64;

#[derive(Clone)]
pub(crate) struct Processor {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    url: String,
    settings: Live<Settings>,
    requests: Bulkhead,
    /// What `requests` was made for.
    requests_max: Arc<AtomicUsize>,
}

impl Processor {
    pub(crate) fn new(settings: Live<Settings>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let now = settings.get();
        Self {
            http,
            url: now.processor_url.trim_end_matches('/').to_owned(),
            requests: Bulkhead::new(now.processor_requests_max, usize::MAX),
            requests_max: Arc::new(AtomicUsize::new(now.processor_requests_max)),
            settings,
        }
    }

    /// Charges the payment's card; the payment's id makes asking again safe.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if the outcome is not known.
    pub(crate) async fn charge(&self, cx: &Context, payment: &Record) -> Result<Answer> {
        let body = json!({
            "amount": payment.amount_minor,
            "currency": "gbp",
            "source": payment.card_token,
            "metadata": {"order_id": payment.order_id},
        });
        let (status, answer) = self.post(cx, "/v1/charges", &payment.payment_id, &body).await?;
        match status {
            200 => match answer["id"].as_str() {
                Some(id) => Ok(Answer::Charged { charge_id: id.to_owned() }),
                None => Err(unknown("a charge without an id")),
            },
            402 => {
                let reason = answer["error"]["decline_code"].as_str().unwrap_or("declined").to_owned();
                Ok(Answer::Declined { reason })
            }
            // A card it does not know will not be known tomorrow either.
            400 if answer["error"]["param"] == "source" => {
                Ok(Answer::Declined { reason: "invalid_card".to_owned() })
            }
            other => Err(unknown(&format!("status {other}"))),
        }
    }

    /// Gives a charge back.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if the outcome is not known.
    pub(crate) async fn refund(&self, cx: &Context, payment_id: &str, charge_id: &str) -> Result<()> {
        let key = format!("{payment_id}-refund");
        let (status, _) = self.post(cx, "/v1/refunds", &key, &json!({"charge": charge_id})).await?;
        match status {
            200 => Ok(()),
            other => Err(unknown(&format!("status {other}"))),
        }
    }

    /// Asks for the balance, which moves nothing. It takes no place from what moves money.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if the processor does not answer, or refuses the key.
    pub(crate) async fn answers(&self, cx: &Context) -> Result<()> {
        let request = Request::get(format!("{}/v1/balance", self.url))
            .header(header::AUTHORIZATION, authorization(&self.settings.get().processor_key)?)
            .body(Full::default())
            .map_err(Error::internal)?;
        let asking = async {
            let response =
                self.http.request(request).await.map_err(|e| unknown("no answer").with_source(e))?;
            match response.status() {
                StatusCode::OK => Ok(()),
                status => Err(unknown(&format!("status {}", status.as_u16()))),
            }
        };
        cx.within(asking).await
    }

    async fn post(&self, cx: &Context, path: &str, key: &str, body: &Value) -> Result<(u16, Value)> {
        let settings = self.settings.get();
        let requests_max = settings.processor_requests_max;
        if self.requests_max.swap(requests_max, Ordering::Relaxed) != requests_max {
            self.requests.resize(requests_max, usize::MAX);
        }
        let (cx, mut span) = cx.begin(SpanKind::Client, format!("POST {path}"));
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.url))
            .header("traceparent", cx.trace().to_header())
            .header(header::AUTHORIZATION, authorization(&settings.processor_key)?)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(Error::internal)?;
        describe(&mut span, &request);
        let exchange = async {
            let _permit = self.requests.enter(&cx).await?;
            let response =
                self.http.request(request).await.map_err(|e| unknown("no answer").with_source(e))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| unknown("half an answer").with_source(e))?.to_bytes();
            let value =
                serde_json::from_slice(&body).map_err(|e| unknown("an answer in no JSON").with_source(e))?;
            Ok((status, value))
        };
        let limited = async {
            tokio::time::timeout(Duration::from_millis(settings.processor_timeout_ms), exchange)
                .await
                .unwrap_or_else(|_| Err(unknown("no answer in time")))
        };
        let outcome = cx.within(limited).await;
        if let Ok((status, _)) = &outcome {
            span.attribute("http.response.status_code", u32::from(*status));
        }
        span.end(&outcome);
        outcome
    }
}

/// Says what is asked of whom.
fn describe(span: &mut ActiveSpan, request: &Request<Full<Bytes>>) {
    if !span.is_recorded() {
        return;
    }
    span.attribute("http.request.method", request.method().as_str());
    span.attribute("url.path", request.uri().path());
    if let Some(host) = request.uri().host() {
        span.attribute("server.address", host);
    }
    if let Some(port) = request.uri().port_u16() {
        span.attribute("server.port", u32::from(port));
    }
}

/// Returns how the shop proves itself to the processor.
///
/// # Errors
/// [`Code::InvalidArgument`], naming the setting and not the key.
pub(crate) fn authorization(key: &str) -> Result<http::HeaderValue> {
    let value = http::HeaderValue::from_str(&format!("Bearer {key}"));
    let mut value = value.map_err(|_| Error::invalid("processor_key", "must be visible ASCII"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unknown(what: &str) -> Error {
    Error::new(Code::Unavailable, PROCESSOR_UNAVAILABLE, format!("the card processor gave {what}; ask again"))
}
