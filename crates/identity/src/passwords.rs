//! Passwords: hashed slowly on purpose, on threads of their own, never more at once than the machine bears.

use crate::Secret;
use argon2::password_hash::{self, Output, PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use banyan_core::{Context, Error, Result};
use parking_lot::Mutex;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Octets of random salt, as RFC 9106, section 3.1 recommends.
const SALT_BYTES: usize = 16;
/// The longest salt that a PHC string has.
const SALT_OCTETS_MAX: usize = 48;

/// The cost of a hash, and how many are made at once. As configuration, every field may be left out.
///
/// The default is OWASP's recommendation for argon2id: 19 MiB, two passes, one lane
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordOptions {
    /// Memory of one hash, in KiB; at least 8 per lane.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes; they are computed one after the other.
    pub lanes: u32,
    /// Hashes made at once; together they need this many times the memory.
    pub concurrent_max: usize,
    /// Callers that may wait for their turn; further ones are refused.
    pub waiting_max: usize,
}

impl Default for PasswordOptions {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, iterations: 2, lanes: 1, concurrent_max: 2, waiting_max: 256 }
    }
}

/// Hashes and verifies passwords with argon2id (RFC 9106). Cheap to clone; clones share the bounds.
///
/// A hash is kept as a PHC string, which carries its salt and cost: hashes made with other options verify too.
#[derive(Clone, Debug)]
pub struct Passwords {
    params: Params,
    /// The memory of hashes made before, at most one for each that may be made at once. Given back to the allocator, it
    /// would stay with whatever thread made the hash, many times over.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
    /// A hash of no password at the configured cost.
    dummy: Arc<str>,
    /// Callers inside: those that compute and those that wait.
    admitted: Arc<Semaphore>,
    /// Callers that compute.
    computing: Arc<Semaphore>,
}

impl Passwords {
    /// Makes a hasher.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] if argon2 does not know such costs, or nobody could ever compute.
    pub fn new(options: &PasswordOptions) -> Result<Self> {
        let params = Params::new(options.memory_kib, options.iterations, options.lanes, None)
            .map_err(|error| Error::invalid("memory_kib", format!("argon2 refuses these costs: {error}")))?;
        if !(1..=1024).contains(&options.concurrent_max) {
            return Err(Error::invalid("concurrent_max", "must be between 1 and 1024"));
        }
        if options.waiting_max > 1_000_000 {
            return Err(Error::invalid("waiting_max", "must be at most 1000000"));
        }
        Ok(Self {
            dummy: dummy_hash(&params)?.into(),
            params,
            memory: Arc::default(),
            admitted: Arc::new(Semaphore::new(options.concurrent_max + options.waiting_max)),
            computing: Arc::new(Semaphore::new(options.concurrent_max)),
        })
    }

    /// Hashes `password` with a new salt, as a PHC string.
    ///
    /// # Errors
    /// [`banyan_core::Code::ResourceExhausted`] when too many callers wait, [`banyan_core::Code::DeadlineExceeded`]
    /// when the turn did not come in time.
    pub async fn hash(&self, cx: &Context, password: Secret<String>) -> Result<String> {
        let params = self.params.clone();
        self.compute(cx, move |memory| {
            let mut salt = [0; SALT_BYTES];
            aws_lc_rs::rand::fill(&mut salt).map_err(Error::internal)?;
            let output = argon2id(&params, memory, &password, &salt)?;
            phc_string(&params, &salt, output)
        })
        .await
    }

    /// Tells whether `password` is the one that `hash` was made of.
    ///
    /// # Errors
    /// Those of [`Passwords::hash`], and [`banyan_core::Code::DataLoss`] if `hash` is not a PHC string.
    pub async fn verify(&self, cx: &Context, password: Secret<String>, hash: &str) -> Result<bool> {
        let hash = hash.to_owned();
        self.compute(cx, move |memory| {
            let damaged = |error: password_hash::Error| {
                Error::data_loss("a stored password hash is damaged").with_source(error.to_string())
            };
            let hash = PasswordHash::new(&hash).map_err(damaged)?;
            let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else {
                return Err(damaged(password_hash::Error::PhcStringField));
            };
            if hash.algorithm != Algorithm::Argon2id.ident() || hash.version != Some(Version::V0x13.into()) {
                return Err(damaged(password_hash::Error::Algorithm));
            }
            let mut octets = [0; SALT_OCTETS_MAX];
            let salt = salt.decode_b64(&mut octets).map_err(damaged)?;
            let params = Params::try_from(&hash).map_err(damaged)?;
            // Outputs compare in constant time.
            Ok(argon2id(&params, memory, &password, salt)? == expected)
        })
        .await
    }

    /// Does the work of a verification that fails, for a user who does not exist: the time of the answer must not
    /// tell which of the two it was.
    ///
    /// # Errors
    /// Those of [`Passwords::hash`].
    pub async fn verify_dummy(&self, cx: &Context, password: Secret<String>) -> Result<()> {
        self.verify(cx, password, &self.dummy).await.map(|_| ())
    }

    async fn compute<T: Send + 'static>(
        &self,
        cx: &Context,
        work: impl FnOnce(&mut Vec<Block>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let admitted = self.admitted.clone().try_acquire_owned();
        let admitted = admitted.map_err(|_| Error::overloaded("too many logins and registrations wait"))?;
        cx.within(async {
            let computing = self.computing.clone().acquire_owned().await;
            let computing = computing.expect("the semaphore is never closed");
            let kept = self.memory.clone();
            // The permits travel with the work: it runs to its end also when the caller is gone.
            let done = tokio::task::spawn_blocking(move || {
                let _permits = (admitted, computing);
                let mut memory = kept.lock().pop().unwrap_or_default();
                let outcome = work(&mut memory);
                kept.lock().push(memory);
                outcome
            });
            done.await.map_err(Error::internal)?
        })
        .await
    }
}

/// Computes argon2id in `memory`, which is grown as needed.
fn argon2id(
    params: &Params,
    memory: &mut Vec<Block>,
    password: &Secret<String>,
    salt: &[u8],
) -> Result<Output> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    memory.resize_with(memory.len().max(params.block_count()), Block::default);
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let blocks = &mut memory[..params.block_count()];
    argon2
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, &mut output, blocks)
        .map_err(|error| Error::internal(error.to_string()))?;
    Output::new(&output).map_err(fault)
}

/// Makes a PHC string of the cost `params` that no password leads to: its output is random.
fn dummy_hash(params: &Params) -> Result<String> {
    let mut random = [0; SALT_BYTES + Params::DEFAULT_OUTPUT_LEN];
    aws_lc_rs::rand::fill(&mut random).map_err(Error::internal)?;
    let (salt, output) = random.split_at(SALT_BYTES);
    phc_string(params, salt, Output::new(output).map_err(fault)?)
}

/// Writes a hash with its salt and cost.
fn phc_string(params: &Params, salt: &[u8], output: Output) -> Result<String> {
    let salt = SaltString::encode_b64(salt).map_err(fault)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: params.try_into().map_err(fault)?,
        salt: Some(salt.as_salt()),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

/// Wraps a fault of the hashing itself, whose error type is not a `std::error::Error`.
fn fault(error: password_hash::Error) -> Error {
    Error::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Code;
    use std::time::Duration;

    fn cheap() -> PasswordOptions {
        PasswordOptions { memory_kib: 8, iterations: 1, ..PasswordOptions::default() }
    }

    fn secret(password: &str) -> Secret<String> {
        Secret::new(password.to_owned())
    }

    #[tokio::test]
    async fn only_the_same_password_verifies() {
        let (passwords, cx) = (Passwords::new(&cheap()).unwrap(), Context::background());
        let hash = passwords.hash(&cx, secret("correct horse")).await.unwrap();
        assert!(passwords.verify(&cx, secret("correct horse"), &hash).await.unwrap());
        assert!(!passwords.verify(&cx, secret("correct horse "), &hash).await.unwrap());
        assert_ne!(
            hash,
            passwords.hash(&cx, secret("correct horse")).await.unwrap(),
            "the salt is new each time"
        );
        let damaged = passwords.verify(&cx, secret("x"), "not a hash").await;
        assert_eq!(damaged.unwrap_err().code(), Code::DataLoss);
    }

    #[tokio::test]
    async fn hashes_are_made_as_owasp_recommends_and_outlive_a_change_of_cost() {
        let (passwords, cx) = (Passwords::new(&PasswordOptions::default()).unwrap(), Context::background());
        let hash = passwords.hash(&cx, secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(Passwords::new(&cheap()).unwrap().verify(&cx, secret("correct horse"), &hash).await.unwrap());
    }

    #[tokio::test]
    async fn an_unknown_user_costs_the_same_work() {
        let (passwords, cx) = (Passwords::new(&cheap()).unwrap(), Context::background());
        let hash = passwords.hash(&cx, secret("x")).await.unwrap();
        let cost = |phc: &str| phc.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(cost(&hash), cost(&passwords.dummy));
        passwords.verify_dummy(&cx, secret("x")).await.unwrap();
        assert!(!passwords.verify(&cx, secret("x"), &passwords.dummy).await.unwrap());
    }

    #[tokio::test]
    async fn callers_beyond_the_bounds_are_refused_and_waiting_ends_with_the_deadline() {
        let options = PasswordOptions { concurrent_max: 1, waiting_max: 1, ..cheap() };
        let passwords = Passwords::new(&options).unwrap();
        let computing = passwords.computing.clone().try_acquire_owned().unwrap();
        let inside = passwords.admitted.clone().try_acquire_owned().unwrap();

        let cx = Context::background().with_timeout(Duration::from_millis(5));
        let late = passwords.hash(&cx, secret("x")).await;
        assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);

        let _waiting = passwords.admitted.clone().try_acquire_owned().unwrap();
        let refused = passwords.hash(&Context::background(), secret("x")).await;
        assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);

        drop((computing, inside));
        assert!(passwords.hash(&Context::background(), secret("x")).await.is_ok());
    }

    #[test]
    fn impossible_options_are_refused_by_name() {
        for (field, bad) in [
            ("memory_kib", PasswordOptions { memory_kib: 1, ..cheap() }),
            ("memory_kib", PasswordOptions { iterations: 0, ..cheap() }),
            ("concurrent_max", PasswordOptions { concurrent_max: 0, ..cheap() }),
        ] {
            assert_eq!(Passwords::new(&bad).unwrap_err().violations()[0].field, field);
        }
    }
}
