//! Where telemetry is sent.

use super::Config;
use banyan_core::Result;
use banyan_telemetry::OtlpOptions;

/// The table of the headers that a collector is sent.
pub(super) const HEADERS: &str = "telemetry.otlp.headers";

impl Config {
    /// Returns where telemetry is sent, with the secrets in its headers.
    ///
    /// # Errors
    /// As [`Config::store_url`].
    pub fn otlp(&self) -> Result<OtlpOptions> {
        let mut options = self.telemetry.otlp.clone();
        for (name, value) in &mut options.headers.0 {
            let filled = self.sources.fill_text(&format!("{HEADERS}.{name}"), value)?;
            filled.expose().clone_into(value);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Config, System};

    #[tokio::test]
    async fn the_secret_in_a_header_is_read_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "hunter2\n").unwrap();
        let text = format!("telemetry.otlp.headers.authorization = 'Bearer ${{file:{}}}'", file.display());
        let mut config = Config::parse(&text).unwrap();
        assert!(config.otlp().unwrap_err().message().contains("telemetry.otlp.headers.authorization"));
        System::new("test").resolve(&mut config).await.unwrap();
        assert_eq!(config.otlp().unwrap().headers.0["authorization"], "Bearer hunter2");
        let plain = Config::parse("telemetry.otlp.headers.x-api-key = 'hunter2'").unwrap();
        for config in [&config, &plain] {
            let shown = format!("{config:?} {}", toml::to_string(config).unwrap());
            assert!(shown.contains("otlp") && !shown.contains("hunter2"), "{shown}");
        }
        let other = Config::parse("telemetry.otlp.headers.x-api-key = 'hunter3'").unwrap();
        let changed = System::new("test").differences(&plain, &other).unwrap();
        assert_eq!(changed.len(), 1, "{changed:?}");
    }
}
