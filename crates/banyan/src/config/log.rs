//! What is logged.

use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::Targets;

/// The log.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), by module if need be:
    /// `info,banyan_rpc=debug`. While it is empty, what `RUST_LOG` or `--verbose` say holds.
    pub filter: String,
}

impl Logging {
    /// Reads the filter; `None` while it is empty.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn targets(&self) -> Result<Option<Targets>> {
        if self.filter.trim().is_empty() {
            return Ok(None);
        }
        let form = "expected a level (error, warn, info, debug, trace, off), or levels by module: info,banyan_rpc=debug";
        // A level that does not exist would be taken for a module.
        let levels = self.filter.split(',').map(|part| part.rsplit('=').next().unwrap_or(part).trim());
        let known = |level: &str| level.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
        match levels.clone().find(|level| !known(level)) {
            Some(wrong) => Err(Error::invalid("log.filter", format!("{wrong:?} is no level; {form}"))),
            None => match self.filter.parse() {
                Ok(targets) => Ok(Some(targets)),
                Err(_) => Err(Error::invalid("log.filter", form)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_by_module() {
        let of = |filter: &str| Logging { filter: filter.to_owned() }.targets();
        assert!(of("").unwrap().is_none() && of("off").unwrap().is_some());
        let targets = of("info,banyan_rpc=debug").unwrap().unwrap();
        assert!(targets.would_enable("banyan_rpc", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("other", &tracing::Level::DEBUG));
        for wrong in ["loud", "info,banyan_rpc=lots", "info,banyan_rpc"] {
            assert_eq!(of(wrong).unwrap_err().violations()[0].field, "log.filter", "{wrong}");
        }
    }
}
