//! Who asks, and how they prove it.
//!
//! An issuer (the service that logs people in) checks a password with [`Passwords`] and signs [`Claims`] with the
//! current key of its [`KeyRing`]; everybody else holds a [`Verifier`] with the issuer's public keys ([`Jwks`]) and
//! turns a token into a [`banyan_core::Identity`] without asking anyone. Tokens are JWTs signed with EdDSA
//! (Ed25519), and no other algorithm exists here. What must stay secret is a [`Secret`], and
//! a [`SecretSource`] is where one is read from. What need not be secret comes from a [`ConfigSource`] if many machines
//! share it.

mod claims;
mod config_source;
mod jwk;
mod passwords;
mod secret;
mod secret_source;
mod signing;
mod verifier;

pub use claims::Claims;
#[cfg(feature = "conformance")]
pub use config_source::conformance as config_source_conformance;
pub use config_source::{
    ConfigProvider, ConfigSource, SOURCE_ENTRIES_MAX, SOURCE_UNAVAILABLE, SOURCE_VALUE_BYTES_MAX, Snapshot,
    SourceEntry, check_entry,
};
pub use jwk::{Jwk, Jwks};
pub use passwords::{PasswordOptions, Passwords};
pub use secret::{SECRET_TYPE, Secret};
pub use secret_source::{
    EnvironmentSecrets, FileSecrets, SECRET_BYTES_MAX, SECRET_MISSING, SecretExamination, SecretSource,
};
pub use signing::{KeyRecord, KeyRing, KeyRole, SigningKey};
pub use verifier::{
    TOKEN_EXPIRED, TOKEN_KEY_UNKNOWN, TOKEN_MALFORMED, TOKEN_NOT_FOR_US, TOKEN_NOT_YET_VALID,
    TOKEN_SIGNATURE_INVALID, Verifier, VerifierOptions,
};
