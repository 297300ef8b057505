//! The names of a node, and which requests they let in: `origin_guard` is the layer that asks.
//!
//! Decides by method, `Host` and `Origin` alone; owns nothing but the names, which stay as they were at the start.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, header};

use super::code::Code;
use super::problem::Problem;

/// Any name: the operator vouches that no web page can reach this node.
const ANY: &str = "*";

/// The names of a node.
#[derive(Debug)]
pub(crate) struct Names {
    /// In small letters, without a dot at the end.
    own: BTreeSet<String>,
    /// Those that the operator listed; a page of one of them may write, whatever its port.
    allowed: BTreeSet<String>,
}

impl Names {
    /// Of what the node knows of itself, and of what the operator listed.
    pub(crate) fn new<'a>(own: impl IntoIterator<Item = &'a str>, allowed: &[String]) -> Self {
        let own = own.into_iter().map(plain).collect();
        Self { own, allowed: allowed.iter().map(|name| plain(name)).collect() }
    }

    fn knows(&self, authority: &Authority) -> bool {
        let name = plain(authority.host());
        is_address(&name)
            || name == "localhost"
            || self.own.contains(&name)
            || self.allowed.contains(&name)
            || self.allowed.contains(ANY)
    }

    /// Why a request with these headers is not answered.
    pub(crate) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        let origin = headers.get_all(header::ORIGIN);
        let from_page = origin.iter().next().is_some();
        let called = called(uri, headers)?;
        if !changes && !from_page {
            return Ok(());
        }
        if let Some(called) = called.as_ref().filter(|called| !self.knows(called)) {
            let detail = format!(
                "this node is not known as {:?}; call it by its address, or name that host in --allowed-hosts",
                called.host()
            );
            return Err(Problem::new(Code::UnknownHost, detail));
        }
        let is_own = |text: &[u8]| self.is_own_page(text, called.as_ref());
        if changes && !origin.iter().all(|origin| is_own(origin.as_bytes())) {
            let detail = "a web page of another origin may not change anything here; send the request without a browser, or \
                          name the page's host in --allowed-hosts";
            return Err(Problem::new(Code::ForeignOrigin, detail));
        }
        Ok(())
    }

    /// Whether `Origin` is the node as the request calls it, or a host that the operator listed. It is `null` for a page from a
    /// file or in a sandbox.
    fn is_own_page(&self, origin: &[u8], called: Option<&Authority>) -> bool {
        let Ok(origin) = Uri::try_from(origin) else { return false };
        let (Some(scheme), Some(page)) = (origin.scheme_str(), origin.authority()) else { return false };
        let usual_port = if scheme == "https" { 443 } else { 80 };
        let same = |called: &Authority| {
            let port = |of: &Authority| of.port_u16().unwrap_or(usual_port);
            plain(called.host()) == plain(page.host()) && port(called) == port(page)
        };
        called.is_some_and(same) || self.allowed.contains(&plain(page.host()))
    }
}

/// The node as the request calls it: in its target, otherwise in `Host`.
fn called(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::new(Code::BadParameter, "there are two Host headers; send one"));
    }
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let Some(host) = host.filter(|host| !host.is_empty()) else { return Ok(None) };
    let read = Authority::try_from(host.as_bytes());
    read.map(Some).map_err(|_| Problem::new(Code::BadParameter, "header Host is not a host with its port"))
}

/// A name in the form in which names are compared; an IPv6 address without its brackets.
fn plain(name: &str) -> String {
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// An IP address; the zone of a link-local one is behind `%`.
fn is_address(name: &str) -> bool {
    name.split('%').next().is_some_and(|name| name.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, headers: &[(&str, &str)]) -> Option<Code> {
        let names = Names::new(["node0.local", "DB0.example."], &["lb.example".to_owned()]);
        check_by(&names, method, headers)
    }

    fn check_by(names: &Names, method: &Method, headers: &[(&str, &str)]) -> Option<Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, value.parse().expect("a value"));
        }
        names.check(method, &Uri::from_static("/v1/kv/k"), &map).err().map(|problem| problem.code)
    }

    #[test]
    fn clients_call_a_node_by_an_address_or_a_name_of_its_own() {
        for host in [
            "127.0.0.1:8000",
            "[::1]:8000",
            "10.1.2.3",
            "localhost:8000",
            "LOCALHOST",
            "db0.example:80",
            "lb.example",
            "",
        ] {
            assert_eq!(check(&Method::PUT, &[("host", host)]), None, "{host}");
        }
        assert_eq!(check(&Method::PUT, &[]), None, "HTTP/1.0");
        for host in [
            "evil.example:8000",
            "localhost.evil.example",
            "lb.example.evil",
            "127.0.0.1.evil.example",
            "0x7f.1",
        ] {
            assert_eq!(check(&Method::PUT, &[("host", host)]), Some(Code::UnknownHost), "{host}");
            assert_eq!(check(&Method::GET, &[("host", host)]), None, "a read by {host} changes nothing");
            let read = check(&Method::GET, &[("host", host), ("origin", "http://evil.example")]);
            assert_eq!(read, Some(Code::UnknownHost), "{host}: a page whose name was resolved to this node");
        }
        for twice in [&["localhost", "evil.example"][..], &["a b"]] {
            let hosts: Vec<_> = twice.iter().map(|host| ("host", *host)).collect();
            assert_eq!(check(&Method::GET, &hosts), Some(Code::BadParameter), "{twice:?}");
        }
    }

    #[test]
    fn only_a_page_of_the_node_may_change_anything() {
        for (host, origin) in [
            ("localhost:8000", "http://localhost:8000"),
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
            ("lb.example", "https://lb.example"),
            // A proxy that calls the node by its address.
            ("10.1.2.3:8000", "https://lb.example"),
            ("localhost:80", "http://localhost"),
        ] {
            assert_eq!(check(&Method::POST, &[("host", host), ("origin", origin)]), None, "{host} {origin}");
        }
        for (host, origin) in [
            ("localhost:8000", "http://evil.example"),
            ("localhost:8000", "http://localhost:3000"),
            ("localhost:8000", "https://localhost"),
            ("127.0.0.1:8000", "http://127.0.0.2:8000"),
            ("localhost:8000", "null"),
            ("localhost:8000", ""),
            ("10.1.2.3:8000", "http://node0.local:8000"),
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                let code = check(&method, &[("host", host), ("origin", origin)]);
                assert_eq!(code, Some(Code::ForeignOrigin), "{method} {host} {origin}");
            }
            assert_eq!(check(&Method::GET, &[("host", host), ("origin", origin)]), None, "{host} {origin}");
        }
        let both = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://evil.example")];
        assert_eq!(check(&Method::POST, &both), Some(Code::ForeignOrigin));
        assert_eq!(check(&Method::POST, &[("origin", "http://localhost")]), Some(Code::ForeignOrigin));
    }

    #[test]
    fn a_star_allows_any_name_and_still_no_foreign_page() {
        let names = Names::new([], &[ANY.to_owned()]);
        assert_eq!(check_by(&names, &Method::PUT, &[("host", "any.example")]), None);
        let page = [("host", "any.example"), ("origin", "http://evil.example")];
        assert_eq!(check_by(&names, &Method::PUT, &page), Some(Code::ForeignOrigin));
    }
}
