//! The arguments that several commands share.

use anyhow::{Context, bail};
use banyan::{Apart, Config};
use clap::Args;
use std::path::{Path, PathBuf};

/// What every command understands.
#[derive(Args, Clone, Debug)]
pub struct Globals {
    /// Folder with the system's stores, event log and run files.
    #[arg(long, global = true, value_name = "DIR", env = "BANYAN_DATA")]
    pub data: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more: once for what happens, twice for everything. `RUST_LOG` is understood as well.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write logs as JSON lines.
    #[arg(long, global = true)]
    pub log_json: bool,
}

impl Globals {
    /// Returns the data folder: the argument, what `banyan.toml` says, or `data`.
    ///
    /// # Errors
    /// If there is a `banyan.toml` that cannot be read.
    pub fn data(&self) -> anyhow::Result<PathBuf> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => Ok(read_config(None)?.data),
        }
    }
}

/// How a system is started.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// Configuration file; `banyan.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Port of the gateway on 127.0.0.1; 0 lets the system choose.
    #[arg(long)]
    pub port: Option<u16>,
    /// Services that get a process of their own: names separated by commas, or `all`.
    #[arg(long, value_name = "SERVICES", value_delimiter = ',')]
    pub apart: Vec<String>,
    /// A process that several services share, for example `--group back=orders,inventory`.
    #[arg(long, value_name = "PROCESS=SERVICES")]
    pub group: Vec<String>,
    /// How many processes a service runs in, for example `--replicas catalog=2`.
    #[arg(long, value_name = "SERVICE=COUNT")]
    pub replicas: Vec<String>,
    /// Any other setting, for example `--set services.orders.flow=choreographed`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl RunArgs {
    /// Puts the configuration together: file, then arguments.
    ///
    /// # Errors
    /// If the file or an argument is not valid; the message names the key.
    pub fn config(&self, globals: &Globals) -> anyhow::Result<Config> {
        let mut config = read_config(self.config.as_deref())?;
        for setting in &self.set {
            config = with_setting(&config, setting)?;
        }
        if let Some(data) = &globals.data {
            config.data.clone_from(data);
        }
        if let Some(port) = self.port {
            config.port = port;
        }
        match self.apart.as_slice() {
            [] => {}
            [word] if word == "all" => config.placement.apart = Apart::Word(word.clone()),
            list => config.placement.apart = Apart::List(list.to_vec()),
        }
        for group in &self.group {
            let Some((process, services)) = group.split_once('=') else {
                bail!("--group {group}: expected PROCESS=SERVICE,SERVICE");
            };
            let services = services.split(',').map(str::to_owned).collect();
            config.placement.groups.insert(process.to_owned(), services);
        }
        for replicas in &self.replicas {
            let parsed = replicas.split_once('=').and_then(|(service, n)| Some((service, n.parse().ok()?)));
            let Some((service, count)) = parsed else {
                bail!("--replicas {replicas}: expected SERVICE=COUNT");
            };
            config.placement.replicas.insert(service.to_owned(), count);
        }
        Ok(config)
    }
}

fn read_config(file: Option<&Path>) -> anyhow::Result<Config> {
    let default = Path::new("banyan.toml");
    match file {
        Some(file) => Ok(Config::read(file).map_err(|e| anyhow::anyhow!("{}", e.message().to_owned()))?),
        None if default.exists() => read_config(Some(default)),
        None => Ok(Config::default()),
    }
}

/// Applies `key.path=value`; the value is TOML, or else a string.
fn with_setting(config: &Config, setting: &str) -> anyhow::Result<Config> {
    let Some((key, value)) = setting.split_once('=') else { bail!("--set {setting}: expected KEY=VALUE") };
    let value: toml::Value = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut root = toml::Table::try_from(config).context("the configuration cannot be written as TOML")?;
    let mut table = &mut root;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let entry = table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = entry.as_table_mut().with_context(|| format!("--set {key}: {part} is not a table"))?;
    }
    table.insert(last.to_owned(), value);
    let text = toml::to_string(&root)?;
    Config::parse(&text).map_err(|e| anyhow::anyhow!("--set {setting}: {}", e.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals() -> Globals {
        Globals { data: Some("elsewhere".into()), json: false, verbose: 0, log_json: false }
    }

    #[test]
    fn arguments_win_over_defaults() {
        let args = RunArgs {
            port: Some(1234),
            apart: vec!["payments".into(), "users".into()],
            group: vec!["back=orders,cart".into()],
            replicas: vec!["catalog=2".into()],
            set: vec!["services.orders.flow=choreographed".into(), "limits.drain_ms_max=5".into()],
            ..RunArgs::default()
        };
        let config = args.config(&globals()).unwrap();
        assert_eq!((config.port, config.limits.drain_ms_max), (1234, 5));
        assert_eq!(config.services["orders"]["flow"].as_str(), Some("choreographed"));
        let placed = config.place(&["orders", "cart", "payments", "users", "catalog"]).unwrap();
        assert_eq!((&*placed["cart"][0], &*placed["payments"][0]), ("back", "payments"));
        assert_eq!(placed["catalog"], ["main", "catalog-2"]);
    }

    #[test]
    fn a_mistake_names_its_argument() {
        for set in ["nonsense", "port=high", "limits.x=1"] {
            let args = RunArgs { set: vec![set.into()], ..RunArgs::default() };
            let error = args.config(&globals()).unwrap_err().to_string();
            assert!(error.contains(set), "{error}");
        }
    }
}
