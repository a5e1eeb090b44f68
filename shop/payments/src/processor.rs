//! The client of the card processor, a foreign HTTP API.

use crate::Settings;
use crate::domain::{Answer, Record};
use banyan::prelude::*;
use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

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
    authorization: http::HeaderValue,
    timeout: Duration,
    requests: Arc<Semaphore>,
}

impl Processor {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let url = settings.processor_url.trim_end_matches('/').to_owned();
        let valid =
            url.parse::<Uri>().is_ok_and(|u| u.scheme_str() == Some("http") && u.authority().is_some());
        if !valid {
            let key = "services.payments.processor_url";
            return Err(Error::invalid(key, "must look like http://127.0.0.1:4242"));
        }
        let mut authorization = http::HeaderValue::from_str(&format!("Bearer {}", settings.processor_key))
            .map_err(|_| Error::invalid("services.payments.processor_key", "must be visible ASCII"))?;
        authorization.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Ok(Self {
            http,
            url,
            authorization,
            timeout: Duration::from_millis(settings.processor_timeout_ms),
            requests: Arc::new(Semaphore::new(settings.processor_requests_max.clamp(1, 10_000))),
        })
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

    async fn post(&self, cx: &Context, path: &str, key: &str, body: &Value) -> Result<(u16, Value)> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(Error::internal)?;
        let exchange = async {
            let _permit = self.requests.acquire().await.map_err(Error::internal)?;
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
            tokio::time::timeout(self.timeout, exchange)
                .await
                .unwrap_or_else(|_| Err(unknown("no answer in time")))
        };
        cx.within(limited).await
    }
}

fn unknown(what: &str) -> Error {
    Error::new(Code::Unavailable, PROCESSOR_UNAVAILABLE, format!("the card processor gave {what}; ask again"))
}
