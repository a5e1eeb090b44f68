//! What a token says.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The claims of an access token (RFC 7519, section 4.1). Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom the token speaks for.
    pub sub: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Who signed it.
    pub iss: String,
    /// Whom it is meant for; one audience is written as a plain string.
    #[serde(with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it was made.
    pub iat: u64,
    /// From when on it is no longer valid.
    pub exp: u64,
    /// Before when it is not valid yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Unique per token.
    #[serde(default)]
    pub jti: String,
}

mod one_or_many {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(values: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match values {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        })
    }
}
