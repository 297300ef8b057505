//! What the server replicates: keys and counters in one [`Store`].

mod store;
mod types;

pub use store::Store;
pub use types::{
    CounterCommand, CounterItem, CounterReply, StoreAnswer, StoreCommand, StoreQuery, StoreReply,
};
