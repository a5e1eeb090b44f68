//! Looks whether the secrets of a configuration can be read, and reads none of them.

use crate::options::{Login, OpenBaoOptions};
use crate::server::{Health, Server, Term};
use banyan_core::{Check, ClockReading, Error, Finding, KnownVersions, Result, Version};
use banyan_identity::SecretExamination;
use std::collections::BTreeSet;

const VERSIONS: KnownVersions = KnownVersions { oldest: [2, 0, 0], newest: [2, 7, 0] };
/// Term of a token under which a restart of the system is likely to find it ended, in seconds.
const TERM_SECONDS_LOW: u64 = 600;
/// What the server's clock is rounded down to, in milliseconds.
const CLOCK_RESOLUTION_MS: u64 = 1_000;

pub(crate) async fn examine(options: Result<OpenBaoOptions>, asked: SecretExamination) -> Vec<Finding> {
    let options = match options {
        Ok(options) => OpenBaoOptions { request_max: options.request_max.min(asked.limit), ..options },
        Err(error) => {
            let field =
                error.violations().first().map_or("BAO_ADDR", |wrong| wrong.field.as_str()).to_owned();
            let next = format!("export {field}='…' (docs/configuration.md lists the variables)");
            return vec![Finding::of_error(Check::Configuration, "environment", &error, next)];
        }
    };
    let mut findings = Vec::new();
    if let Err(finding) = look(&options, &asked, &mut findings).await {
        findings.push(finding);
    }
    findings
}

async fn look(
    options: &OpenBaoOptions,
    asked: &SecretExamination,
    findings: &mut Vec<Finding>,
) -> Result<(), Finding> {
    let place = options.address.clone();
    let clock = &asked.env.clock;
    let unreachable = |error: Error| {
        let next = "start the server, or correct BAO_ADDR (and BAO_CACERT)";
        Finding::of_error(Check::Reachable, &place, &error, next)
    };
    let stranger = Server::stranger(options).map_err(unreachable)?;
    // The first answer may include a handshake.
    stranger.health().await.map_err(unreachable)?;
    let (began, before_ms) = (clock.now(), clock.unix_ms());
    let health = stranger.health().await.map_err(unreachable)?;
    let after_ms = clock.unix_ms();
    findings.push(Finding::reached(&place, clock.now() - began));
    let Health { version, sealed, initialized, server_time_utc } = health;
    findings.push(Finding::version(&place, &Version::parse(&version), &VERSIONS));
    findings.push(match server_time_utc {
        0 => Finding::unknown(Check::Clock, &place, "cannot tell: the server does not say its time"),
        seconds => {
            let engine_ms = seconds.saturating_mul(1_000);
            let reading = ClockReading { before_ms, engine_ms, after_ms, resolution_ms: CLOCK_RESOLUTION_MS };
            Finding::clock(&place, &reading)
        }
    });
    if !initialized {
        return Err(Finding::fail(Check::Reachable, "seal", "not initialised", "bao operator init"));
    }
    if sealed {
        return Err(Finding::fail(
            Check::Reachable,
            "seal",
            "sealed: it gives out no secrets",
            "bao operator unseal",
        ));
    }
    let (server, term) = Server::log_in(options.clone()).await.map_err(|error| refused(options, &error))?;
    findings.push(token(options, term.as_ref()));
    let paths: BTreeSet<&str> =
        asked.paths.iter().map(|path| path.split_once('#').map_or(path.as_str(), |(path, _)| path)).collect();
    for path in paths {
        findings.push(may_read(&server, path).await);
    }
    Ok(())
}

fn refused(options: &OpenBaoOptions, error: &Error) -> Finding {
    let next = match options.login {
        Login::Token(_) => "make a new token (bao token create -policy=NAME), and export BAO_TOKEN with it",
        Login::AppRole { .. } => {
            "check BAO_ROLE_ID; make a new secret id (bao write -f auth/approle/role/NAME/secret-id)"
        }
    };
    Finding::of_error(Check::Permissions, "login", error, next)
}

fn token(options: &OpenBaoOptions, term: Option<&Term>) -> Finding {
    let (check, subject) = (Check::Permissions, "login");
    let who = match options.login {
        Login::Token(_) => "the token",
        Login::AppRole { .. } => "the role",
    };
    match term {
        None => Finding::ok(check, subject, format!("{who} is accepted, for ever")),
        Some(term) if term.renewable => {
            Finding::ok(check, subject, format!("{who} is accepted for {} s, and renewed", term.seconds))
        }
        Some(term) => {
            let found = format!("{who} is accepted for {} s, and cannot be renewed", term.seconds);
            let next = "make it renewable, or use AppRole (BAO_ROLE_ID), which logs in anew";
            match (term.seconds < TERM_SECONDS_LOW, &options.login) {
                (_, Login::Token(_)) | (true, _) => Finding::warn(check, subject, found, next),
                _ => Finding::ok(check, subject, found),
            }
        }
    }
}

/// Asks what the token may do at `path`; what is there is not read.
async fn may_read(server: &Server, path: &str) -> Finding {
    let check = Check::Permissions;
    match server.capabilities(path).await {
        Ok((api_path, capabilities)) => {
            let may = capabilities.iter().any(|c| c == "read" || c == "root");
            if may {
                return Finding::ok(check, path, "may be read");
            }
            let found = format!("may not be read (the policies allow: {})", capabilities.join(", "));
            let next =
                format!("add to a policy of the token: path \"{api_path}\" {{ capabilities = [\"read\"] }}");
            Finding::fail(check, path, found, next)
        }
        Err(error) => {
            let next =
                format!("add to a policy of the token: path \"{path}\" {{ capabilities = [\"read\"] }}");
            Finding::of_error(check, path, &error, next)
        }
    }
}
