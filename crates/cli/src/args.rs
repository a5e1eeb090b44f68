//! The arguments that several commands share.

use crate::problem::Problem;
use anyhow::Context;
use banyan::{Apart, Config};
use banyan_core::Error;
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
    #[arg(long, value_name = "PROCESS=SERVICES", value_parser = group)]
    pub group: Vec<Group>,
    /// How many processes a service runs in, for example `--replicas catalog=2`.
    #[arg(long, value_name = "SERVICE=COUNT", value_parser = replicas)]
    pub replicas: Vec<Replicas>,
    /// Any other setting, for example `--set services.orders.flow=choreographed`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Services that share a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub process: String,
    /// At least one.
    pub services: Vec<String>,
}

/// How many processes a service runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub service: String,
    pub count: u32,
}

impl RunArgs {
    /// Puts the configuration together: file, then arguments.
    ///
    /// # Errors
    /// If the file or an argument is not valid; the message names the key.
    pub fn config(&self, globals: &Globals) -> anyhow::Result<Config> {
        self.check_placement()?;
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
            config.placement.groups.insert(group.process.clone(), group.services.clone());
        }
        for replicas in &self.replicas {
            config.placement.replicas.insert(replicas.service.clone(), replicas.count);
        }
        if let Some(faults) = &config.faults {
            faults.validate().map_err(|error| match error.violations().first() {
                Some(wrong) => Error::invalid(format!("faults.{}", wrong.field), wrong.description.clone()),
                None => error,
            })?;
        }
        Ok(config)
    }

    /// Refuses arguments that place a service twice. In the file, a group wins over `apart`.
    fn check_placement(&self) -> Result<(), Problem> {
        let mut placed: Vec<(&str, String)> =
            self.apart.iter().map(|service| (service.as_str(), format!("--apart {service}"))).collect();
        for Group { process, services } in &self.group {
            for service in services {
                let argument = format!("--group {process}={service}");
                if let Some((_, other)) = placed.iter().find(|(other, _)| other == service) {
                    let problem = format!("{argument} and {other} place {service} in two processes");
                    return Err(Problem::usage(
                        "--group",
                        problem,
                        format!("leave {service} out of one of them"),
                    ));
                }
                placed.push((service, argument));
            }
        }
        Ok(())
    }
}

/// Reads `PROCESS=SERVICE,SERVICE`.
fn group(text: &str) -> Result<Group, String> {
    let form = "expected PROCESS=SERVICE,SERVICE, for example back=orders,inventory";
    let (process, services) = text.split_once('=').ok_or(form)?;
    let services: Vec<String> = services.split(',').map(|service| service.trim().to_owned()).collect();
    match () {
        () if process.is_empty() => Err(format!("it names no process; {form}")),
        () if services.iter().all(String::is_empty) => Err(format!("it names no service; {form}")),
        () if services.iter().any(String::is_empty) => {
            Err(format!("a comma has no service beside it; {form}"))
        }
        () => Ok(Group { process: process.to_owned(), services }),
    }
}

/// Reads `SERVICE=COUNT`.
fn replicas(text: &str) -> Result<Replicas, String> {
    let parsed = text.split_once('=').and_then(|(service, n)| Some((service.to_owned(), n.parse().ok()?)));
    let (service, count) = parsed.ok_or("expected SERVICE=COUNT, for example catalog=2")?;
    Ok(Replicas { service, count })
}

fn read_config(file: Option<&Path>) -> anyhow::Result<Config> {
    let default = Path::new("banyan.toml");
    match file {
        Some(file) => Ok(Config::read(file)?),
        None if default.exists() => read_config(Some(default)),
        None => Ok(Config::default()),
    }
}

/// Applies `key.path=value`; the value is TOML, or else a string.
fn with_setting(config: &Config, setting: &str) -> anyhow::Result<Config> {
    let Some((key, value)) = setting.split_once('=') else {
        let problem = format!("{setting}: expected KEY=VALUE");
        return Err(
            Problem::usage("--set", problem, "for example --set services.orders.flow=choreographed").into()
        );
    };
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
    Config::parse(&text).map_err(|error| {
        let problem = format!("{setting}: {}", error.message().trim_start_matches("config: "));
        Problem::usage("--set", problem, "docs/guide.md lists the keys").into()
    })
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
            group: vec![group("back=orders,cart").unwrap()],
            replicas: vec![replicas("catalog=2").unwrap()],
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
    fn a_service_is_placed_once() {
        let placing = |apart: &[&str], groups: &[&str]| {
            let apart = apart.iter().map(|service| (*service).to_owned()).collect();
            let group = groups.iter().map(|text| group(text).unwrap()).collect();
            RunArgs { apart, group, ..RunArgs::default() }.config(&globals())
        };
        let error = placing(&["cart", "orders"], &["back=users,orders"]).unwrap_err().to_string();
        assert!(error.contains("--apart orders") && error.contains("--group back=orders"), "{error}");
        let error = placing(&[], &["a=orders", "b=orders"]).unwrap_err().to_string();
        assert!(error.contains("--group a=orders") && error.contains("--group b=orders"), "{error}");
        placing(&["all"], &["back=users,orders"]).unwrap();
        placing(&["cart"], &["back=users,orders"]).unwrap();
    }

    #[test]
    fn a_group_names_a_process_and_services() {
        for (text, problem) in [
            ("back=", "no service"),
            ("=orders", "no process"),
            ("back=orders,", "comma"),
            ("back", "expected"),
        ] {
            let error = group(text).unwrap_err();
            assert!(error.contains(problem) && error.contains("PROCESS=SERVICE"), "{text}: {error}");
        }
        assert_eq!(group("a=b, c").unwrap().services, ["b", "c"]);
        assert!(replicas("catalog=many").unwrap_err().contains("SERVICE=COUNT"));
    }

    #[test]
    fn a_wrong_fault_names_its_section() {
        let args = RunArgs { set: vec!["faults.delay_probability=3".into()], ..RunArgs::default() };
        let error = args.config(&globals()).unwrap_err();
        let error = error.downcast_ref::<Error>().unwrap();
        assert_eq!(error.violations()[0].field, "faults.delay_probability");
        assert!(error.message().starts_with("faults.delay_probability: must be between"), "{error}");
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
