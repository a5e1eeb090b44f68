//! What an account is, who may see it, and what its token says. Pure: no store, no clock, no network.

use banyan::prelude::*;
use banyan_identity::{Claims, Secret};
use shop_contracts::callers::{ADMIN, may_see};
use shop_contracts::checks::check_text;

const EMAIL_CHARS_MAX: usize = 254;
const EMAIL_LOCAL_PART_CHARS_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 200;
const COUNTRY_CHARS_MAX: usize = 60;
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_CHARS_MAX: usize = 200;

/// An e-mail address in lower case. Whether somebody reads it only a letter could tell; its shape is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Email(String);

/// What a person says about himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) email: Email,
    pub(crate) name: String,
    /// The country's English name; may be empty.
    pub(crate) country: String,
}

/// A password that may be chosen: long enough, and not longer than anybody needs.
#[derive(Clone, Debug)]
pub(crate) struct Password(Secret<String>);

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user_id: String,
    pub(crate) profile: Profile,
    pub(crate) is_admin: bool,
    pub(crate) created_at_ms: u64,
}

/// What all tokens have in common.
#[derive(Clone, Debug)]
pub(crate) struct TokenTerms {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) lifetime_s: u64,
}

impl Email {
    /// Reads an address: `local@domain.tld` without spaces, at most 254 characters.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] for the field `email`.
    pub(crate) fn new(text: &str) -> Result<Self> {
        let invalid = |description| Err(Error::invalid("email", description));
        if text.is_empty() {
            return invalid("is required");
        }
        if text.chars().count() > EMAIL_CHARS_MAX {
            return invalid("must have at most 254 characters");
        }
        if !looks_like_email(text) {
            return invalid("must look like name@example.com");
        }
        Ok(Self(text.to_lowercase()))
    }

    /// Takes an address as it was stored.
    pub(crate) fn stored(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let labels: Vec<&str> = domain.split('.').collect();
    !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && (1..=EMAIL_LOCAL_PART_CHARS_MAX).contains(&local.chars().count())
        && labels.len() >= 2
        && labels.iter().all(|label| {
            !label.is_empty()
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
                && !label.starts_with('-')
        })
}

impl Profile {
    /// Checks what a person says about himself; spaces around name and country are dropped.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] naming the field.
    pub(crate) fn new(email: &str, name: &str, country: &str) -> Result<Self> {
        let (name, country) = (name.trim(), country.trim());
        if name.is_empty() {
            return Err(Error::invalid("name", "is required"));
        }
        for (field, value, max) in [("name", name, NAME_CHARS_MAX), ("country", country, COUNTRY_CHARS_MAX)] {
            check_text(field, value, max)?;
        }
        Ok(Self { email: Email::new(email)?, name: name.to_owned(), country: country.to_owned() })
    }
}

impl Password {
    /// Checks a password that is to be used from now on: 8 to 200 characters.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] for the field `password`.
    pub(crate) fn new(text: impl Into<Secret<String>>) -> Result<Self> {
        let secret = text.into();
        if !(PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&secret.expose().chars().count()) {
            let range = format!("must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters");
            return Err(Error::invalid("password", range));
        }
        Ok(Self(secret))
    }

    pub(crate) fn into_secret(self) -> Secret<String> {
        self.0
    }
}

impl Account {
    pub(crate) fn roles(&self) -> Vec<String> {
        if self.is_admin { vec![ADMIN.to_owned()] } else { Vec::new() }
    }

    /// Tells whether `identity` may see the account: the person himself, an administrator, a service of the system.
    pub(crate) fn is_visible_to(&self, identity: &Identity) -> bool {
        may_see(identity, &self.user_id)
    }

    /// Returns what the token says that a login gets at `now_s` (seconds since the Unix epoch).
    pub(crate) fn claims(&self, terms: &TokenTerms, token_id: String, now_s: u64) -> Claims {
        Claims {
            sub: self.user_id.clone(),
            roles: self.roles(),
            iss: terms.issuer.clone(),
            aud: vec![terms.audience.clone()],
            iat: now_s,
            exp: now_s + terms.lifetime_s,
            nbf: None,
            jti: token_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_field<T: std::fmt::Debug>(outcome: Result<T>) -> String {
        let error = outcome.expect_err("it was accepted");
        assert_eq!(error.code(), Code::InvalidArgument);
        error.violations()[0].field.clone()
    }

    fn account(user_id: &str, is_admin: bool) -> Account {
        let profile = Profile::new("ann@example.com", "Ann", "France").unwrap();
        Account { user_id: user_id.into(), profile, is_admin, created_at_ms: 0 }
    }

    #[test]
    fn addresses_are_compared_in_lower_case() {
        assert_eq!(
            Email::new("Ann.O'Hara+shop@Example.CO.UK").unwrap().as_str(),
            "ann.o'hara+shop@example.co.uk"
        );
        assert_eq!(Email::new("jürgen@müller.de").unwrap().as_str(), "jürgen@müller.de");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}.com", "b".repeat(260));
        for bad in [
            "",
            "ann",
            "@",
            "ann@",
            "@example.com",
            "ann@example",
            "ann@.com",
            "ann@example.",
            "ann@exa mple.com",
            " ann@example.com",
            "ann@example.com\n",
            "a@b@example.com",
            "ann@-example.com",
            "ann@example..com",
            &long_local,
            &long,
        ] {
            assert_eq!(refused_field(Email::new(bad)), "email", "{bad:?}");
        }
    }

    #[test]
    fn a_profile_is_refused_by_the_name_of_its_field() {
        let profile = Profile::new("ann@example.com", " Ann ", "").unwrap();
        assert_eq!((profile.name.as_str(), profile.country.as_str()), ("Ann", ""));
        for (field, email, name, country) in [
            ("email", "ann", "Ann", "France"),
            ("name", "ann@example.com", " ", "France"),
            ("name", "ann@example.com", &"é".repeat(201), "France"),
            ("name", "ann@example.com", "A\u{7}nn", "France"),
            ("country", "ann@example.com", "Ann", &"x".repeat(61)),
        ] {
            assert_eq!(refused_field(Profile::new(email, name, country)), field);
        }
        assert!(
            Profile::new("ann@example.com", &"é".repeat(200), "").is_ok(),
            "characters count, not octets"
        );
    }

    #[test]
    fn a_password_has_eight_to_two_hundred_characters() {
        for good in [8, 200] {
            assert!(Password::new("é".repeat(good)).is_ok());
        }
        for bad in [0, 7, 201, 100_000] {
            assert_eq!(refused_field(Password::new("é".repeat(bad))), "password");
        }
    }

    #[test]
    fn an_account_is_seen_by_its_owner_administrators_and_services() {
        let account = account("u-1", false);
        assert!(account.is_visible_to(&Identity::user("u-1", &[])));
        assert!(account.is_visible_to(&Identity::user("u-2", &[ADMIN.into()])));
        assert!(account.is_visible_to(&Identity::service("notifications")));
        assert!(!account.is_visible_to(&Identity::user("u-2", &["staff".into()])));
        assert!(!account.is_visible_to(&Identity::anonymous()));
    }

    #[test]
    fn a_token_says_whose_it_is_and_when_it_ends() {
        let terms = TokenTerms { issuer: "i".into(), audience: "a".into(), lifetime_s: 900 };
        let claims = account("u-1", true).claims(&terms, "t-1".into(), 1_000);
        assert_eq!((claims.sub.as_str(), claims.roles.as_slice()), ("u-1", &[ADMIN.to_owned()][..]));
        assert_eq!((claims.iat, claims.exp, claims.jti.as_str()), (1_000, 1_900, "t-1"));
        assert!(account("u-2", false).claims(&terms, String::new(), 0).roles.is_empty());
    }
}
