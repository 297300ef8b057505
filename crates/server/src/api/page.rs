//! `/`: a page of links and the node's status, until the dashboard is built.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::Html;

use super::params::{NoParams, Params};
use super::problem::Problems;
use super::state::AppState;
use super::status::this_node;

const LINKS: [(&str, &str); 9] = [
    ("/v1/status", "every node's role, term and indexes"),
    ("/v1/cluster", "the members, and who leads"),
    ("/v1/kv", "the keys"),
    ("/v1/counters", "the counters"),
    ("/v1/log", "the newest entries of the log"),
    ("/v1/actors", "the actors of this node"),
    ("/readyz?verbose", "may this node be sent work"),
    ("/livez?verbose", "does this node run"),
    ("/openapi.json", "everything this API answers"),
];

/// A page for people.
#[utoipa::path(
    get, path = "/", tag = "node",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"), Problems)
)]
pub(crate) async fn page(State(state): State<AppState>, _: Params<NoParams>) -> Html<String> {
    let (node, _) = this_node(&state).await;
    let shown = |index: Option<u64>| index.map_or_else(|| "?".to_owned(), |index| index.to_string());
    let rows = [
        ("role", node.role.unwrap_or_default()),
        ("term", shown(node.term)),
        ("leader", node.leader.unwrap_or_else(|| "none known".to_owned())),
        ("last index", shown(node.last_index)),
        ("commit index", shown(node.commit_index)),
        ("applied index", shown(node.applied_index)),
    ];
    let id = escaped(&node.id);
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{id} - Quorate</title>\
         <h1>Quorate: {id}</h1><table>"
    );
    for (name, value) in rows {
        write!(html, "<tr><th align=\"left\">{name}</th><td>{}</td></tr>", escaped(&value))
            .expect("writing to a string does not fail");
    }
    html.push_str("</table><ul>");
    for (path, about) in LINKS {
        write!(html, "<li><a href=\"{path}\">{path}</a>: {about}</li>")
            .expect("writing to a string does not fail");
    }
    html.push_str("</ul></html>\n");
    Html(html)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
