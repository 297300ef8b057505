//! From where a request comes: from the machine that the node runs on, or from elsewhere.
//!
//! There are no users yet. What reaches the port may read and write, but to end a process is another matter: what has an account on its
//! machine could do that anyhow.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// What a proxy adds to a request that it passes on; the proxy may be on this machine, and its client is not.
const OF_PROXIES: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Where the other end of a connection is; each of its requests has this among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    Here,
    Elsewhere,
}

impl Caller {
    /// By the addresses of a connection: on the loopback, or at an address of this machine, to which it was made.
    pub(crate) fn of(own: Option<SocketAddr>, other: Option<SocketAddr>) -> Self {
        let [own, other] = [own, other].map(|address| address.map(|address| address.ip().to_canonical()));
        match other {
            Some(other) if other.is_loopback() || own == Some(other) => Self::Here,
            Some(_) | None => Self::Elsewhere,
        }
    }

    fn with(self, headers: &HeaderMap) -> Self {
        if OF_PROXIES.iter().any(|name| headers.contains_key(*name)) { Self::Elsewhere } else { self }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get().copied().unwrap_or(Self::Elsewhere);
        Ok(caller.with(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn this_machine_is_told_from_others_and_from_what_a_proxy_passes_on() {
        let of = |own: &str, other: &str| Caller::of(own.parse().ok(), other.parse().ok());
        assert_eq!(of("127.0.0.1:8000", "127.0.0.1:9"), Caller::Here);
        assert_eq!(of("[::]:8000", "[::1]:9"), Caller::Here);
        assert_eq!(of("[::ffff:127.0.0.1]:8000", "[::ffff:127.0.0.1]:9"), Caller::Here);
        assert_eq!(of("10.0.0.1:8000", "10.0.0.1:9"), Caller::Here);
        assert_eq!(of("10.0.0.1:8000", "10.0.0.2:9"), Caller::Elsewhere);
        assert_eq!(of("", ""), Caller::Elsewhere, "not known");
        for name in OF_PROXIES {
            let headers =
                HeaderMap::from_iter([(name.parse().expect("a name"), HeaderValue::from_static("x"))]);
            assert_eq!(Caller::Here.with(&headers), Caller::Elsewhere, "{name}");
        }
        assert_eq!(Caller::Here.with(&HeaderMap::new()), Caller::Here);
    }
}
