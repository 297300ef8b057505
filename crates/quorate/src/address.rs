//! Addresses as users give them.

/// Whether it is `host:port`. A name is not looked up.
pub(crate) fn is_host_and_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !port.is_empty() && port.parse::<u16>().is_ok())
}
