//! The layers of a configuration: defaults, files, the profile, the environment, the command line.

use super::mistake::invalid;
use super::origin::{Origin, Origins};
use super::tree::{Kind, Node};
use super::{Config, suggestion};
use banyan_core::Result;
use std::path::{Path, PathBuf};

/// What the names of environment variables that are settings begin with; the rest is the key, with `__` between its
/// parts, in any case.
const ENVIRONMENT_PREFIX: &str = "BANYAN__";
/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// A configuration that is being put together: each layer wins over those before it.
#[derive(Clone, Debug)]
pub struct Layers {
    tree: Node,
}

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

impl Layers {
    /// Begins with the defaults alone.
    pub fn new() -> Self {
        Self { tree: Node::table(Origin::Default) }
    }

    /// Adds the settings that are built into the program.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if they are no TOML.
    pub fn built_in(&mut self, text: &str) -> Result<()> {
        self.add(text, &|line| Origin::BuiltIn { line })
    }

    /// Adds the text of a file that is called `path`.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if it is no TOML.
    pub fn text(&mut self, path: &str, text: &str) -> Result<()> {
        self.add(text, &|line| Origin::File { path: path.to_owned(), line })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if it cannot be read, has more than 256 KiB or is no TOML.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        let refused = |why: String| invalid("config", &format!("cannot read {name}: {why}"), None);
        let size = std::fs::metadata(path).map_err(|e| refused(e.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(refused(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| refused(e.to_string()))?;
        self.text(&name, &text)
    }

    /// Adds the profile `name`: its text among those that are built into the program, and the file beside `base` that is
    /// called after it, `banyan.NAME.toml` beside `banyan.toml`.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if there is neither, or one is not valid.
    pub fn profile(&mut self, name: &str, base: &Path, built_in: &[(String, String)]) -> Result<()> {
        let text = built_in.iter().find(|(known, _)| known == name).map(|(_, text)| text);
        if let Some(text) = text {
            self.add(text, &|line| Origin::Profile { name: name.to_owned(), line })?;
        }
        let file = profile_file(base, name);
        if file.exists() {
            return self.file(&file);
        }
        if text.is_none() {
            let known = match built_in {
                [] => "none is built in".to_owned(),
                some => format!(
                    "of those built in {}",
                    suggestion(name, some.iter().map(|(name, _)| name.as_str()))
                ),
            };
            let problem = format!("there is no profile {name:?}: no file {}, and {known}", file.display());
            return Err(invalid("profile", &problem, None));
        }
        Ok(())
    }

    /// Adds those of `variables` whose names begin with `BANYAN__`: `BANYAN__LIMITS__DRAIN_MS_MAX` is
    /// `limits.drain_ms_max`.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if one names no key.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<()> {
        let mut variables: Vec<_> =
            variables.into_iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)).collect();
        // A list of the whole table comes before what is in it.
        variables.sort();
        for (name, value) in variables {
            let key = name[ENVIRONMENT_PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            self.set(&key, &value, Origin::Environment { name })?;
        }
        Ok(())
    }

    /// Adds what an argument says: `value` is plain text, or a list, a table or a quoted string in TOML.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if `key` is none.
    pub fn flag(&mut self, flag: &str, key: &str, value: &str) -> Result<()> {
        self.set(key, value, Origin::Flag { name: flag.to_owned() })
    }

    /// Adds a value that an argument, or the variable that stands for it, gives for the key of these parts.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if the key is none.
    pub fn argument(&mut self, origin: Origin, key: &[&str], value: impl Into<toml::Value>) -> Result<()> {
        let node = Node::of(value.into(), "", &Origins::default(), &origin);
        self.set_node(key, node)
    }

    /// Types and checks the whole.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, naming the key, what is wrong and where it was set.
    pub fn load(self) -> Result<Config> {
        Config::of_tree(self.tree)
    }

    /// Types and checks what is said of the data folder alone, whatever is wrong with other keys.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if that is no path.
    pub fn load_data(mut self) -> Result<PathBuf> {
        if let Kind::Table(entries) = &mut self.tree.kind {
            entries.retain(|key, _| key == "data");
        }
        Ok(self.load()?.data)
    }

    fn add(&mut self, text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<()> {
        self.tree.merge(Node::parse(text, origin).map_err(|mistake| mistake.into_error(""))?);
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, origin: Origin) -> Result<()> {
        let path: Vec<&str> = key.split('.').collect();
        self.set_node(&path, Node::plain(value, origin))
    }

    pub(super) fn set_node(&mut self, path: &[&str], node: Node) -> Result<()> {
        let (origin, key) = (node.origin.clone(), path.join("."));
        if path.iter().any(|part| part.is_empty()) {
            return Err(invalid(key, "this is no key", Some(&origin)));
        }
        self.tree.set(path, node).map_err(|below| {
            invalid(key, &format!("there is nothing below the value that {below} would be in"), Some(&origin))
        })
    }
}

/// Returns where the file of a profile is.
fn profile_file(base: &Path, name: &str) -> PathBuf {
    let stem = base.file_stem().and_then(|stem| stem.to_str()).unwrap_or("banyan");
    base.with_file_name(format!("{stem}.{name}.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT_IN: &str = "port = 3\n[limits]\ndrain_ms_max = 3\ntopic_partitions = 3\nlog_bytes_max = 3";

    fn built_in() -> Vec<(String, String)> {
        vec![("fleet".to_owned(), BUILT_IN.to_owned()), ("nats".to_owned(), String::new())]
    }

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_data_folder_is_told_whatever_else_is_wrong() {
        let of = |text: &str| {
            let mut layers = Layers::new();
            layers.text("banyan.toml", text).unwrap();
            layers.environment([variable("BANYAN__PORT", "high")]).unwrap();
            layers.load_data()
        };
        assert_eq!(of("data = 'here'\nprot = 2\n[limits]\nx = 1").unwrap(), Path::new("here"));
        assert_eq!(of("prot = 2").unwrap(), Config::default().data);
        assert_eq!(of("data = 2").unwrap_err().violations()[0].field, "data");
    }

    #[test]
    fn each_layer_wins_over_those_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("banyan.toml");
        std::fs::write(&base, "port = 2\ndata = 'two'\nlimits.drain_ms_max = 2").unwrap();
        let of_profile = folder.path().join("banyan.fleet.toml");
        std::fs::write(&of_profile, "[limits]\ntopic_partitions = 4\ntopic_retention_hours = 4").unwrap();
        let mut layers = Layers::new();
        layers.file(&base).unwrap();
        layers.profile("fleet", &base, &built_in()).unwrap();
        let variables = [
            variable("BANYAN__LIMITS__TOPIC_RETENTION_HOURS", "5"),
            variable("BANYAN__LIMITS__DELIVERY_ATTEMPTS_MAX", "5"),
            variable("BANYAN__SERVICES__ORDERS__FLOW", "5"),
            variable("BANYAN_PROFILE", "no setting"),
        ];
        layers.environment(variables).unwrap();
        layers.flag("--set", "limits.delivery_attempts_max", "6").unwrap();
        let apart = Origin::Flag { name: "--apart".into() };
        layers.argument(apart, &["placement", "apart"], vec!["orders"]).unwrap();
        let config = layers.load().unwrap();
        let limits = &config.limits;
        let found = [limits.drain_ms_max, limits.topic_partitions.into(), limits.topic_retention_hours];
        assert_eq!((found, limits.delivery_attempts_max, config.port), ([3, 4, 5], 6, 3));
        assert_eq!(config.services["orders"]["flow"].as_str(), Some("5"));

        let origin = |key| config.sources.origin(key).to_string();
        assert_eq!(origin("limits.deliveries_in_flight_max"), "default");
        assert_eq!(origin("data"), format!("{}:2", base.display()));
        assert_eq!(origin("limits.drain_ms_max"), "profile fleet:3");
        assert_eq!(origin("limits.topic_partitions"), format!("{}:2", of_profile.display()));
        assert_eq!(origin("limits.topic_retention_hours"), "BANYAN__LIMITS__TOPIC_RETENTION_HOURS");
        assert_eq!(origin("limits.delivery_attempts_max"), "--set");
        assert_eq!(origin("placement.apart"), "--apart");
    }

    #[test]
    fn a_mistake_is_told_with_where_it_was_made() {
        let told = |fill: &dyn Fn(&mut Layers) -> Result<()>| {
            let mut layers = Layers::new();
            let error = fill(&mut layers).and_then(|()| layers.load()).unwrap_err();
            assert!(error.is(super::super::CONFIG_INVALID), "{error:?}");
            error.message().to_owned()
        };
        let variable = |name: &str, value: &str| {
            let pair = variable(name, value);
            told(&move |layers| layers.environment([pair.clone()]))
        };
        assert_eq!(
            variable("BANYAN__LIMITS__DRIAN_MS_MAX", "5"),
            "limits.drian_ms_max: there is no such key; the nearest is \"drain_ms_max\" (BANYAN__LIMITS__DRIAN_MS_MAX)"
        );
        assert_eq!(
            variable("BANYAN__PORT", "high"),
            "port: must be a whole number from 0 to 65535, and is the text \"high\" (BANYAN__PORT)"
        );
        assert!(variable("BANYAN__", "5").contains("no key"));
        let told = |text: &'static str| told(&move |layers| layers.text("b.toml", text));
        assert_eq!(
            told("[service.orders]\nflow = 1"),
            "service: there is no such key; the nearest is \"services\" (b.toml:1)"
        );
        assert_eq!(told("\nservices.orders = 1"), "services.orders: must be a table (b.toml:2)");
        assert!(told("[events]\nneeds = ['replay-tim']").ends_with("(b.toml:2)"));
        assert!(told("[faults]\nseed = 1\ndrop_probability = 2").ends_with("is 2 (b.toml:3)"));
        assert!(told("data = '${env:HOME}'").contains("references to secrets are read in"));
    }

    #[test]
    fn an_unknown_profile_is_told_with_the_nearest() {
        let error = Layers::new().profile("flet", Path::new("absent/banyan.toml"), &built_in()).unwrap_err();
        let message = error.message();
        assert!(
            message.contains("absent/banyan.flet.toml") && message.contains("nearest is \"fleet\""),
            "{message}"
        );
    }
}
