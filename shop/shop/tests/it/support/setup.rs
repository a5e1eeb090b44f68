//! How a shop is started: where its services run, how orders flow, which faults are injected.

use banyan::core::Env;
use std::time::Duration;

/// The seed of the injected faults and of everything a test draws, unless `BANYAN_SEED` says otherwise.
pub(crate) const FAULT_SEED: u64 = 20_101_201;

/// The arguments of a shop that is to be started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) args: Vec<String>,
    /// What is added to the environment of the shop.
    pub(crate) variables: Vec<(String, String)>,
    /// Whether requests may fail although nothing is wrong with them.
    pub(crate) faulty: bool,
}

impl Setup {
    /// All services in one process.
    pub(crate) fn one_process() -> Self {
        Self::default()
    }

    /// Each service in a process of its own.
    pub(crate) fn apart() -> Self {
        Self { args: vec!["--apart".to_owned(), "all".to_owned()], ..Self::default() }
    }

    /// Some services share a process, one is alone, some run twice, the rest stays at home.
    pub(crate) fn grouped() -> Self {
        let args =
            "--group back=inventory,shipping --apart payments --replicas orders=2 --replicas catalog=2";
        Self { args: args.split(' ').map(str::to_owned).collect(), ..Self::default() }
    }

    /// All services in one process, whose calls to each other are delayed, refused, lost and doubled.
    pub(crate) fn with_faults() -> Self {
        let seed = seed();
        println!("seed of the faults: {seed}");
        let setup = Self { faulty: true, ..Self::default() };
        setup
            .set("faults.error_probability=0.15")
            .set("faults.drop_probability=0.005")
            .set("faults.duplicate_probability=0.1")
            .set("faults.delay_probability=0.1")
            .set("faults.delay_ms=20")
            .set(&format!("faults.seed={seed}"))
    }

    /// As a profile of the program says.
    #[cfg(feature = "engines")]
    pub(crate) fn profile(name: &str) -> Self {
        Self { args: vec!["--profile".to_owned(), name.to_owned()], ..Self::default() }
    }

    /// Adds a variable to the shop's environment.
    #[cfg(feature = "redis")]
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Orders are driven by events instead of a saga.
    pub(crate) fn choreographed(self) -> Self {
        self.set("services.orders.flow=choreographed")
    }

    /// Sets anything that `banyan.toml` has.
    pub(crate) fn set(mut self, setting: &str) -> Self {
        self.args.extend(["--set".to_owned(), setting.to_owned()]);
        self
    }
}

/// Returns the seed of this run: `BANYAN_SEED`, or the same every time.
pub(crate) fn seed() -> u64 {
    env_number("BANYAN_SEED", FAULT_SEED)
}

/// Reads a number from the environment.
///
/// # Panics
/// If it is none.
pub(crate) fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, is {text:?}")),
        Err(_) => default,
    }
}

/// Makes a name that no other test and no earlier run has used.
pub(super) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Env::default().new_id().replace('-', ""))
}

/// How long a command of the shop may take: a move waits for what is under way.
pub(super) const COMMAND_MAX: Duration = Duration::from_secs(90);
