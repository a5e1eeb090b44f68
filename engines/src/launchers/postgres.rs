//! PostgreSQL, Debian's package (15 on Debian 12).

use super::{Facts, Launch, Launcher, Site, ask, run};
use crate::install::Packages;
use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

/// The system user that Debian's package makes; the server refuses to run as root.
const SYSTEM_USER: &str = "postgres";
/// How long the making of a data folder, or of a database, may take.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// The end of the server's first answer to a client: ReadyForQuery, outside a transaction.
const READY: &[u8] = b"Z\0\0\0\x05I";

pub(crate) struct Postgres;

impl Launcher for Postgres {
    fn facts(&self) -> &'static Facts {
        static FACTS: Facts = Facts {
            name: "postgres",
            programs: &["/usr/lib/postgresql/*/bin/postgres"],
            packages: Packages::apt(&["postgresql"]),
            start_limit: Duration::from_secs(60),
            // Fast shutdown: clients are disconnected.
            stop_signal: Signal::INT,
            // Immediate shutdown: a crash as far as data are concerned, but the server gives its shared memory back.
            abort_signal: Signal::QUIT,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            if site.data().join("PG_VERSION").is_file() {
                return Ok(());
            }
            if rustix::process::geteuid().is_root() {
                let (user, group) = system_user(SYSTEM_USER)?;
                chown(site.data(), Some(user), Some(group))
                    .context("give the data folder to the server's user")?;
            }
            let initdb = as_system_user(&beside(&site.program, "initdb")).arg("-D").arg(site.data()).args([
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]);
            run(initdb, &site.folder, RUN_LIMIT).await.map(drop)
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let settings = [
            "listen_addresses=127.0.0.1",
            // The path of a socket is limited to 107 bytes, and clients use TCP.
            "unix_socket_directories=",
            "wal_level=logical",
            "max_connections=200",
            // Tests that share a server have slots at the same time, and some leave theirs behind.
            "max_replication_slots=100",
            "max_wal_senders=100",
        ];
        let launch = as_system_user(&site.program).arg("-D").arg(site.data());
        let launch = launch.args(["-p".to_owned(), site.port.to_string()]);
        Ok(settings.iter().fold(launch, |launch, setting| launch.args(["-c", setting])))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { ask(site.port, &startup_message(), READY).await.map(drop) })
    }

    fn url(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    fn create_database<'a>(
        &'a self,
        program: &'a Path,
        url: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let sql = format!("CREATE DATABASE \"{name}\"");
            let psql = Launch::new(beside(program, "psql")).args(["-X", "-q", "-w", "-c", &sql, url]);
            run(psql, Path::new("/"), RUN_LIMIT).await.map(drop)
        })
    }
}

fn beside(program: &Path, name: &str) -> std::path::PathBuf {
    program.with_file_name(name)
}

/// Runs a program as it is, or, for root, as the system user: with the right to pass through folders that are closed to
/// that user, because the project may be anywhere.
fn as_system_user(program: &Path) -> Launch {
    if !rustix::process::geteuid().is_root() {
        return Launch::new(program);
    }
    Launch::new("setpriv")
        .arg(format!("--reuid={SYSTEM_USER}"))
        .arg(format!("--regid={SYSTEM_USER}"))
        .args(["--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"])
        .arg(program)
}

/// Returns the ids of a user and of its group (see passwd(5)).
fn system_user(name: &str) -> Result<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let row = text.lines().find(|line| line.split(':').next() == Some(name));
    let fields: Vec<_> = row.with_context(|| format!("there is no user {name}"))?.split(':').collect();
    ensure!(fields.len() > 3, "the row of {name} in /etc/passwd is too short");
    Ok((fields[2].parse()?, fields[3].parse()?))
}

/// Builds the first message of a client (protocol 3.0): user and database `postgres`.
fn startup_message() -> Vec<u8> {
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).expect("a constant of some forty bytes");
    [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters].concat()
}
