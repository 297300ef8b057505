//! Pages of a list: how many items one has, and its room.
//!
//! A page ends at [`PAGE_BYTES_MAX`] as JSON, which may be six times as long as what the state machine gives, but for a first item that
//! is longer alone. It has this room before the first item is read. So it is bounded what the pages of all requests take, whatever
//! their values are.
//!
//! It never: keeps a thread for the whole of a page. Other requests go on between its items.

use axum::response::Response;
use serde::Serialize;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::code::Code;
use super::problem::Problem;
use super::rooms::Reserved;
use super::written::{json_answer, json_bytes};

/// The longest page as JSON, unless its first item is longer.
pub(crate) const PAGE_BYTES_MAX: usize = 4 << 20;
/// What stands around the items: a cursor, which is a name in base64, or the names and numbers of a page of the log.
const AROUND_BYTES: usize = 8 << 10;
/// How much is written before others have their turn.
const TURN_BYTES: usize = 64 << 10;

/// A request's turn to put a page together, with the room for it.
#[derive(Debug)]
pub(crate) struct PagePlace<'a> {
    pub(crate) room: Reserved,
    pub(crate) until: Instant,
    pub(crate) _permit: SemaphorePermit<'a>,
}

/// The items of a page as JSON, with commas between them.
#[derive(Debug)]
pub(crate) struct Items<'a, T> {
    place: PagePlace<'a>,
    json: Vec<u8>,
    /// The last of them.
    pub(crate) last: Option<T>,
    /// Some were left out.
    pub(crate) is_cut: bool,
}

impl<'a> PagePlace<'a> {
    /// Writes as many of the items as there is room for, and one at least.
    pub(crate) async fn write<T: Serialize>(
        self,
        items: impl Iterator<Item = T>,
    ) -> Result<Items<'a, T>, Problem> {
        let (mut written, mut turn) = (Items { place: self, json: Vec::new(), last: None, is_cut: false }, 0);
        for item in items {
            let bytes = json_bytes(&item) + 1;
            if !written.has_room(bytes).await? {
                written.is_cut = true;
                break;
            }
            written.push(item, bytes)?;
            turn += bytes;
            if turn >= TURN_BYTES {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(written)
    }
}

impl<T: Serialize> Items<'_, T> {
    /// Whether there is room for so much more; it is made for a first item.
    async fn has_room(&mut self, more: usize) -> Result<bool, Problem> {
        let bytes = self.json.len() + more + AROUND_BYTES;
        if self.last.is_none() {
            self.place.room.at_least(bytes, self.place.until).await?;
        }
        Ok(bytes <= self.place.room.bytes())
    }

    /// The buffer of a page that is not short has its whole room at once: one that doubles is copied, with both in memory.
    fn push(&mut self, item: T, bytes: usize) -> Result<(), Problem> {
        let json = &mut self.json;
        if json.capacity() - json.len() < bytes {
            let (wanted, room) = (json.len() + bytes, self.place.room.bytes());
            let capacity = if wanted <= TURN_BYTES { TURN_BYTES } else { room };
            json.reserve_exact(capacity.max(wanted) - json.len());
        }
        if self.last.is_some() {
            json.push(b',');
        }
        serde_json::to_writer(json, &item).map_err(|error| unwritable(&error))?;
        self.last = Some(item);
        Ok(())
    }

    /// The page: as given, with the items in its list, which is empty.
    pub(crate) fn answer<P: Serialize>(self, page: &P) -> Result<Response, Problem> {
        const LIST: &str = r#"":["#;
        let around = serde_json::to_string(page).map_err(|error| unwritable(&error))?;
        let list = around.find(r#"":[]"#).map(|at| at + LIST.len());
        let list = list.ok_or_else(|| Problem::new(Code::Internal, "the page has no empty list"))?;
        let (before, after) = around.split_at(list);
        let mut json = self.json;
        json.reserve_exact(around.len());
        json.splice(0..0, before.bytes());
        json.extend_from_slice(after.as_bytes());
        json.shrink_to_fit();
        Ok(json_answer(self.place.room, json))
    }
}

fn unwritable(error: &serde_json::Error) -> Problem {
    Problem::new(Code::Internal, format!("the answer cannot be written: {error}"))
}
