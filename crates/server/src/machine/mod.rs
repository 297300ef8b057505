//! What the server replicates: keys and counters in one [`Store`].

mod store;
mod types;

pub use store::Store;
pub use types::{
    CounterCommand, CounterItem, CounterReply, GROUP, StoreAnswer, StoreCommand, StoreQuery, StoreReply,
};
