//! Who asks: the identity a call carries across placements.

use std::sync::Arc;

/// What kind of caller an [`Identity`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// Nobody has proven anything.
    Anonymous,
    /// A person, proven by a verified token.
    User,
    /// A service of this system, acting for itself (an event handler, a saga, a timer).
    Service,
}

/// The verified identity behind a call. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    kind: IdentityKind,
    subject: Arc<str>,
    roles: Arc<[String]>,
}

impl Identity {
    /// Returns the identity of a caller that has proven nothing.
    pub fn anonymous() -> Self {
        Self { kind: IdentityKind::Anonymous, subject: "".into(), roles: [].into() }
    }

    /// Returns the identity of the person `subject`, who holds `roles`.
    pub fn user(subject: &str, roles: &[String]) -> Self {
        Self { kind: IdentityKind::User, subject: subject.into(), roles: roles.into() }
    }

    /// Returns the identity of the service `name`.
    pub fn service(name: &str) -> Self {
        Self { kind: IdentityKind::Service, subject: name.into(), roles: [].into() }
    }

    pub fn kind(&self) -> IdentityKind {
        self.kind
    }

    /// Returns the user's id or the service's name; empty for an anonymous caller.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|r| r == role)
    }

    /// Writes the identity as one header value: `kind;subject;role,role`.
    pub fn to_header(&self) -> String {
        let kind = match self.kind {
            IdentityKind::Anonymous => "anonymous",
            IdentityKind::User => "user",
            IdentityKind::Service => "service",
        };
        format!("{kind};{};{}", self.subject, self.roles.join(","))
    }

    /// Reads what [`Identity::to_header`] wrote. Only for peers that have authenticated themselves.
    pub fn from_header(value: &str) -> Option<Self> {
        let mut parts = value.splitn(3, ';');
        let (kind, subject, roles) = (parts.next()?, parts.next()?, parts.next()?);
        let roles: Vec<String> = roles.split(',').filter(|r| !r.is_empty()).map(str::to_owned).collect();
        match kind {
            "anonymous" => Some(Self::anonymous()),
            "user" => Some(Self::user(subject, &roles)),
            "service" => Some(Self::service(subject)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_header() {
        for identity in [
            Identity::anonymous(),
            Identity::service("orders"),
            Identity::user("u-1", &["admin".into(), "staff".into()]),
        ] {
            assert_eq!(Identity::from_header(&identity.to_header()), Some(identity));
        }
        assert_eq!(Identity::from_header("root;x;"), None);
    }
}
