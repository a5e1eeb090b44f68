//! The private side: keys that sign, and how they follow each other.

use crate::{Claims, Jwk, Jwks, Secret};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use banyan_core::{Error, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use std::fmt;

/// Keys that may still verify tokens after they stopped signing; a bound on rotations within one overlap.
const PREVIOUS_KEYS_MAX: usize = 16;

/// An Ed25519 private key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    pkcs8: Secret<Vec<u8>>,
    encoding: EncodingKey,
    jwk: Jwk,
}

impl SigningKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if there is none to be had.
    pub fn generate() -> Result<Self> {
        let pair = Ed25519KeyPair::generate().map_err(Error::internal)?;
        let pkcs8 = pair.to_pkcs8().map_err(Error::internal)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// Reads a key in PKCS #8 form (DER).
    ///
    /// # Errors
    /// [`banyan_core::Code::DataLoss`] if it is not an Ed25519 key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|error| {
            Error::data_loss("this is not an Ed25519 key in PKCS #8 form").with_source(error)
        })?;
        Ok(Self {
            pkcs8: Secret::new(pkcs8.to_vec()),
            encoding: EncodingKey::from_ed_der(pkcs8),
            jwk: Jwk::ed25519(pair.public_key().as_ref()),
        })
    }

    /// Returns the key in PKCS #8 form (DER), to be kept where nobody else reads it.
    pub fn to_pkcs8(&self) -> Secret<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// Returns the key's name: the thumbprint of its public half (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// Returns the public half.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Makes a token (a JWT, RFC 7519) that says `claims`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if the claims cannot be written.
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        let header = Header { kid: Some(self.jwk.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.encoding).map_err(Error::internal)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.jwk.kid).finish_non_exhaustive()
    }
}

/// The keys of an issuer: one signs, the next one is announced already, the previous ones still verify.
///
/// A value: [`KeyRing::rotate`] returns the ring that follows, to be stored before it is used. The next key is
/// published one rotation ahead, so that verifiers have it before they meet a token signed with it. A previous key
/// is published for an overlap that must be at least as long as a token lives.
#[derive(Clone, Debug)]
pub struct KeyRing {
    current: SigningKey,
    current_since_s: u64,
    next: SigningKey,
    previous: Vec<PreviousKey>,
    overlap_s: u64,
}

#[derive(Clone, Debug)]
struct PreviousKey {
    key: SigningKey,
    until_s: u64,
}

/// A key of a [`KeyRing`] in storable form.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    pub kid: String,
    pub pkcs8: Secret<Vec<u8>>,
    pub role: KeyRole,
    /// Seconds since the Unix epoch: since when the current key signs, until when a previous key verifies, 0 for the
    /// next key.
    pub time_s: u64,
}

/// What a key of a ring does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// Is announced, does not sign yet.
    Next,
    /// Signs.
    Current,
    /// Signs no more, still verifies.
    Previous,
}

impl KeyRole {
    const NAMES: [(KeyRole, &'static str); 3] =
        [(KeyRole::Next, "next"), (KeyRole::Current, "current"), (KeyRole::Previous, "previous")];

    /// Returns the name to store.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// Reads what [`KeyRole::name`] returned.
    ///
    /// # Errors
    /// [`banyan_core::Code::DataLoss`] if it is none of them.
    pub fn from_name(name: &str) -> Result<Self> {
        let row = Self::NAMES.iter().find(|row| row.1 == name);
        row.map(|row| row.0).ok_or_else(|| Error::data_loss(format!("there is no key role {name:?}")))
    }
}

impl KeyRing {
    /// Makes a ring of two new keys. Times are seconds since the Unix epoch.
    ///
    /// # Errors
    /// Those of [`SigningKey::generate`].
    pub fn generate(overlap_s: u64, now_s: u64) -> Result<Self> {
        let (current, next) = (SigningKey::generate()?, SigningKey::generate()?);
        Ok(Self { current, current_since_s: now_s, next, previous: Vec::new(), overlap_s })
    }

    /// Returns the ring in which the next key signs, a new key is announced, and the current one only verifies for
    /// the time of the overlap.
    ///
    /// # Errors
    /// [`banyan_core::Code::ResourceExhausted`] after 16 rotations within one overlap.
    pub fn rotate(&self, now_s: u64) -> Result<Self> {
        let mut previous: Vec<_> = self.verifying(now_s).cloned().collect();
        if previous.len() >= PREVIOUS_KEYS_MAX {
            return Err(Error::overloaded(format!(
                "the keys were rotated {PREVIOUS_KEYS_MAX} times within {} seconds; tokens of all of them are still valid",
                self.overlap_s
            )));
        }
        previous
            .push(PreviousKey { key: self.current.clone(), until_s: now_s.saturating_add(self.overlap_s) });
        Ok(Self {
            current: self.next.clone(),
            current_since_s: now_s,
            next: SigningKey::generate()?,
            previous,
            overlap_s: self.overlap_s,
        })
    }

    /// Tells whether the current key has signed for `period_s`.
    pub fn is_due(&self, period_s: u64, now_s: u64) -> bool {
        now_s.saturating_sub(self.current_since_s) >= period_s
    }

    /// Returns the key that signs.
    pub fn current(&self) -> &SigningKey {
        &self.current
    }

    /// Makes a token with the current key.
    ///
    /// # Errors
    /// Those of [`SigningKey::sign`].
    pub fn sign(&self, claims: &Claims) -> Result<String> {
        self.current.sign(claims)
    }

    /// Returns the public keys: the current, the next, and the previous ones whose overlap has not ended.
    pub fn jwks(&self, now_s: u64) -> Jwks {
        let previous = self.verifying(now_s).map(|previous| &previous.key);
        let keys = [&self.current, &self.next].into_iter().chain(previous);
        Jwks { keys: keys.map(|key| key.jwk().clone()).collect() }
    }

    /// Returns the ring in storable form.
    pub fn to_records(&self) -> Vec<KeyRecord> {
        let record = |key: &SigningKey, role, time_s| KeyRecord {
            kid: key.kid().to_owned(),
            pkcs8: key.to_pkcs8(),
            role,
            time_s,
        };
        let mut records = vec![
            record(&self.current, KeyRole::Current, self.current_since_s),
            record(&self.next, KeyRole::Next, 0),
        ];
        records.extend(self.previous.iter().map(|p| record(&p.key, KeyRole::Previous, p.until_s)));
        records
    }

    /// Rebuilds a ring from what [`KeyRing::to_records`] returned, in any order.
    ///
    /// # Errors
    /// [`banyan_core::Code::DataLoss`] if a record is damaged, or there is not one current and one next key.
    pub fn from_records(records: &[KeyRecord], overlap_s: u64) -> Result<Self> {
        let only = |role: KeyRole| {
            let mut of_role = records.iter().filter(|record| record.role == role);
            match (of_role.next(), of_role.next()) {
                (Some(record), None) => Ok(record),
                _ => Err(Error::data_loss(format!("the key ring does not have exactly one {role:?} key"))),
            }
        };
        let (current, next) = (only(KeyRole::Current)?, only(KeyRole::Next)?);
        let previous = records.iter().filter(|record| record.role == KeyRole::Previous);
        Ok(Self {
            current: SigningKey::from_pkcs8(current.pkcs8.expose())?,
            current_since_s: current.time_s,
            next: SigningKey::from_pkcs8(next.pkcs8.expose())?,
            previous: previous
                .map(|record| {
                    let key = SigningKey::from_pkcs8(record.pkcs8.expose())?;
                    Ok(PreviousKey { key, until_s: record.time_s })
                })
                .collect::<Result<_>>()?,
            overlap_s,
        })
    }

    fn verifying(&self, now_s: u64) -> impl Iterator<Item = &PreviousKey> {
        self.previous.iter().filter(move |previous| now_s < previous.until_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Code;

    fn kids(ring: &KeyRing, now_s: u64) -> Vec<String> {
        ring.jwks(now_s).keys.into_iter().map(|key| key.kid).collect()
    }

    #[test]
    fn a_key_survives_its_stored_form_and_is_not_shown() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pkcs8(key.to_pkcs8().expose()).unwrap();
        assert_eq!(again.jwk(), key.jwk());
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ kid: {:?}, .. }}", key.kid()));
        assert_eq!(SigningKey::from_pkcs8(b"not a key").unwrap_err().code(), Code::DataLoss);
    }

    #[test]
    fn a_rotation_promotes_the_announced_key_and_keeps_the_old_one_for_the_overlap() {
        let before = KeyRing::generate(100, 1_000).unwrap();
        let after = before.rotate(5_000).unwrap();
        assert_eq!(after.current().kid(), before.next.kid());
        let old = before.current().kid().to_owned();
        assert!(kids(&after, 5_099).contains(&old));
        assert!(!kids(&after, 5_100).contains(&old));
        assert_eq!(kids(&after.rotate(5_100).unwrap(), 5_100).len(), 3);
    }

    #[test]
    fn a_ring_survives_its_stored_form() {
        let ring = KeyRing::generate(100, 1_000).unwrap().rotate(2_000).unwrap();
        let mut records = ring.to_records();
        records.reverse();
        let again = KeyRing::from_records(&records, 100).unwrap();
        assert_eq!(kids(&again, 2_050), kids(&ring, 2_050));
        assert_eq!(kids(&again, 2_100).len(), 2);
        assert!(again.is_due(50, 2_050) && !again.is_due(51, 2_050));

        for record in &records {
            assert_eq!(KeyRole::from_name(record.role.name()).unwrap(), record.role);
        }
        assert_eq!(KeyRole::from_name("primary").unwrap_err().code(), Code::DataLoss);

        records.retain(|record| record.role != KeyRole::Next);
        assert_eq!(KeyRing::from_records(&records, 100).unwrap_err().code(), Code::DataLoss);
    }

    #[test]
    fn rotations_within_one_overlap_are_bounded() {
        let mut ring = KeyRing::generate(100, 0).unwrap();
        for _ in 0..PREVIOUS_KEYS_MAX {
            ring = ring.rotate(1).unwrap();
        }
        assert_eq!(ring.rotate(1).unwrap_err().code(), Code::ResourceExhausted);
        assert!(ring.rotate(101).is_ok());
    }
}
