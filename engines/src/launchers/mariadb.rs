//! MariaDB, Debian's package (10.11 on Debian 12): the MySQL protocol.

use super::{Facts, Launch, Launcher, Site, ask, run};
use crate::install::Packages;
use anyhow::{Context, Result};
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;

/// How long the making of a data folder, or of a database, may take.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// The database that the URL names, made at every start if it is missing.
const FIRST_DATABASE: &str = "CREATE DATABASE IF NOT EXISTS banyan CHARACTER SET utf8mb4;\n";

pub(crate) struct MariaDb;

impl Launcher for MariaDb {
    fn facts(&self) -> &'static Facts {
        static FACTS: Facts = Facts {
            name: "mariadb",
            programs: &["/usr/sbin/mariadbd", "mariadbd"],
            packages: Packages::apt(&["mariadb-server"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn prepare<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            site.write("first.sql", FIRST_DATABASE)?;
            let temporary = temporary(site);
            std::fs::create_dir_all(&temporary).with_context(|| format!("create {}", temporary.display()))?;
            if site.data().join("mysql").is_dir() {
                return Ok(());
            }
            let options = ["--auth-root-authentication-method=normal", "--skip-test-db"];
            let install = Launch::new("mariadb-install-db").arg("--no-defaults").args(run_as());
            let install = install.env("TMPDIR", temporary);
            run(install.args(options).arg(option("--datadir=", &site.data())), &site.folder, RUN_LIMIT)
                .await?;
            Ok(())
        })
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        Ok(Launch::new(&site.program)
            .arg("--no-defaults")
            .args(run_as())
            .arg(option("--datadir=", &site.data()))
            .env("TMPDIR", temporary(site))
            // Relative to the data folder: the path of a socket is limited to 107 bytes.
            .args(["--socket=m.sock", "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .arg(format!("--port={}", site.port))
            .arg(option("--init-file=", &site.folder.join("first.sql")))
            .args([
                "--character-set-server=utf8mb4",
                "--innodb-buffer-pool-size=64M",
                "--max-connections=200",
            ])
            // Readiness probes and cut connections are "errors", after which the server would refuse this host.
            .arg("--max-connect-errors=1000000"))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { ask(site.port, b"", b"MariaDB").await.map(drop) })
    }

    fn url(&self, port: u16) -> String {
        format!("mysql://root@127.0.0.1:{port}/banyan")
    }

    fn create_database<'a>(&'a self, _: &'a Path, url: &'a str, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let Address { user, password, host, port } = Address::of(url)?;
            let sql = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4");
            let client = Launch::new("mariadb").args([
                "--no-defaults",
                "-h",
                host,
                "-P",
                port,
                "-u",
                user,
                "-e",
                &sql,
            ]);
            run(client.env("MYSQL_PWD", password), Path::new("/"), RUN_LIMIT).await.map(drop)
        })
    }
}

/// Returns the folder of this server's temporary tables: one that starts deletes what it finds there, also if it is another's.
fn temporary(site: &Site) -> std::path::PathBuf {
    site.folder.join("tmp")
}

/// The server runs as root only if it is told to.
fn run_as() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}

/// The parts of `mysql://USER:PASSWORD@HOST:PORT/DATABASE`; the password may be missing.
#[derive(Debug, PartialEq)]
struct Address<'a> {
    user: &'a str,
    password: &'a str,
    host: &'a str,
    port: &'a str,
}

impl<'a> Address<'a> {
    fn of(url: &'a str) -> Result<Self> {
        let parts = || {
            let authority = url.split_once("://")?.1.split('/').next()?;
            let (account, place) = authority.rsplit_once('@')?;
            let (user, password) = account.split_once(':').unwrap_or((account, ""));
            let (host, port) = place.rsplit_once(':')?;
            Some(Self { user, password, host, port })
        };
        parts().with_context(|| format!("{url:?} is not of the form mysql://USER@HOST:PORT/DATABASE"))
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_address_is_taken_apart() {
        let address = Address::of("mysql://root:secret@127.0.0.1:3306/banyan").unwrap();
        assert_eq!(address, Address { user: "root", password: "secret", host: "127.0.0.1", port: "3306" });
        assert_eq!(Address::of("mysql://root@localhost:1/x").unwrap().password, "");
        assert!(Address::of("mysql://localhost").is_err());
    }
}
