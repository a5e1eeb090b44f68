//! The public side: whom a token speaks for, if it is genuine.

use crate::{Claims, Jwks};
use arc_swap::ArcSwap;
use banyan_core::{Clock, Code, Error, Identity, Reason, Result};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The token is not a JWT as we issue them: three base64url parts, EdDSA, a `kid`, and the claims we need.
pub const TOKEN_MALFORMED: Reason = Reason::new("TOKEN_MALFORMED");
/// The token names a key that the verifier does not have. It may be a new one: fetch the keys again, then retry.
pub const TOKEN_KEY_UNKNOWN: Reason = Reason::new("TOKEN_KEY_UNKNOWN");
/// The token was changed, or not signed with the key it names.
pub const TOKEN_SIGNATURE_INVALID: Reason = Reason::new("TOKEN_SIGNATURE_INVALID");
/// The token was valid once.
pub const TOKEN_EXPIRED: Reason = Reason::new("TOKEN_EXPIRED");
/// The token's time has not come.
pub const TOKEN_NOT_YET_VALID: Reason = Reason::new("TOKEN_NOT_YET_VALID");
/// The token is genuine, but was issued by somebody else or for somebody else.
pub const TOKEN_NOT_FOR_US: Reason = Reason::new("TOKEN_NOT_FOR_US");

/// Longer tokens are refused unread.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What a [`Verifier`] accepts.
#[derive(Clone, Debug)]
pub struct VerifierOptions {
    /// The only accepted `iss`.
    pub issuer: String,
    /// What must be among the token's `aud`.
    pub audience: String,
    /// Tolerated difference between the issuer's clock and ours, in seconds.
    pub leeway_s: u64,
    /// Verified tokens that are remembered, so that a token's signature is checked once and not with each request.
    pub cache_max: usize,
}

/// Verifies access tokens: JWTs signed with EdDSA (Ed25519) by one issuer, and nothing else.
///
/// The algorithm is ours to choose, not the token's: a header that names another one is refused before any key is
/// looked at. Nothing here waits; fetching keys is the caller's part ([`TOKEN_KEY_UNKNOWN`], [`Verifier::set_keys`]).
#[derive(Debug)]
pub struct Verifier {
    options: VerifierOptions,
    clock: Clock,
    validation: Validation,
    keys: ArcSwap<HashMap<String, Arc<VerifyingKey>>>,
    verified: Mutex<Generations>,
}

#[derive(Debug)]
struct VerifyingKey {
    public: Vec<u8>,
    decoding: DecodingKey,
}

/// A token that has been verified. It stays so while its time lasts and its key is among ours.
#[derive(Clone, Debug)]
struct Verified {
    identity: Identity,
    exp: u64,
    kid: String,
    key: Arc<VerifyingKey>,
}

impl Verifier {
    /// Makes a verifier that has no keys yet and so refuses everything.
    pub fn new(options: VerifierOptions, clock: Clock) -> Self {
        // Signature and algorithm are jsonwebtoken's part. Claims are checked here: the time comes from our clock.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let verified = Mutex::new(Generations::new(options.cache_max));
        Self { options, clock, validation, keys: ArcSwap::default(), verified }
    }

    /// Replaces the keys, and returns how many of them it can use: those for Ed25519 signatures.
    ///
    /// Tokens of a key that is no longer there are refused from now on, also those verified before.
    pub fn set_keys(&self, jwks: &Jwks) -> usize {
        let old = self.keys.load();
        let mut keys = HashMap::new();
        for jwk in &jwks.keys {
            let Some(public) = jwk.ed25519_public() else { continue };
            // The same key keeps its allocation: by that a remembered token knows that its key is still in use.
            let key = match old.get(&jwk.kid) {
                Some(key) if key.public == public => Arc::clone(key),
                _ => Arc::new(VerifyingKey { decoding: DecodingKey::from_ed_der(&public), public }),
            };
            keys.insert(jwk.kid.clone(), key);
        }
        let usable = keys.len();
        self.keys.store(Arc::new(keys));
        usable
    }

    /// Returns the identity that `token` proves.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] with one of the `TOKEN_…` reasons of this crate.
    pub fn verify(&self, token: &str) -> Result<Identity> {
        let now_s = self.clock.unix_ms() / 1000;
        let remembered = self.verified.lock().get(token);
        if let Some(verified) = remembered
            && self.keys.load().get(&verified.kid).is_some_and(|key| Arc::ptr_eq(key, &verified.key))
        {
            self.check_expiry(verified.exp, now_s)?;
            return Ok(verified.identity);
        }
        let verified = self.verify_signature_and_claims(token, now_s)?;
        let identity = verified.identity.clone();
        self.verified.lock().insert(token, verified);
        Ok(identity)
    }

    fn verify_signature_and_claims(&self, token: &str, now_s: u64) -> Result<Verified> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused(
                TOKEN_MALFORMED,
                format!("the token is longer than {TOKEN_BYTES_MAX} bytes"),
            ));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| {
            refused(TOKEN_MALFORMED, "the token is not a JWT signed with EdDSA").with_source(error)
        })?;
        if header.alg != Algorithm::EdDSA {
            return Err(refused(TOKEN_MALFORMED, "the token is not a JWT signed with EdDSA"));
        }
        if header.crit.is_some() {
            // RFC 7515, section 4.1.11: what must be understood and is not makes the token invalid.
            return Err(refused(TOKEN_MALFORMED, "the token's header has critical extensions"));
        }
        let kid = header.kid.ok_or_else(|| refused(TOKEN_MALFORMED, "the token does not name its key"))?;
        let key = self.keys.load().get(&kid).cloned();
        let key = key.ok_or_else(|| refused(TOKEN_KEY_UNKNOWN, "the token names a key that is not known"))?;

        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => {
                    refused(TOKEN_SIGNATURE_INVALID, "the token's signature is not valid")
                }
                _ => refused(TOKEN_MALFORMED, "the token's claims cannot be read").with_source(error),
            })?
            .claims;
        self.check_claims(&claims, now_s)?;
        Ok(Verified { identity: Identity::user(&claims.sub, &claims.roles), exp: claims.exp, kid, key })
    }

    fn check_claims(&self, claims: &Claims, now_s: u64) -> Result<()> {
        if claims.sub.is_empty() {
            return Err(refused(TOKEN_MALFORMED, "the token speaks for nobody"));
        }
        if claims.iss != self.options.issuer {
            return Err(refused(TOKEN_NOT_FOR_US, "the token comes from another issuer"));
        }
        if !claims.aud.contains(&self.options.audience) {
            return Err(refused(TOKEN_NOT_FOR_US, "the token is meant for another audience"));
        }
        if claims.nbf.is_some_and(|nbf| now_s.saturating_add(self.options.leeway_s) < nbf) {
            return Err(refused(TOKEN_NOT_YET_VALID, "the token is not valid yet"));
        }
        self.check_expiry(claims.exp, now_s)
    }

    fn check_expiry(&self, exp: u64, now_s: u64) -> Result<()> {
        if now_s >= exp.saturating_add(self.options.leeway_s) {
            return Err(refused(TOKEN_EXPIRED, "the token has expired: log in again"));
        }
        Ok(())
    }
}

fn refused(reason: Reason, message: impl Into<String>) -> Error {
    Error::new(Code::Unauthenticated, reason, message)
}

/// A bounded cache: the younger half fills up, then becomes the older half, and what was the older half is dropped.
/// What is in use moves to the younger half, so that this is close to least-recently-used at constant cost.
#[derive(Debug)]
struct Generations {
    half_max: usize,
    younger: HashMap<Box<str>, Verified>,
    older: HashMap<Box<str>, Verified>,
}

impl Generations {
    fn new(entries_max: usize) -> Self {
        Self { half_max: entries_max / 2, younger: HashMap::new(), older: HashMap::new() }
    }

    fn get(&mut self, token: &str) -> Option<Verified> {
        if let Some(verified) = self.younger.get(token) {
            return Some(verified.clone());
        }
        let verified = self.older.remove(token)?;
        self.insert(token, verified.clone());
        Some(verified)
    }

    fn insert(&mut self, token: &str, verified: Verified) {
        if self.half_max == 0 {
            return;
        }
        if self.younger.len() >= self.half_max {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(token.into(), verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_within_its_bound_and_keeps_what_is_used() {
        let key = Arc::new(VerifyingKey { public: Vec::new(), decoding: DecodingKey::from_ed_der(&[]) });
        let verified = Verified { identity: Identity::anonymous(), exp: 0, kid: String::new(), key };
        let mut cache = Generations::new(10);
        for i in 0..1_000 {
            cache.insert(&format!("token {i}"), verified.clone());
            cache.insert("used", verified.clone());
            assert!(cache.get("used").is_some());
            assert!(cache.younger.len() + cache.older.len() <= 10);
        }
        assert!(cache.get("token 0").is_none());
    }

    #[test]
    fn a_cache_of_size_zero_remembers_nothing() {
        let key = Arc::new(VerifyingKey { public: Vec::new(), decoding: DecodingKey::from_ed_der(&[]) });
        let mut cache = Generations::new(0);
        let verified = Verified { identity: Identity::anonymous(), exp: 0, kid: String::new(), key };
        cache.insert("token", verified);
        assert!(cache.get("token").is_none());
    }
}
