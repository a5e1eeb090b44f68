//! Who calls, as every service asks it.

use banyan_core::{Context, Error, Identity, IdentityKind, Result};

/// The role that may do what the contracts reserve for administrators.
pub const ADMIN: &str = "admin";

/// Returns the user behind a call.
///
/// # Errors
/// [`banyan_core::Code::Unauthenticated`] for somebody who has not signed in, and for a service.
pub fn signed_in(cx: &Context) -> Result<&str> {
    match cx.identity().kind() {
        IdentityKind::User => Ok(cx.identity().subject()),
        IdentityKind::Anonymous | IdentityKind::Service => Err(Error::unauthenticated("sign in first")),
    }
}

/// Tells whether `identity` may see what belongs to the user `owner`: the person himself, an administrator, a service.
pub fn may_see(identity: &Identity, owner: &str) -> bool {
    match identity.kind() {
        IdentityKind::Service => true,
        IdentityKind::User => identity.subject() == owner || identity.has_role(ADMIN),
        IdentityKind::Anonymous => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::{Code, Env};

    fn user(user_id: &str, roles: &[&str]) -> Identity {
        Identity::user(user_id, &roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_somebodys_is_seen_by_him_only() {
        assert!(may_see(&user("u-1", &[]), "u-1"));
        assert!(may_see(&user("u-2", &[ADMIN]), "u-1"));
        assert!(may_see(&Identity::service("orders"), "u-1"));
        assert!(!may_see(&user("u-2", &["seller"]), "u-1"));
        // What has no owner is not everybody's.
        for owner in ["u-1", ""] {
            assert!(!may_see(&Identity::anonymous(), owner));
        }
    }

    #[test]
    fn only_a_user_is_signed_in() {
        let env = Env::default();
        assert_eq!(signed_in(&Context::new(&env, user("u-1", &[]))).unwrap(), "u-1");
        for identity in [Identity::anonymous(), Identity::service("u-1")] {
            let error = signed_in(&Context::new(&env, identity)).unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated);
        }
    }
}
