//! A router that was written with axum joins a system: where it is mounted, and who may come in.

use crate::{Host, ServiceDef};
use axum::Router;
use banyan_rpc::{Access, Service, http_contract};

/// Where the gateway mounts a service's router.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    pub(crate) prefix: &'static str,
    pub(crate) access: Access,
}

impl Mount {
    /// Returns the prefix of the paths that go to the router: `/` or `/one/or/more`.
    pub fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Returns who may come in.
    pub fn access(&self) -> Access {
        self.access
    }
}

impl ServiceDef {
    /// Announces that the service serves a router ([`Host::serve_router`]), which the gateway mounts under `prefix` for
    /// those whom `access` admits. With `/` it gets every path that neither a contract nor another prefix has.
    ///
    /// # Panics
    /// If the service has a router already, or the prefix is neither `/` nor segments of letters, digits, `-`, `.`, `_`
    /// and `~`, each after a `/`: a mistake in the program, found at its first start.
    #[must_use]
    pub fn router(mut self, prefix: &'static str, access: Access) -> Self {
        assert!(self.mount.is_none(), "service {} has two routers", self.name());
        assert!(is_prefix(prefix), "{prefix:?} cannot be the prefix of a router");
        self.mount = Some(Mount { prefix, access });
        self.contracts = self.contracts.iter().copied().chain([http_contract(self.name())]).collect();
        self
    }

    /// Returns where its router is mounted, if it has one.
    pub fn mount(&self) -> Option<Mount> {
        self.mount
    }
}

impl Host {
    /// Serves an axum router, unchanged, under the prefix that the definition of the service announces
    /// ([`ServiceDef::router`]).
    ///
    /// The router sees paths without that prefix. See [`Service::from_router`] for what it learns of its caller.
    pub fn serve_router(&self, router: Router) {
        self.serve(Service::from_router(self.name(), router));
    }
}

fn is_prefix(prefix: &str) -> bool {
    let segment = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    prefix == "/" || prefix.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_made_of_whole_plain_segments() {
        for good in ["/", "/old", "/old/shop", "/v1.0/~me"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in ["", "old", "/old/", "//", "/{id}", "/a*", "/a b", "/a?b", "/a%20b"] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }

    #[test]
    fn a_router_is_announced_as_a_contract() {
        let def = ServiceDef::new("legacy", ["acme.v1.Other"], |_| async { Ok(()) });
        let def = def.router("/old", Access::User);
        assert_eq!(def.contracts(), ["acme.v1.Other", "http:legacy"]);
        assert_eq!(def.mount().map(|mount| (mount.prefix(), mount.access())), Some(("/old", Access::User)));
    }
}
