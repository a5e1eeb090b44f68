//! The arguments that several commands share.

use crate::problem::Problem;
use banyan::{Config, Layers, Origin};
use banyan_core::Error;
use banyan_identity::Snapshot;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The variable that stands for `--data`.
const DATA_VARIABLE: &str = "BANYAN_DATA";
/// The configuration file that is read if it is there.
const CONFIG_FILE: &str = "banyan.toml";

/// The longest time that an argument may name: 366 days.
const MILLISECONDS_MAX: u64 = 366 * 86_400_000;

/// What every command understands.
#[derive(Args, Clone, Debug, Default)]
pub struct Globals {
    /// Folder with the system's stores, event log and run files.
    #[arg(long, global = true, value_name = "DIR", env = DATA_VARIABLE)]
    pub data: Option<PathBuf>,
    /// Profile of the configuration: the one of this name that is built in, and the file `banyan.NAME.toml`.
    #[arg(long, global = true, value_name = "NAME", env = "BANYAN_PROFILE")]
    pub profile: Option<String>,
    /// The profiles that are built into the program: names, and their TOML.
    #[arg(skip)]
    pub(crate) built_in: Arc<Vec<(String, String)>>,
    /// The settings that are built into the program, in TOML.
    #[arg(skip)]
    pub(crate) settings: Arc<str>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more: once for what happens, twice for everything. `RUST_LOG` is understood as well.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write logs as JSON lines; a system that runs writes them to standard output.
    #[arg(long, global = true)]
    pub log_json: bool,
}

impl Globals {
    /// Returns the data folder: the argument, what the configuration says, or `data`. What is wrong with other keys does
    /// not keep a command from a system that runs: its status tells of a configuration that was refused.
    ///
    /// # Errors
    /// If the configuration cannot be read, or says of the data folder what is not valid.
    pub fn data(&self) -> anyhow::Result<PathBuf> {
        match &self.data {
            Some(data) => Ok(data.clone()),
            None => Ok(RunArgs::default().layers(self, None)?.load_data()?),
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
    /// Central source of the configuration, over files and under the environment, for example `etcd://127.0.0.1:2379/shop`.
    #[arg(long, value_name = "URL")]
    pub source: Option<String>,
    /// What this run is called when it is compared with others (`runs compare`).
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
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
    /// Puts the configuration together: defaults, file, profile, environment, arguments. Secrets are not read, nor is the
    /// central source.
    ///
    /// # Errors
    /// If a file, a variable or an argument is not valid; the message names the key.
    pub fn config(&self, globals: &Globals) -> anyhow::Result<Config> {
        self.config_over(globals, None)
    }

    /// Puts the configuration together with what the central source at a place has.
    ///
    /// # Errors
    /// As [`RunArgs::config`].
    pub(crate) fn config_over(
        &self,
        globals: &Globals,
        central: Option<(&str, &Snapshot)>,
    ) -> anyhow::Result<Config> {
        let layers = self.layers(globals, central)?;
        layers.load().map_err(|error| match error.violations() {
            [wrong, ..] if self.sets(&wrong.field) => of_argument(error).into(),
            _ => error.into(),
        })
    }

    /// Reads all layers, without typing what they say.
    fn layers(&self, globals: &Globals, central: Option<(&str, &Snapshot)>) -> anyhow::Result<Layers> {
        self.check_placement()?;
        let mut layers = base_layers(self.config.as_deref(), globals.profile.as_deref(), globals)?;
        if let Some((place, snapshot)) = central {
            layers.central(place, snapshot)?;
        }
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            // What is not UTF-8 is no valid value, and is refused or used like any other text.
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        layers.environment(variables)?;
        for setting in &self.set {
            let (key, value) = set(setting)?;
            layers.flag("--set", key, value).map_err(of_argument)?;
        }
        if let Some(data) = &globals.data {
            let Some(text) = data.to_str() else {
                return Err(Problem::usage("--data", "the path is not UTF-8", "choose another folder").into());
            };
            let by_variable = std::env::var_os(DATA_VARIABLE).is_some_and(|value| value == data.as_os_str());
            let variable = Origin::Environment { name: DATA_VARIABLE.to_owned() };
            layers.argument(if by_variable { variable } else { flag("--data") }, &["data"], text)?;
        }
        self.arguments(&mut layers).map_err(of_argument)?;
        Ok(layers)
    }

    /// Adds the arguments that have a key of their own.
    fn arguments(&self, layers: &mut Layers) -> banyan_core::Result<()> {
        if let Some(port) = self.port {
            layers.argument(flag("--port"), &["port"], i64::from(port))?;
        }
        if let Some(source) = &self.source {
            layers.argument(flag("--source"), &["source", "url"], source.as_str())?;
        }
        if let Some(label) = &self.label {
            layers.argument(flag("--label"), &["telemetry", "label"], label.as_str())?;
        }
        match self.apart.as_slice() {
            [] => {}
            [word] if word == "all" => {
                layers.argument(flag("--apart"), &["placement", "apart"], word.as_str())?
            }
            list => layers.argument(flag("--apart"), &["placement", "apart"], list.to_vec())?,
        }
        for Group { process, services } in &self.group {
            layers.argument(flag("--group"), &["placement", "groups", process], services.clone())?;
        }
        for Replicas { service, count } in &self.replicas {
            layers.argument(flag("--replicas"), &["placement", "replicas", service], i64::from(*count))?;
        }
        Ok(())
    }

    /// Tells whether `key`, one above it or one below it is set by `--set`.
    fn sets(&self, key: &str) -> bool {
        let below =
            |key: &str, other: &str| key.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'));
        let keys = self.set.iter().filter_map(|setting| Some(setting.split_once('=')?.0));
        keys.into_iter().any(|set| set == key || below(set, key) || below(key, set))
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

/// Reads what does not depend on who starts the program: what is built in, the file (`banyan.toml` if none is named, and
/// it is there), then the profile.
pub(crate) fn base_layers(
    file: Option<&Path>,
    profile: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<Layers> {
    let mut layers = Layers::new();
    layers.built_in(&globals.settings)?;
    let base = file.unwrap_or(Path::new(CONFIG_FILE));
    if file.is_some() || base.exists() {
        layers.file(base)?;
    }
    if let Some(profile) = profile {
        layers.profile(profile, base, &globals.built_in)?;
    }
    Ok(layers)
}

/// Takes `key.path=value` apart.
fn set(setting: &str) -> Result<(&str, &str), Problem> {
    setting.split_once('=').ok_or_else(|| {
        let problem = format!("{setting}: expected KEY=VALUE");
        Problem::usage("--set", problem, "for example --set services.orders.flow=choreographed")
    })
}

fn flag(name: &str) -> Origin {
    Origin::Flag { name: name.to_owned() }
}

fn of_argument(error: Error) -> Problem {
    Problem::usage_of(error, "`config show` lists the keys that are set, docs/guide.md the others")
}

/// Reads a time such as `90s`, `15m`, `6h` or `1d`, in milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let ms = u64::try_from(banyan_load::duration(text)?.as_millis()).unwrap_or(u64::MAX);
    let fits = (1..=MILLISECONDS_MAX).contains(&ms);
    if fits { Ok(ms) } else { Err("must be at least 1ms and at most 366d".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals() -> Globals {
        Globals { data: Some("elsewhere".into()), ..Globals::default() }
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!((milliseconds("90s"), milliseconds("1d")), (Ok(90_000), Ok(86_400_000)));
        for wrong in ["", "5", "m", "5w", "-1s", "0s", "400d", "5µ"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
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
    fn a_built_in_profile_lies_under_the_arguments() {
        let toml = "limits = { drain_ms_max = 7, topic_partitions = 7 }".to_owned();
        let built_in = Arc::new(vec![("fleet".to_owned(), toml)]);
        let globals = Globals { profile: Some("fleet".to_owned()), built_in, ..globals() };
        let args = RunArgs { set: vec!["limits.topic_partitions=8".into()], ..RunArgs::default() };
        let config = args.config(&globals).unwrap();
        assert_eq!((config.limits.drain_ms_max, config.limits.topic_partitions), (7, 8));
        assert_eq!(config.sources.origin("limits.drain_ms_max").to_string(), "profile fleet:1");
        let other = Globals { profile: Some("flet".to_owned()), ..globals };
        let error = args.config(&other).unwrap_err().to_string();
        assert!(error.contains("the nearest is \"fleet\""), "{error}");
    }

    #[test]
    fn the_data_folder_is_found_beside_a_wrong_key() {
        let built_in = Arc::new(vec![("fleet".to_owned(), "data = 'there'\nprot = 1".to_owned())]);
        let globals = Globals { profile: Some("fleet".to_owned()), built_in, ..Globals::default() };
        assert_eq!(globals.data().unwrap(), Path::new("there"));
        assert!(RunArgs::default().config(&globals).is_err());
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
        let error = error.downcast_ref::<Problem>().unwrap().error();
        assert_eq!(error.violations()[0].field, "faults.delay_probability");
        assert!(error.message().starts_with("faults.delay_probability: must be between"), "{error}");
    }

    #[test]
    fn a_mistake_names_its_argument() {
        for set in ["nonsense", "port=high", "limits.x=1"] {
            let args = RunArgs { set: vec![set.into()], ..RunArgs::default() };
            let error = args.config(&globals()).unwrap_err().to_string();
            let key = set.split_once('=').map_or(set, |(key, _)| key);
            assert!(error.contains(key) && error.contains("--set"), "{error}");
        }
    }
}
