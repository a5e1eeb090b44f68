//! Looks whether a NATS server can be used, and changes nothing that stays.

use crate::errors::error_code;
use crate::log::{NatsLog, check_jetstream, dial};
use crate::options::NatsOptions;
use async_nats::Client;
use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use banyan_core::{Check, ClockReading, Error, Finding, KnownVersions, Result, Version};
use banyan_event_log::LogExamination;
use std::time::Duration;

const VERSIONS: KnownVersions = KnownVersions { oldest: [2, 12, 0], newest: [2, 15, 0] };
/// Times that the smallest question is asked; the fastest answer counts.
const LATENCY_ROUNDS: usize = 3;
/// Part of the time of an examination that one question may take: one in so many.
const QUESTION_PART: u32 = 2;
/// How long the probe's message would stay if its stream could not be removed.
const PROBE_AGE_MAX: Duration = Duration::from_secs(60);
/// Share of the storage that may be in use without a warning, in percent.
const STORAGE_PERCENT_WARN: u64 = 80;

pub(crate) async fn examine(options: Result<NatsOptions>, asked: LogExamination) -> Vec<Finding> {
    let options = match options.and_then(|options| options.check().map(|_| options)) {
        Ok(options) => NatsOptions {
            request_timeout: options.request_timeout.min(asked.limit / QUESTION_PART),
            ..options
        },
        Err(error) => {
            return vec![Finding::of_error(Check::Configuration, "URL", &error, "correct events.url")];
        }
    };
    let mut findings = vec![asked.guarantees(NatsLog::CAPABILITIES)];
    // The client's futures are large.
    if let Err(finding) = Box::pin(look(&options, &asked, &mut findings)).await {
        findings.push(finding);
    }
    findings
}

async fn look(
    options: &NatsOptions,
    asked: &LogExamination,
    findings: &mut Vec<Finding>,
) -> Result<(), Finding> {
    let clock = &asked.options.env.clock;
    let (client, _) = dial(options).await.map_err(|error| not_connected(&error))?;
    let mut fastest = None;
    for _ in 0..LATENCY_ROUNDS {
        let began = clock.now();
        let flushed = tokio::time::timeout(options.request_timeout, client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            return Err(Finding::silent("server", options.request_timeout, "look whether the server hangs"));
        }
        fastest = fastest.into_iter().chain([clock.now() - began]).min();
    }
    findings.push(Finding::reached("server", fastest.unwrap_or_default()));
    let info = client.server_info();
    findings.push(Finding::version("server", &Version::parse(&info.version), &VERSIONS));
    findings.push(payload(info.max_payload, options));
    let context = ContextBuilder::new().timeout(options.request_timeout).build(client.clone());
    if let Err(error) = check_jetstream(&context, &options.hosts()).await {
        let next =
            "run the server with `jetstream {}` in its configuration (or -js), and enable it for the account";
        return Err(Finding::of_error(Check::Permissions, "JetStream", &error, next));
    }
    findings.push(Finding::ok(Check::Permissions, "JetStream", "enabled"));
    if let Ok(account) = context.query_account().await {
        findings.extend(limits(&account));
    }
    match probe(&client, &context, options, asked).await {
        Ok(reading) => {
            let found = "may make, write, read and delete streams";
            findings.push(Finding::ok(Check::Permissions, "streams", found));
            findings.push(Finding::clock("server", &reading));
        }
        Err(error) => {
            let next = format!(
                "let the user publish to $JS.API.> and {prefix}.>, and subscribe to _INBOX.>; with replicas={replicas} the \
                 cluster needs as many servers",
                prefix = options.prefix,
                replicas = options.replicas
            );
            findings.push(Finding::of_error(Check::Permissions, "streams", &error, next));
            findings.push(Finding::unknown(Check::Clock, "server", "cannot tell: no message could be kept"));
        }
    }
    Ok(())
}

fn not_connected(error: &Error) -> Finding {
    let next = match error.code() {
        banyan_core::Code::Unauthenticated => "correct user and password, or the token, in events.url",
        _ => "start the server, or correct host and port in events.url",
    };
    Finding::of_error(Check::Reachable, "server", error, next)
}

fn payload(most: usize, options: &NatsOptions) -> Finding {
    let found = format!("{} KiB; events may have {} KiB", most >> 10, options.payload_bytes_max >> 10);
    match most < options.payload_bytes_max {
        true => {
            let next = "raise max_payload in the server's configuration";
            Finding::warn(Check::Limits, "max_payload", format!("{found}: larger ones are refused"), next)
        }
        false => Finding::ok(Check::Limits, "max_payload", found),
    }
}

fn limits(account: &Account) -> Vec<Finding> {
    let mut findings = Vec::new();
    let most = account.limits.max_storage.and_then(|most| u64::try_from(most).ok());
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    findings.push(match most {
        None => {
            let found = format!("{} MiB in use, no bound for the account", mebibytes(account.storage));
            Finding::ok(Check::Limits, "storage", found)
        }
        Some(most) => {
            let found = format!("{} of {} MiB in use", mebibytes(account.storage), mebibytes(most));
            let percent = account.storage.saturating_mul(100) / most.max(1);
            match percent >= STORAGE_PERCENT_WARN {
                true => {
                    let next = "raise max_file of the account, or keep events for a shorter time \
                                (limits.topic_retention_hours)";
                    Finding::warn(Check::Limits, "storage", found, next)
                }
                false => Finding::ok(Check::Limits, "storage", found),
            }
        }
    });
    if let Some(most) = account.limits.max_streams {
        let found = format!("{} of {most} in use; a topic takes one for each partition", account.streams);
        let full = i64::try_from(account.streams).is_ok_and(|streams| streams >= most);
        findings.push(match full {
            true => Finding::warn(Check::Limits, "streams", found, "raise max_streams of the account"),
            false => Finding::ok(Check::Limits, "streams", found),
        });
    }
    if account.limits.max_bytes_required {
        let next = "take max_bytes_required off the account: topics are bounded by age";
        let found = "the account wants a bound in bytes for every stream";
        findings.push(Finding::fail(Check::Limits, "max_bytes", found, next));
    }
    findings
}

/// Makes a stream as a topic's, keeps a message in it, reads it with the server's time, and deletes the stream.
async fn probe(
    client: &Client,
    context: &Context,
    options: &NatsOptions,
    asked: &LogExamination,
) -> Result<ClockReading> {
    let env = &asked.options.env;
    let (prefix, id) = (&options.prefix, env.new_id());
    let (name, subject) = (format!("{prefix}_doctor_{id}"), format!("{prefix}.doctor.{id}"));
    let config = Config {
        name: name.clone(),
        description: Some("made by doctor, which removes it again".to_owned()),
        subjects: vec![subject.clone()],
        max_age: PROBE_AGE_MAX,
        duplicate_window: PROBE_AGE_MAX,
        max_messages: 1,
        storage: StorageType::File,
        num_replicas: options.replicas,
        allow_direct: true,
        allow_atomic_publish: true,
        ..Config::default()
    };
    let stream = context.create_stream(config).await.map_err(|e| refused("making a stream", e))?;
    let used = async {
        let before_ms = env.clock.unix_ms();
        let sent = jetstream::message::PublishMessage::build().payload("probe".into());
        let sent = context.send_publish(subject, sent).await.map_err(|e| refused("publishing", e))?;
        let kept = sent.await.map_err(|e| refused("publishing", e))?;
        let after_ms = env.clock.unix_ms();
        let message = stream.direct_get(kept.sequence).await.map_err(|e| refused("reading a stream", e))?;
        let engine_ms = (message.time.unix_timestamp_nanos() / 1_000_000) as u64;
        Ok(ClockReading { before_ms, engine_ms, after_ms, resolution_ms: 1 })
    };
    let used = used.await;
    let deleted = context.delete_stream(&name).await.map_err(|e| refused("deleting a stream", e));
    // What was allowed to be published has been said; the connection is not needed any more.
    let _ = client.flush().await;
    deleted.and(used)
}

fn refused(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = match error_code(&source) {
        Some(_) => format!("the server refuses {what}"),
        None => format!("the server did not answer: {what}; it may not be allowed"),
    };
    Error::permission_denied(message).with_source(source)
}
