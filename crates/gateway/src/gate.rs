//! Who calls, whether he may, and how often: bearer tokens, the access option of the contracts, rate limits.

use crate::limits::{Counted, Limits};
use banyan_core::{BoxFuture, Clock, Context, Error, Result};
use banyan_identity::{Jwks, TOKEN_KEY_UNKNOWN, Verifier, VerifierOptions};
use banyan_rpc::{Arrival, Directory, Edge};
use banyan_transcoding::Access;
use http::{HeaderMap, header};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often keys are asked for at most: unknown keys in forged tokens must not become a flood.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// How long asking for keys may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// Verified tokens that are remembered.
const CACHE_MAX: usize = 100_000;
/// How far the clocks of issuer and gateway may be apart.
const LEEWAY_S: u64 = 30;

type FetchKeys = dyn Fn(Directory, Context) -> BoxFuture<'static, Result<Jwks>> + Send + Sync;

/// Which tokens are accepted, and where the keys come from that verify them.
#[derive(Clone)]
pub struct Tokens {
    issuer: String,
    audience: String,
    fetch: Arc<FetchKeys>,
}

impl Tokens {
    /// Accepts tokens of `issuer` for `audience`, signed with one of the keys that `fetch` returns.
    pub fn new<F, Fut>(issuer: &str, audience: &str, fetch: F) -> Self
    where
        F: Fn(Directory, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Jwks>> + Send + 'static,
    {
        let fetch =
            move |directory, cx| -> BoxFuture<'static, Result<Jwks>> { Box::pin(fetch(directory, cx)) };
        Self { issuer: issuer.to_owned(), audience: audience.to_owned(), fetch: Arc::new(fetch) }
    }
}

/// Stands between routing and dispatch.
pub(crate) struct Gate {
    tokens: Option<(Verifier, Arc<FetchKeys>)>,
    limits: Limits,
    directory: Directory,
    /// When the keys were last asked for.
    refreshed: Mutex<Option<Instant>>,
}

/// A request at the gate.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// By which name rate limits know it (see [`crate::routes::Routes`]).
    pub(crate) route: &'a str,
    pub(crate) access: Access,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: IpAddr,
    /// Credentials that prove nobody to us are somebody else's, if all may enter.
    pub(crate) own_credentials: bool,
}

impl Gate {
    pub(crate) fn new(tokens: Option<Tokens>, limits: Limits, directory: Directory, clock: Clock) -> Self {
        let tokens = tokens.map(|t| {
            let options = VerifierOptions {
                issuer: t.issuer,
                audience: t.audience,
                leeway_s: LEEWAY_S,
                cache_max: CACHE_MAX,
            };
            (Verifier::new(options, clock), t.fetch)
        });
        Self { tokens, limits, directory, refreshed: Mutex::default() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the context with the identity that the headers prove, if access and rate limits permit the request. It is
    /// counted also if it is refused for its token: guessing is limited too. `told` gets what the answer is to say.
    ///
    /// # Errors
    /// Those of [`Gate::admit`]; `RATE_LIMIT_EXCEEDED`.
    pub(crate) async fn pass(&self, asked: Asked<'_>, cx: Context, told: &mut HeaderMap) -> Result<Context> {
        let Some(limits) = self.limits.active() else { return self.enter(asked, cx).await };
        let entered = self.enter(asked, cx.clone()).await;
        let identity = entered.as_ref().map_or(cx.identity(), |cx| cx.identity());
        let Asked { route, headers, peer, .. } = asked;
        limits.count(Counted { route, headers, peer, identity }, &cx, told).await?;
        entered
    }

    async fn enter(&self, asked: Asked<'_>, cx: Context) -> Result<Context> {
        if !asked.own_credentials || asked.access != Access::Public {
            return self.admit(asked.access, asked.headers, cx).await;
        }
        Ok(self.admit(asked.access, asked.headers, cx.clone()).await.unwrap_or(cx))
    }

    /// Returns the context with the identity that `headers` prove, if the method's access permits the call.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unauthenticated`] without a valid token where one is needed;
    /// [`banyan_core::Code::PermissionDenied`] if the caller is not one of those who may.
    pub(crate) async fn admit(&self, access: Access, headers: &HeaderMap, cx: Context) -> Result<Context> {
        let token = bearer(headers)?;
        match access {
            Access::Internal => {
                Err(Error::permission_denied("this method is for services of the system only"))
            }
            Access::Public => match token {
                // A public method needs nobody; a token that does not verify proves nobody.
                Some(token) => Ok(self.identify(token, &cx).await.unwrap_or(cx)),
                None => Ok(cx),
            },
            Access::User | Access::Admin => {
                let token = token.ok_or_else(|| {
                    Error::unauthenticated(
                        "sign in, and send the token in the header \"Authorization: Bearer …\"",
                    )
                })?;
                let cx = self.identify(token, &cx).await?;
                match access == Access::User || cx.identity().has_role("admin") {
                    true => Ok(cx),
                    false => Err(Error::permission_denied("this needs the role admin")),
                }
            }
        }
    }

    async fn identify(&self, token: &str, cx: &Context) -> Result<Context> {
        let Some((verifier, fetch)) = &self.tokens else {
            return Err(Error::unauthenticated("this system accepts no tokens"));
        };
        let verified = match verifier.verify(token) {
            Err(error) if error.is(TOKEN_KEY_UNKNOWN) => {
                self.refresh(verifier, fetch, token, cx).await?;
                verifier.verify(token)
            }
            other => other,
        };
        Ok(cx.with_identity(verified?))
    }

    /// Asks for the keys anew, once for all who wait, unless `token`'s was among those that somebody else asked for
    /// meanwhile. If they were asked for a moment ago, that is waited out: a key that was made since would be refused
    /// otherwise.
    async fn refresh(
        &self,
        verifier: &Verifier,
        fetch: &Arc<FetchKeys>,
        token: &str,
        cx: &Context,
    ) -> Result<()> {
        let clock = &cx.env().clock;
        let asked = clock.now();
        let mut refreshed = self.refreshed.lock().await;
        if !verifier.verify(token).is_err_and(|error| error.is(TOKEN_KEY_UNKNOWN)) {
            return Ok(());
        }
        match *refreshed {
            Some(began) if began >= asked => return Ok(()),
            Some(began) => tokio::time::sleep_until(began + REFRESH_PAUSE).await,
            None => {}
        }
        let began = clock.now();
        let keys = fetch(self.directory.clone(), cx.with_timeout(REFRESH_TIMEOUT)).await?;
        let usable = verifier.set_keys(&keys);
        tracing::info!(usable, "the keys that verify tokens were read");
        *refreshed = Some(began);
        Ok(())
    }
}

impl Edge for Gate {
    fn authorize<'a>(
        &'a self,
        arrival: Arrival<'a>,
        cx: Context,
        told: &'a mut HeaderMap,
    ) -> BoxFuture<'a, Result<Context>> {
        let Arrival { method, headers, peer } = arrival;
        let (route, access) = (method.path.as_str(), method.access);
        Box::pin(self.pass(Asked { route, access, headers, peer, own_credentials: false }, cx, told))
    }
}

/// Returns the bearer token (RFC 6750), if there is an `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let malformed = || Error::unauthenticated("the Authorization header must be \"Bearer \" and a token");
    let value = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(malformed)?;
    match scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() {
        true => Ok(Some(token.trim())),
        false => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Routes;
    use banyan::cache::SharedStores;
    use banyan::{GatewaySettings, System};
    use banyan_core::{Env, Identity};
    use banyan_identity::{Claims, SigningKey};
    use banyan_transcoding::Transcoder;
    use futures::future::poll_immediate;
    use tokio::sync::Semaphore;

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_the_keys_are_read_does_not_wait_for_another_reading() {
        let env = Env::default();
        let key = SigningKey::generate().unwrap();
        let now_s = env.clock.unix_ms() / 1_000;
        let token = key.sign(&Claims {
            sub: "u-1".to_owned(),
            roles: Vec::new(),
            iss: "shop".to_owned(),
            aud: vec!["shop".to_owned()],
            iat: now_s,
            exp: now_s + 600,
            nbf: None,
            jti: String::new(),
        });
        let token = token.unwrap();
        // A reading ends when there is a permit for it.
        let readings = Arc::new(Semaphore::new(0));
        let (jwk, may_end) = (key.jwk().clone(), readings.clone());
        let tokens = Tokens::new("shop", "shop", move |_, _| {
            let (jwk, may_end) = (jwk.clone(), may_end.clone());
            async move {
                may_end.acquire().await.expect("it is never closed").forget();
                Ok(Jwks { keys: vec![jwk] })
            }
        });
        let nothing = Transcoder::with_access(&[], &[]).unwrap();
        let routes = Routes::new(&System::new("test"), &[], &nothing);
        let counts = SharedStores::in_memory(&env).limits;
        let limits = Limits::new(&GatewaySettings::default(), routes, counts, &env).unwrap();
        let gate = Gate::new(Some(tokens), limits, Directory::new(&env), env.clock.clone());
        let cx = Context::new(&env, Identity::anonymous());
        let began = env.clock.now();

        let mut first = Box::pin(gate.identify(&token, &cx));
        assert!(poll_immediate(&mut first).await.is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let mut second = Box::pin(gate.identify(&token, &cx));
        assert!(poll_immediate(&mut second).await.is_none());
        readings.add_permits(2);
        let (first, second) = tokio::join!(first, second);
        assert_eq!(
            (first.unwrap().identity().subject(), second.unwrap().identity().subject()),
            ("u-1", "u-1")
        );
        assert!(env.clock.now() - began < REFRESH_PAUSE, "nobody waited for a second reading");
    }
}
