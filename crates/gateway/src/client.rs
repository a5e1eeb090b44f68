//! Which address a request comes from, behind proxies that may say so.

use crate::limits::wrong;
use banyan_core::Result;
use http::HeaderMap;
use ipnet::IpNet;
use std::net::IpAddr;

/// What proxies append the address to that they got a request from.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies that are believed.
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads addresses and networks.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the one that is none.
    pub(crate) fn new(texts: &[String]) -> Result<Self> {
        let read = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
                let message = format!("{text:?} is no address and no network such as 10.0.0.0/8");
                wrong("gateway.trusted_proxies".to_owned(), message)
            })
        };
        texts.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Returns the address of the client: the last one on the way here that is no trusted proxy's.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.to_canonical();
        if !self.trusts(address) {
            return address;
        }
        let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let hops =
            values.iter().rev().filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
        for hop in hops {
            // What is no address was not written by a proxy that is trusted.
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
            address = hop.to_canonical();
            if !self.trusts(address) {
                break;
            }
        }
        address
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&'static str]) -> String {
        let texts: Vec<_> = proxies.iter().map(ToString::to_string).collect();
        let headers =
            forwarded.iter().map(|value| (FORWARDED_FOR.parse().unwrap(), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        map.extend(headers.map(|(name, value): (http::HeaderName, _)| (name, value)));
        Proxies::new(&texts).unwrap().client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn a_header_is_believed_as_far_as_trusted_proxies_wrote_it() {
        let proxies = ["10.0.0.0/8", "127.0.0.1", "fd00::/8"];
        // Nobody is believed unless he is named.
        assert_eq!(client(&[], "127.0.0.1", &["9.9.9.9"]), "127.0.0.1");
        assert_eq!(client(&proxies, "8.8.8.8", &["9.9.9.9"]), "8.8.8.8");
        assert_eq!(client(&proxies, "127.0.0.1", &["9.9.9.9"]), "9.9.9.9");
        // What the client itself sent stands before what the proxies appended.
        assert_eq!(client(&proxies, "127.0.0.1", &["1.1.1.1, 9.9.9.9, 10.1.2.3"]), "9.9.9.9");
        assert_eq!(client(&proxies, "127.0.0.1", &["1.1.1.1", "9.9.9.9,10.1.2.3"]), "9.9.9.9");
        assert_eq!(client(&proxies, "127.0.0.1", &["unknown, 10.1.2.3"]), "10.1.2.3");
        assert_eq!(client(&proxies, "127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client(&proxies, "::ffff:127.0.0.1", &["2001:db8::1, fd00::1"]), "2001:db8::1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let error = Proxies::new(&["10.0.0.0/33".to_owned()]).map(drop).unwrap_err();
        assert_eq!(error.violations()[0].field, "gateway.trusted_proxies");
    }
}
