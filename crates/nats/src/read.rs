//! Reading a partition by sequence or time, without any consumer: batched direct reads.

use crate::cloud_event::{self, rfc3339, to_unix_ms};
use crate::errors::unavailable;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::{HeaderMap, StatusCode, header};
use banyan_core::{Envelope, Error, Result};
use banyan_event_log::{Position, Record};
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Most records of one read.
const RECORDS_MAX: usize = 1_000;
/// Most bytes of one read.
const BYTES_MAX: usize = 8 << 20;

/// Reads one partition's stream.
pub(crate) struct Reader<'a> {
    pub(crate) context: &'a Context,
    pub(crate) timeout: Duration,
    pub(crate) stream: String,
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
}

impl Reader<'_> {
    /// Reads records from an offset on; the first is returned whatever its size. The answering server may not have the
    /// newest ones yet.
    pub(crate) async fn read_from(
        &self,
        offset: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Record>> {
        let question = json!({
            "seq": offset + 1,
            "batch": records_max.clamp(1, RECORDS_MAX),
            "max_bytes": bytes_max.clamp(1, BYTES_MAX),
        });
        self.ask(question).await
    }

    /// Returns the offset of the first event that was taken at `time_ms` or later, if there is one.
    pub(crate) async fn offset_at(&self, time_ms: u64) -> Result<Option<u64>> {
        // The beginning of time has no form of its own.
        let time = rfc3339(time_ms.max(1));
        if time.is_empty() {
            return Ok(None);
        }
        let records = self.ask(json!({ "start_time": time, "batch": 1 })).await?;
        Ok(records.first().map(|r| r.position.offset))
    }

    /// Reads one record from the server that leads the stream.
    pub(crate) async fn one_from_leader(&self, offset: u64) -> Result<Option<Record>> {
        let failed = "reading a partition";
        let stream =
            self.context.get_stream_no_info(&self.stream).await.map_err(|e| unavailable(failed, e))?;
        match stream.get_raw_message(offset + 1).await {
            Ok(message) => {
                let time = to_unix_ms(message.time);
                Ok(Some(self.record(message.sequence, time, Some(&message.headers), &message.payload)))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable(failed, error)),
        }
    }

    async fn ask(&self, question: Value) -> Result<Vec<Record>> {
        let failed = "reading a partition";
        let client = self.context.client();
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| unavailable(failed, e))?;
        let subject = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let sent = client.publish_with_reply(subject, inbox, question.to_string().into()).await;
        sent.map_err(|e| unavailable(failed, e))?;
        let mut records = Vec::new();
        loop {
            let Ok(Some(answer)) = tokio::time::timeout(self.timeout, answers.next()).await else {
                return Err(Error::unavailable(format!("NATS did not answer: {failed}")));
            };
            match answer.status {
                None | Some(StatusCode::OK) => {
                    let headers = answer.headers.as_ref();
                    let (sequence, time_ms) = headers.and_then(place).ok_or_else(not_understood)?;
                    records.push(self.record(sequence, time_ms, headers, &answer.payload));
                }
                // The end of the batch, or nothing there.
                Some(status) if status.as_u16() == 204 || status == StatusCode::NOT_FOUND => {
                    return Ok(records);
                }
                Some(status) if status == StatusCode::NO_RESPONDERS => {
                    return Err(Error::unavailable("no server of NATS answers for the partition"));
                }
                Some(status) => {
                    let description = answer.description.unwrap_or_default();
                    return Err(Error::unavailable(format!(
                        "NATS refused: {failed}: {status} {description}"
                    )));
                }
            }
        }
    }

    fn record(
        &self,
        sequence: u64,
        appended_ms: u64,
        headers: Option<&HeaderMap>,
        payload: &bytes::Bytes,
    ) -> Record {
        let position =
            Position { topic: self.topic.to_owned(), partition: self.partition, offset: sequence - 1 };
        let envelope = envelope(self.topic, &self.stream, sequence, headers, payload, appended_ms);
        Record { position, appended_ms, envelope }
    }
}

/// Reads a message's event.
pub(crate) fn envelope(
    topic: &str,
    stream: &str,
    sequence: u64,
    headers: Option<&HeaderMap>,
    payload: &bytes::Bytes,
    appended_ms: u64,
) -> Envelope {
    cloud_event::read(topic, headers, payload, appended_ms, || format!("{stream}/{sequence}"))
}

/// Reads where a message is kept, and since when.
fn place(headers: &HeaderMap) -> Option<(u64, u64)> {
    let sequence = headers.get(header::NATS_SEQUENCE)?.as_str().parse().ok()?;
    let time = OffsetDateTime::parse(headers.get(header::NATS_TIME_STAMP)?.as_str(), &Rfc3339).ok()?;
    Some((sequence, to_unix_ms(time)))
}

fn not_understood() -> Error {
    Error::unavailable("an answer of NATS has no sequence or time: it is too old, or something is between")
}
