//! What an operator may set: `[services.users]` in `banyan.toml`.

use crate::domain::TokenTerms;
use banyan::prelude::*;
use banyan_identity::{PasswordOptions, Secret};
use serde::Deserialize;

/// Verifiers tolerate this much difference between their clock and ours, in seconds; a key stays announced that much
/// longer than its last token lives.
const CLOCK_LEEWAY_S: u64 = 60;

/// The settings of the users service. Every one may be left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The `iss` of tokens: what verifiers trust.
    pub issuer: String,
    /// The `aud` of tokens: whom they are for.
    pub audience: String,
    /// How long a token is valid; 1 to 1440.
    pub token_minutes: u32,
    /// How long a key signs before the next one does; 1 to 8760.
    pub key_rotation_hours: u32,
    /// The cost of password hashes, and how many are made at once.
    pub passwords: PasswordOptions,
    /// The first administrator. Without it the service makes none.
    pub admin: Option<AdminSettings>,
}

/// An administrator's account that is made at the start, if its e-mail address has none. An account that exists is
/// left as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    pub email: String,
    pub password: Secret<String>,
    #[serde(default = "administrator")]
    pub name: String,
}

impl Settings {
    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], naming the key.
    pub(crate) fn validate(&self) -> Result<()> {
        for (key, value, max) in [
            ("services.users.token_minutes", self.token_minutes, 24 * 60),
            ("services.users.key_rotation_hours", self.key_rotation_hours, 365 * 24),
        ] {
            if !(1..=max).contains(&value) {
                return Err(Error::invalid(key, format!("must be between 1 and {max}, is {value}")));
            }
        }
        Ok(())
    }

    /// Returns what all tokens have in common.
    pub(crate) fn token_terms(&self) -> TokenTerms {
        TokenTerms {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            lifetime_s: self.token_lifetime_s(),
        }
    }

    fn token_lifetime_s(&self) -> u64 {
        u64::from(self.token_minutes) * 60
    }

    pub(crate) fn key_rotation_s(&self) -> u64 {
        u64::from(self.key_rotation_hours) * 3600
    }

    /// Returns how long a key that signs no more is still announced, in seconds.
    pub(crate) fn key_overlap_s(&self) -> u64 {
        self.token_lifetime_s() + CLOCK_LEEWAY_S
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer: "shop".into(),
            audience: "shop".into(),
            token_minutes: 15,
            key_rotation_hours: 24,
            passwords: PasswordOptions::default(),
            admin: None,
        }
    }
}

fn administrator() -> String {
    "Administrator".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        Settings::default().validate().unwrap();
        for (key, bad) in [
            ("services.users.token_minutes", Settings { token_minutes: 0, ..Settings::default() }),
            ("services.users.key_rotation_hours", Settings { key_rotation_hours: 0, ..Settings::default() }),
        ] {
            assert_eq!(bad.validate().unwrap_err().violations()[0].field, key);
        }
        assert!(toml::from_str::<Settings>("token_minute = 5").is_err());
    }

    #[test]
    fn the_administrators_password_is_not_shown() {
        let text = "admin = { email = 'root@shop.example', password = 'correct horse' }";
        let settings: Settings = toml::from_str(text).unwrap();
        assert!(!format!("{settings:?}").contains("correct horse"));
    }
}
