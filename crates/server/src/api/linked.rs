//! To which members this node has a link, and to which not: since when, where they are dialled, and what the last attempt said.
//!
//! A node that reaches no one has no leader either, and that alone says nothing of its network.

use quorate::{LinkState, LinkStatus};

/// Why nothing can be sent to a node; `None` while there is a link to it.
pub(super) fn why_down(link: Option<&LinkStatus>) -> Option<String> {
    let Some(link) = link else { return Some("not dialled".to_owned()) };
    if link.state == LinkState::Up {
        return None;
    }
    let LinkStatus { address, down_for, last_error, .. } = link;
    let since = down_for.map_or_else(String::new, |down_for| format!(" for {:.1} s", down_for.as_secs_f64()));
    let why = last_error.as_deref().unwrap_or("still connecting");
    Some(format!("{address} is not connected{since}: {why}"))
}

/// The nodes to which there is no link, with the reasons; nothing if there is none.
pub(super) fn cut(links: &[LinkStatus]) -> Option<String> {
    let cut = |link: &LinkStatus| Some(format!("{} ({})", link.node, why_down(Some(link))?));
    let cut: Vec<String> = dialled(links).filter_map(cut).collect();
    (!cut.is_empty()).then(|| format!("no link to {}", cut.join(", ")))
}

/// Whether a node that has others reaches one of them, and what is to be said of all.
pub(super) fn connected(links: &[LinkStatus]) -> (bool, String) {
    let up = dialled(links).filter(|link| link.state == LinkState::Up);
    let up: Vec<&str> = up.map(|link| link.node.as_str()).collect();
    match (up.is_empty(), cut(links)) {
        (true, None) => (true, "there is no other member".to_owned()),
        (true, Some(cut)) => (false, format!("no other member is connected; {cut}")),
        (false, None) => (true, format!("connected to {}", up.join(", "))),
        (false, Some(cut)) => (true, format!("connected to {}; {cut}", up.join(", "))),
    }
}

/// Links to members. Clients, and nodes that are members no more, are not dialled.
fn dialled(links: &[LinkStatus]) -> impl Iterator<Item = &LinkStatus> {
    links.iter().filter(|link| link.state != LinkState::Idle)
}
