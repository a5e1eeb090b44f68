//! The engines this crate knows.

use crate::launchers::{
    Launcher, alertmanager, etcd, kafka, mariadb, nats, openbao, postgres, prometheus, rabbitmq, redis, rotel,
};
use anyhow::{Context, Result};
use std::fmt;
use std::str::FromStr;

/// An engine that can be installed by package name and started on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// NATS with JetStream.
    Nats,
    /// PostgreSQL.
    Postgres,
    /// MariaDB, for the MySQL protocol.
    MariaDb,
    /// RabbitMQ.
    RabbitMq,
    /// Redis.
    Redis,
    /// Apache Kafka, one node in KRaft mode.
    Kafka,
    /// etcd.
    Etcd,
    /// OpenBao, for the API of Vault; see [`OPENBAO_TOKEN`](crate::OPENBAO_TOKEN).
    OpenBao,
    /// Prometheus, and `promtool` beside it.
    Prometheus,
    /// Alertmanager.
    Alertmanager,
    /// Rotel, a collector; its URL is that of OTLP over gRPC, OTLP over HTTP is at the first inner port.
    Rotel,
}

impl Kind {
    /// Every kind, in the order in which commands list them.
    pub const ALL: &[Kind] = &[
        Kind::Nats,
        Kind::Postgres,
        Kind::MariaDb,
        Kind::RabbitMq,
        Kind::Redis,
        Kind::Kafka,
        Kind::Etcd,
        Kind::OpenBao,
        Kind::Prometheus,
        Kind::Alertmanager,
        Kind::Rotel,
    ];

    /// Returns the name that commands, folders and `BANYAN_ENGINE_<NAME>` use, in lower case.
    pub fn name(self) -> &'static str {
        self.launcher().facts().name
    }

    /// Returns the environment variable that names a server to share: `BANYAN_ENGINE_NATS`.
    pub fn variable(self) -> String {
        format!("BANYAN_ENGINE_{}", self.name().to_uppercase())
    }

    pub(crate) fn launcher(self) -> &'static dyn Launcher {
        match self {
            Kind::Nats => &nats::Nats,
            Kind::Postgres => &postgres::Postgres,
            Kind::MariaDb => &mariadb::MariaDb,
            Kind::RabbitMq => &rabbitmq::RabbitMq,
            Kind::Redis => &redis::Redis,
            Kind::Kafka => &kafka::Kafka,
            Kind::Etcd => &etcd::Etcd,
            Kind::OpenBao => &openbao::OpenBao,
            Kind::Prometheus => &prometheus::Prometheus,
            Kind::Alertmanager => &alertmanager::Alertmanager,
            Kind::Rotel => &rotel::Rotel,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        found.with_context(|| format!("no engine is named {name:?}; there are {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_kind_is_found_by_its_name_and_an_unknown_name_lists_all() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>().unwrap(), *kind);
        }
        let error = "oracle".parse::<Kind>().unwrap_err().to_string();
        assert!(error.contains("nats"), "{error}");
    }
}
