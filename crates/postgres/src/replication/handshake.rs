//! The beginning of a connection: socket, encryption, password.

use super::fields::Fields;
use super::link::{Failure, Link, Purpose, refusal, unexpected};
use crate::address::{Address, PORT};
use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding as WantedBinding, Host, TargetSessionAttrs};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

/// Time to connect, if the address names none.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The form of values, so that a stream and a query write them alike, on every server.
const FORMS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    // A snapshot is exported, and a slot held, for as long as it takes.
    ("idle_in_transaction_session_timeout", "0"),
    ("statement_timeout", "0"),
];

/// Connects to the first host that can be written to.
pub(super) async fn connect(
    address: &Address,
    purpose: Purpose,
    answer_max: Duration,
) -> Result<Link, Failure> {
    let config = &address.config;
    if config.get_channel_binding() == WantedBinding::Require {
        let message = "channel_binding=require is not offered for replication; sslmode=verify-full is";
        return Err(Failure::Protocol(message.to_owned()));
    }
    let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT_MAX);
    let hosts = config.get_hosts();
    let mut last = Failure::Broken("the address names no host".to_owned());
    for index in 0..hosts.len() {
        let attempt = async {
            let mut link = one(address, index, purpose, answer_max).await?;
            if hosts.len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
                let read_only = link.query_one("SELECT pg_is_in_recovery()").await?;
                if read_only.as_deref() == Some("t") {
                    return Err(Failure::Broken("the server is a standby".to_owned()));
                }
            }
            Ok(link)
        };
        match timeout(limit, attempt).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(failure)) => last = failure,
            Err(_) => last = Failure::Silent(limit),
        }
    }
    Err(last)
}

async fn one(
    address: &Address,
    index: usize,
    purpose: Purpose,
    answer_max: Duration,
) -> Result<Link, Failure> {
    let config = &address.config;
    let port = config.get_ports().get(index).or(config.get_ports().first()).copied().unwrap_or(PORT);
    let mut link = match &config.get_hosts()[index] {
        Host::Tcp(name) => {
            let socket = match config.get_hostaddrs().get(index) {
                Some(ip) => TcpStream::connect((*ip, port)).await?,
                None => TcpStream::connect((name.as_str(), port)).await?,
            };
            socket.set_nodelay(true)?;
            encrypt(address, name, socket, answer_max).await?
        }
        #[cfg(unix)]
        Host::Unix(folder) => {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            Link::new(Box::new(tokio::net::UnixStream::connect(path).await?), answer_max)
        }
    };
    greet(&mut link, config, purpose).await?;
    Ok(link)
}

async fn encrypt(
    address: &Address,
    host: &str,
    mut socket: TcpStream,
    answer_max: Duration,
) -> Result<Link, Failure> {
    let Some(tls) = &address.tls else { return Ok(Link::new(Box::new(socket), answer_max)) };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    if socket.read_u8().await? != b'S' {
        return Err(Failure::Protocol(
            "the server offers no encryption, and the address wants it".to_owned(),
        ));
    }
    let connector = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), host)
        .map_err(|e| Failure::Protocol(format!("the server's name cannot be verified: {e}")))?;
    let encrypted = connector.connect(socket).await;
    let encrypted =
        encrypted.map_err(|e| match e.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            // It will not become trusted by itself.
            true => Failure::Protocol(format!("the server is not trusted: {e}")),
            false => Failure::from(e),
        })?;
    Ok(Link::new(Box::new(encrypted), answer_max))
}

/// Says who we are, proves it, and waits until the server is ready.
async fn greet(link: &mut Link, config: &Config, purpose: Purpose) -> Result<(), Failure> {
    let user = config.get_user().unwrap_or("postgres");
    let mut parameters = vec![("user", user), ("database", config.get_dbname().unwrap_or(user))];
    parameters.extend_from_slice(FORMS);
    if let Some(name) = config.get_application_name() {
        parameters.push(("application_name", name));
    }
    if let Some(options) = config.get_options() {
        parameters.push(("options", options));
    }
    if purpose == Purpose::Replication {
        parameters.push(("replication", "database"));
    }
    link.send(|out| frontend::startup_message(parameters, out)).await?;
    loop {
        match link.answer().await? {
            (b'R', body) => authenticate(link, config, user, Fields(body)).await?,
            (b'K', _) => {}
            (b'Z', _) => return Ok(()),
            (b'E', body) => return Err(refusal(body, "")),
            (tag, _) => return Err(unexpected(tag)),
        }
    }
}

async fn authenticate(
    link: &mut Link,
    config: &Config,
    user: &str,
    mut asked: Fields,
) -> Result<(), Failure> {
    let password = || {
        let missing = "the server wants a password, and the address has none";
        config.get_password().ok_or_else(|| Failure::Server {
            code: "28P01".to_owned(),
            message: missing.to_owned(),
            attempted: String::new(),
        })
    };
    match asked.u32() {
        Some(0) => Ok(()),
        Some(3) => {
            let password = password()?;
            link.send(|out| frontend::password_message(password, out)).await
        }
        Some(5) => {
            let salt = asked.u32().ok_or_else(|| unexpected(b'R'))?.to_be_bytes();
            let proof = md5_hash(user.as_bytes(), password()?, salt);
            link.send(|out| frontend::password_message(proof.as_bytes(), out)).await
        }
        Some(10) => scram(link, password()?, asked).await,
        _ => {
            Err(Failure::Protocol("the server wants a kind of authentication that is not offered".to_owned()))
        }
    }
}

/// Proves the password by SCRAM-SHA-256 (RFC 7677), which also proves that the server knows it.
async fn scram(link: &mut Link, password: &[u8], mut offered: Fields) -> Result<(), Failure> {
    let mut known = false;
    while let Some(mechanism) = offered.text().filter(|name| !name.is_empty()) {
        known |= mechanism == SCRAM_SHA_256;
    }
    if !known {
        return Err(Failure::Protocol("the server does not offer SCRAM-SHA-256".to_owned()));
    }
    let wrong = |e: std::io::Error| Failure::Protocol(format!("the server's proof is wrong: {e}"));
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    link.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out)).await?;
    for step in [11, 12] {
        let mut body = match link.answer().await? {
            (b'R', body) => Fields(body),
            (b'E', body) => return Err(refusal(body, "")),
            (tag, _) => return Err(unexpected(tag)),
        };
        if body.u32() != Some(step) {
            return Err(unexpected(b'R'));
        }
        if step == 12 {
            return scram.finish(&body.0).map_err(wrong);
        }
        scram.update(&body.0).map_err(wrong)?;
        link.send(|out| frontend::sasl_response(scram.message(), out)).await?;
    }
    Ok(())
}
