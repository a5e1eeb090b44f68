//! Looks whether a RabbitMQ server can be used, and changes nothing that stays.

use crate::connection::{ask, connect};
use crate::errors::{RABBITMQ_VHOST_REFUSED, RABBITMQ_WITHOUT_STREAMS};
use crate::log::RabbitLog;
use crate::options::RabbitOptions;
use crate::stream::{Bounds, From, Tail, declare};
use banyan_core::{Check, Code, Error, Finding, Result};
use banyan_event_log::LogExamination;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Channel, Connection};
use std::time::Duration;

/// Times that the smallest question is asked; the fastest answer counts.
const LATENCY_ROUNDS: usize = 3;
/// How long the probe's message would stay if its stream could not be deleted, in milliseconds.
const PROBE_AGE_MS_MAX: u64 = 60_000;
/// Channels that a process with many partitions takes on one connection.
const CHANNELS_WANTED: u16 = 256;
/// Part of the time of an examination that one question may take: one in so many.
const QUESTION_PART: u32 = 3;

pub(crate) async fn examine(options: Result<RabbitOptions>, asked: LogExamination) -> Vec<Finding> {
    let options = match options.and_then(|options| options.check().map(|_| options)) {
        Ok(options) => RabbitOptions {
            request_timeout: options.request_timeout.min(asked.limit / QUESTION_PART),
            ..options
        },
        Err(error) => {
            return vec![Finding::of_error(Check::Configuration, "URL", &error, "correct events.url")];
        }
    };
    let mut findings = vec![asked.guarantees(RabbitLog::CAPABILITIES)];
    match connect(&options, options.heartbeat).await {
        Ok(connection) => {
            look(&connection, &options, &asked, &mut findings).await;
            let closing = connection.close(200, "examined".into());
            // Who does not answer the farewell is left without it.
            let _ = tokio::time::timeout(options.request_timeout, closing).await;
        }
        Err(error) => findings.push(not_connected(&error)),
    }
    findings
}

fn not_connected(error: &Error) -> Finding {
    let (check, subject) = match error.is(RABBITMQ_VHOST_REFUSED) {
        true => (Check::Permissions, "virtual host"),
        false => (Check::Reachable, "server"),
    };
    let next = match error.code() {
        Code::Unauthenticated => {
            "correct user and password in events.url (rabbitmqctl authenticate_user NAME PASSWORD)"
        }
        Code::FailedPrecondition => {
            "rabbitmqctl add_vhost VHOST; rabbitmqctl set_permissions -p VHOST NAME '.*' '.*' '.*'"
        }
        _ => "start the server, or correct host and port in events.url",
    };
    Finding::of_error(check, subject, error, next)
}

async fn look(
    connection: &Connection,
    options: &RabbitOptions,
    asked: &LogExamination,
    findings: &mut Vec<Finding>,
) {
    let (clock, limit) = (&asked.options.env.clock, options.request_timeout);
    let mut fastest = None;
    for _ in 0..LATENCY_ROUNDS {
        let began = clock.now();
        match ask(limit, "opening a channel", connection.create_channel()).await {
            Ok(_) => fastest = fastest.into_iter().chain([clock.now() - began]).min(),
            Err(error) => {
                let next = "look into the server's log; it may have an alarm (rabbitmq-diagnostics alarms)";
                return findings.push(Finding::of_error(Check::Reachable, "server", &error, next));
            }
        }
    }
    findings.push(Finding::reached("server", fastest.unwrap_or_default()));
    findings.push(Finding::no_clock("server"));
    findings.push(channels(connection.configuration().channel_max()));
    let name = format!("{}.doctor.{}", options.prefix, asked.options.env.new_id());
    let probed = probe(connection, limit, &name).await;
    // That streams can be kept is all that counts of the version.
    findings.push(match &probed {
        Ok(()) => Finding::ok(Check::Version, "server", "keeps streams (3.9 or later does; 3.10 is tested)"),
        Err(error) if error.is(RABBITMQ_WITHOUT_STREAMS) => {
            let next = "upgrade it to 3.9 or later, and run rabbitmqctl enable_feature_flag all";
            Finding::of_error(Check::Version, "server", error, next)
        }
        Err(_) => Finding::unknown(Check::Version, "server", "cannot tell: no stream could be made"),
    });
    findings.push(match probed {
        Ok(()) => Finding::ok(Check::Permissions, "streams", "may make, write, read and delete streams"),
        Err(error) => {
            let prefix = &options.prefix;
            let next = format!(
                "rabbitmqctl set_permissions -p VHOST NAME '^{prefix}\\.' '^({prefix}\\.|amq\\.default$)' '^{prefix}\\.'"
            );
            Finding::of_error(Check::Permissions, "streams", &error, next)
        }
    });
}

fn channels(most: u16) -> Finding {
    let found = match most {
        0 => "no bound".to_owned(),
        most => format!("{most} on a connection; each partition that is written to takes one"),
    };
    match most != 0 && most < CHANNELS_WANTED {
        true => {
            let next = format!("set channel_max = {CHANNELS_WANTED} or more in rabbitmq.conf");
            Finding::warn(Check::Limits, "channel_max", found, next)
        }
        false => Finding::ok(Check::Limits, "channel_max", found),
    }
}

/// Makes a stream as a topic's, writes to it, reads it, and deletes it.
async fn probe(connection: &Connection, limit: Duration, name: &str) -> Result<()> {
    let channel = ask(limit, "opening a channel", connection.create_channel()).await?;
    let bounds = Bounds { age_ms_max: Some(PROBE_AGE_MS_MAX), ..Bounds::default() };
    declare(&channel, limit, name, bounds).await?;
    let used = write_and_read(connection, limit, name).await;
    // What was refused has ended its channel.
    let channel = ask(limit, "opening a channel", connection.create_channel()).await?;
    let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
    let deleted = ask(limit, "deleting a stream", deleted).await;
    used.and(deleted.map(drop))
}

async fn write_and_read(connection: &Connection, limit: Duration, name: &str) -> Result<()> {
    let channel: Channel = ask(limit, "opening a channel", connection.create_channel()).await?;
    ask(limit, "asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let sent = channel.basic_publish(
        "".into(),
        name.into(),
        BasicPublishOptions::default(),
        b"probe",
        BasicProperties::default(),
    );
    let confirmed = ask(limit, "publishing", sent).await?;
    ask(limit, "publishing", confirmed).await?;
    let reader = ask(limit, "opening a channel", connection.create_channel()).await?;
    let mut tail = Tail::open(reader, limit, name, From::First, 1).await?;
    let read = tokio::time::timeout(limit, tail.next()).await;
    read.map_err(|_| Error::unavailable("RabbitMQ did not answer in time: reading a stream"))?.map(drop)
}
