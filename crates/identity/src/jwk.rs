//! Public keys as JSON (RFC 7517, RFC 8037).

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Octets in an Ed25519 public key.
const ED25519_PUBLIC_KEY_BYTES: usize = 32;

/// An Ed25519 public key as JSON Web Key (RFC 8037, section 2).
///
/// A set of somebody else's keys may hold other kinds; those are read too, with the fields they lack left empty, and
/// never used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Jwk {
    /// Key type: `OKP`.
    pub kty: String,
    /// Curve: `Ed25519`.
    pub crv: String,
    /// The public key, base64url without padding.
    pub x: String,
    /// Names the key in a token's header.
    pub kid: String,
    /// `EdDSA`, or empty if the set does not say.
    pub alg: String,
    /// `sig`, or empty if the set does not say.
    #[serde(rename = "use")]
    pub usage: String,
}

/// A JSON Web Key Set (RFC 7517, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

impl Jwk {
    /// Describes the Ed25519 public key `public`, under its thumbprint as `kid`.
    pub(crate) fn ed25519(public: &[u8]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(public);
        Self {
            kid: thumbprint(&x),
            x,
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            alg: "EdDSA".into(),
            usage: "sig".into(),
        }
    }

    /// Returns the octets of the public key, if this is an Ed25519 key for signatures that has a name.
    pub(crate) fn ed25519_public(&self) -> Option<Vec<u8>> {
        let fits = self.kty == "OKP"
            && self.crv == "Ed25519"
            && matches!(self.alg.as_str(), "" | "EdDSA" | "Ed25519")
            && matches!(self.usage.as_str(), "" | "sig")
            && !self.kid.is_empty();
        let public = fits.then(|| URL_SAFE_NO_PAD.decode(&self.x).ok())??;
        (public.len() == ED25519_PUBLIC_KEY_BYTES).then_some(public)
    }
}

/// Returns the SHA-256 thumbprint of the Ed25519 key `x` (RFC 7638; members of RFC 8037, appendix A.3).
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        let public = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(Jwk::ed25519(&public).kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn fields_have_their_registered_names() {
        let json = serde_json::to_value(Jwk::ed25519(&[7; 32])).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);
    }

    #[test]
    fn keys_for_another_purpose_are_not_taken() {
        let key = Jwk::ed25519(&[7; 32]);
        assert!(key.ed25519_public().is_some());
        for other in [
            Jwk { kty: "RSA".into(), ..key.clone() },
            Jwk { crv: "X25519".into(), ..key.clone() },
            Jwk { alg: "HS256".into(), ..key.clone() },
            Jwk { usage: "enc".into(), ..key.clone() },
            Jwk { kid: String::new(), ..key.clone() },
            Jwk { x: "AAAA".into(), ..key.clone() },
        ] {
            assert_eq!(other.ed25519_public(), None, "{other:?}");
        }
        let foreign = r#"{"keys": [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}]}"#;
        assert!(serde_json::from_str::<Jwks>(foreign).unwrap().keys[0].ed25519_public().is_none());
    }
}
