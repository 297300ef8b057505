//! `host:port`, as people write it and as it is dialled.

use std::fmt;
use std::net::IpAddr;

/// One node of the list with which a cluster is founded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The node's id.
    pub id: String,
    /// The name or address that its peers dial; IPv6 without brackets.
    pub host: String,
    /// The port that its peers dial.
    pub port: u16,
}

impl Listed {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        join(&self.host, self.port)
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.id, self.address())
    }
}

/// Why a text is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The host or the port is missing, or the host holds what no host can.
    #[error("{0:?} is not host:port, for example localhost:7000")]
    Form(String),
    /// An IPv6 address whose end cannot be told from the port.
    #[error("{0:?}: write an IPv6 address in brackets, as [::1]:7000")]
    Brackets(String),
    /// A link-local address with its interface.
    #[error(
        "{0:?}: an address with a zone (%) means one interface of one machine, and is another one elsewhere; give an address \
         without one, or a host name"
    )]
    Zone(String),
    /// The port is not a number of 16 bits.
    #[error("{0:?}: the port must be a number from 0 to 65535")]
    Port(String),
}

/// `host:port`, with brackets around an IPv6 address.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Host (IPv6 without its brackets) and port of `host:port`.
pub fn split(text: &str) -> Result<(String, u16), AddressError> {
    let wrong = || AddressError::Form(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
        None if host.contains(':') => return Err(AddressError::Brackets(text.to_owned())),
        None => host,
    };
    if host.contains('%') {
        return Err(AddressError::Zone(text.to_owned()));
    }
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/' || c == '=') {
        return Err(wrong());
    }
    let port = port.parse().map_err(|_| AddressError::Port(text.to_owned()))?;
    Ok((host.to_owned(), port))
}

/// Whether a host is only this machine's, as far as its name says.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a host stands for every interface, so that it can be bound and not dialled.
pub fn is_wildcard(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    matches!(bare, "" | "*") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}
