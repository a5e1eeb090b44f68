//! Logging in: passwords, sessions, and how often somebody may guess.

use crate::answer::{Answer, Body, refusal};
use crate::app::{Operator, Shared};
use crate::audit::{Deed, LOG_IN};
use crate::door::{COOKIE, token};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use banyan::{ConsoleRole, ConsoleSettings, ConsoleUser};
use banyan_core::{BoxFuture, Context, Env, Error, Result};
use banyan_identity::{PasswordOptions, Passwords, Secret};
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Sessions at once; the oldest ends when another begins.
const SESSIONS_MAX: usize = 1_000;
/// How long a session lasts.
const SESSION: Duration = Duration::from_secs(12 * 3_600);
/// Wrong passwords for one name, after which nobody can log in under it for a while.
const GUESSES_MAX: u32 = 5;
/// How long guesses count, and how long a name is locked then.
const LOCKED: Duration = Duration::from_secs(300);
/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 1_024;
/// Logins that are checked at once and that wait: each takes 19 MiB and a good part of a second of a core.
const CHECKED_AT_ONCE: usize = 1;
const WAITING_MAX: usize = 16;

/// The users of a console, and who of them has logged in.
pub(crate) struct Sessions {
    users: BTreeMap<String, ConsoleUser>,
    required: bool,
    /// Whether browsers speak TLS: then they are told to send the cookie no other way.
    secure: bool,
    passwords: Passwords,
    env: Env,
    open: Mutex<HashMap<String, Session>>,
    /// By name; all names that nobody has are one.
    guesses: Mutex<HashMap<String, Guesses>>,
}

struct Session {
    operator: Operator,
    until: Instant,
    /// Nothing is ever sent: it is dropped with the session, and who waits for that hears of it.
    open: watch::Sender<()>,
}

struct Guesses {
    count: u32,
    since: Instant,
}

impl Sessions {
    pub(crate) fn new(settings: &ConsoleSettings, env: &Env) -> Result<Self> {
        let options = PasswordOptions {
            concurrent_max: CHECKED_AT_ONCE,
            waiting_max: WAITING_MAX,
            ..PasswordOptions::default()
        };
        Ok(Self {
            users: settings.users.clone(),
            required: !settings.users.is_empty() || !settings.listen.is_loopback(),
            secure: settings.tls_cert.is_some() || settings.behind_proxy,
            passwords: Passwords::new(&options)?,
            env: env.clone(),
            open: Mutex::default(),
            guesses: Mutex::default(),
        })
    }

    /// Tells whether one must log in.
    pub(crate) fn required(&self) -> bool {
        self.required
    }

    /// Returns whose session `token` is.
    pub(crate) fn find(&self, token: &str) -> Option<Operator> {
        let open = self.open.lock();
        open.get(token).filter(|session| session.until > self.env.clock.now()).map(|s| s.operator.clone())
    }

    /// Returns what is over when the session `token` is: by a logout, by its age, or because others took its place. `None` if
    /// it is over already.
    pub(crate) fn ended(&self, token: &str) -> Option<BoxFuture<'static, ()>> {
        let open = self.open.lock();
        let session = open.get(token).filter(|session| session.until > self.env.clock.now())?;
        let (until, mut open) = (session.until, session.open.subscribe());
        Some(Box::pin(async move {
            // Either way it is over.
            let _ = tokio::time::timeout_at(until, open.changed()).await;
        }))
    }

    /// Checks a password.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unauthenticated`] for a wrong name or password, which of the two is not told;
    /// [`banyan_core::Code::ResourceExhausted`] after too many guesses.
    pub(crate) async fn prove(&self, cx: &Context, name: &str, password: Secret<String>) -> Result<Operator> {
        let user = self.users.get(name);
        let counted = self.counted(name);
        self.guess(counted)?;
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Err(Error::invalid("password", "is longer than 1024 bytes"));
        }
        let right = match user {
            Some(user) => self.passwords.verify(cx, password, &user.password_hash).await?,
            None => self.passwords.verify_dummy(cx, password).await.map(|()| false)?,
        };
        match user {
            Some(user) if right => {
                self.guesses.lock().remove(counted);
                Ok(Operator { name: name.into(), role: user.role })
            }
            _ => Err(Error::unauthenticated("the name or the password is wrong")),
        }
    }

    /// Counts a guess before it is looked at: guesses at once count too.
    fn guess(&self, name: &str) -> Result<()> {
        let now = self.env.clock.now();
        let mut guesses = self.guesses.lock();
        let of = guesses.entry(name.to_owned()).or_insert(Guesses { count: 0, since: now });
        let passed = now.saturating_duration_since(of.since);
        if passed >= LOCKED {
            *of = Guesses { count: 0, since: now };
        }
        if of.count >= GUESSES_MAX {
            // One more: that it is locked has been told.
            of.count = GUESSES_MAX + 1;
            return Err(locked(passed));
        }
        of.count += 1;
        Ok(())
    }

    /// Refuses a name that is locked, once that has been noted: who guesses without end must not fill the audit log, which
    /// forgets its oldest entries for it.
    fn refuse_again(&self, name: &str) -> Result<()> {
        let now = self.env.clock.now();
        let guesses = self.guesses.lock();
        let noted = guesses.get(self.counted(name)).filter(|of| of.count > GUESSES_MAX);
        let passed = noted.map(|of| now.saturating_duration_since(of.since));
        passed.filter(|passed| *passed < LOCKED).map_or(Ok(()), |passed| Err(locked(passed)))
    }

    /// Returns the name that guesses are counted under.
    fn counted<'n>(&self, name: &'n str) -> &'n str {
        if self.users.contains_key(name) { name } else { "" }
    }

    /// Begins a session; returns its token.
    fn begin(&self, operator: Operator) -> Result<String> {
        let mut bytes = [0u8; 32];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| Error::internal("the operating system gives no randomness"))?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = self.env.clock.now();
        let mut open = self.open.lock();
        open.retain(|_, session| session.until > now);
        if open.len() >= SESSIONS_MAX
            && let Some(oldest) = open.iter().min_by_key(|(_, s)| s.until).map(|(token, _)| token.clone())
        {
            open.remove(&oldest);
        }
        let session = Session { operator, until: now + SESSION, open: watch::Sender::new(()) };
        open.insert(token.clone(), session);
        Ok(token)
    }

    fn end(&self, token: &str) {
        self.open.lock().remove(token);
    }

    fn cookie(&self, token: &str, lasts: Duration) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        let lasts = lasts.as_secs();
        format!("{COOKIE}={token}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}")
    }
}

fn locked(passed: Duration) -> Error {
    let after = LOCKED.saturating_sub(passed);
    let message = format!("too many wrong passwords: wait {} s", after.as_secs().max(1));
    Error::overloaded(message).with_retry_after(after)
}

/// A name and a password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    name: String,
    password: Secret<String>,
}

/// Who one is.
pub(crate) async fn who(State(app): Shared, operator: Option<Extension<Operator>>) -> Response {
    match operator {
        Some(Extension(operator)) => Json(shown(&app, &operator)).into_response(),
        None => refusal(&Error::unauthenticated("log in first")),
    }
}

pub(crate) async fn log_in(State(app): Shared, Body(login): Body<Login>) -> Response {
    if !app.sessions.required() {
        return refusal(&Error::invalid("name", "nobody logs in here: this console has no users"));
    }
    let Login { name, password } = login;
    if let Err(error) = app.sessions.refuse_again(&name) {
        return refusal(&error);
    }
    let claimed: String = name.chars().take(64).collect();
    let deed = Deed {
        action: LOG_IN,
        needs: ConsoleRole::Viewer,
        target: "console".to_owned(),
        arguments: json!({}),
    };
    // Who it is, is not proven yet: the log says who it is said to be.
    let role = app.sessions.users.get(&name).map_or(ConsoleRole::Viewer, |user| user.role);
    let (proving, whose) = (app.clone(), Operator { name: claimed.into(), role });
    let begun = app.act(&whose, deed, async move {
        let operator = proving.sessions.prove(&proving.context(), &name, password).await?;
        let session = shown(&proving, &operator);
        Ok(json!({"token": proving.sessions.begin(operator)?, "session": session}))
    });
    match begun.await {
        Ok(begun) => {
            let cookie = app.sessions.cookie(begun["token"].as_str().unwrap_or_default(), SESSION);
            ([(header::SET_COOKIE, cookie)], Json(begun["session"].clone())).into_response()
        }
        Err(error) => refusal(&error),
    }
}

pub(crate) async fn log_out(State(app): Shared, headers: HeaderMap) -> Response {
    if let Some(token) = token(&headers) {
        app.sessions.end(token);
    }
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, app.sessions.cookie("", Duration::ZERO))]).into_response()
}

fn shown(app: &crate::app::App, operator: &Operator) -> serde_json::Value {
    json!({
        "user": &*operator.name, "role": operator.role.name(), "login_required": app.sessions.required(),
        "system": app.parts.system.name(), "version": app.parts.system.version(),
    })
}

/// What was done in the console.
pub(crate) async fn operations(
    State(app): Shared,
    crate::answer::Asked(asked): crate::answer::Asked<Operations>,
) -> Answer {
    let Operations { before, limit } = asked;
    let path = app.audit.path().to_owned();
    let read = tokio::task::spawn_blocking(move || crate::audit::operations(&path, before, limit));
    let listed = read.await.map_err(Error::internal).flatten();
    Answer(listed.map(|entries| {
        let next = entries.last().filter(|_| entries.len() == limit).map(|last| last.number);
        json!({"entries": entries, "next": next})
    }))
}

/// The question of a list of operations.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Operations {
    /// Only those before this number: `next` of the page before.
    before: Option<u64>,
    limit: usize,
}

impl Default for Operations {
    fn default() -> Self {
        Self { before: None, limit: 100 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_session_is_heard_of() {
        let env = Env::default();
        let sessions = Sessions::new(&ConsoleSettings::default(), &env).expect("it can be made");
        let begin = || {
            let operator = Operator { name: "vic".into(), role: ConsoleRole::Viewer };
            let token = sessions.begin(operator).expect("there is randomness");
            let ended = sessions.ended(&token).expect("it has just begun");
            (token, ended)
        };
        let begun = env.clock.now();
        let (token, ended) = begin();
        let (old, aged) = begin();
        sessions.end(&token);
        ended.await;
        assert_eq!(env.clock.now(), begun, "a logout is heard of at once");
        aged.await;
        assert_eq!(env.clock.now(), begun + SESSION);
        assert!(sessions.ended(&token).is_none() && sessions.ended(&old).is_none());
    }
}
