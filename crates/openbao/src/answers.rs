//! What the server answers, and what it means when it refuses.

use banyan_core::{Code, Error, Reason, Result};
use banyan_identity::{SECRET_MISSING, Secret};
use serde::Deserialize;
use serde_json::{Map, Value};

/// OpenBao refuses the login, or its policies refuse a secret.
pub const OPENBAO_REFUSED: Reason = Reason::new("OPENBAO_REFUSED");

/// How much of what the server says becomes part of an error, in characters.
const SAID_MAX: usize = 200;

/// The part of every answer that is of use here.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) lease_id: String,
    pub(crate) lease_duration: u64,
    pub(crate) renewable: bool,
    pub(crate) data: Option<Map<String, Value>>,
    pub(crate) auth: Option<Auth>,
}

/// What a login, or the renewal of a token, answers.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Auth {
    pub(crate) client_token: Option<Secret<String>>,
    pub(crate) lease_duration: u64,
    pub(crate) renewable: bool,
}

/// Reads an answer; `what` is what was asked for, without any secret.
pub(crate) fn answer(what: &str, status: u16, body: &[u8]) -> Result<Answer> {
    if (200..300).contains(&status) {
        if body.is_empty() {
            return Ok(Answer::default());
        }
        // The cause may quote the body.
        return serde_json::from_slice(body)
            .map_err(|_| Error::unavailable(format!("OpenBao answers {what} with what is not its JSON")));
    }
    let said = said(body);
    Err(match status {
        404 => Error::new(
            Code::FailedPrecondition,
            SECRET_MISSING,
            format!("OpenBao has nothing for {what}{said}"),
        ),
        400 | 401 | 403 => {
            Error::new(Code::PermissionDenied, OPENBAO_REFUSED, format!("OpenBao refuses {what}{said}"))
        }
        _ => Error::unavailable(format!("OpenBao answers {what} with status {status}{said}")),
    })
}

/// Returns what the server says about an error.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let errors = serde_json::from_slice::<Errors>(body).map(|body| body.errors).unwrap_or_default();
    let said: String = errors.join("; ").split_whitespace().collect::<Vec<_>>().join(" ");
    match said.is_empty() {
        true => String::new(),
        false => format!(": {}", said.chars().take(SAID_MAX).collect::<String>()),
    }
}
