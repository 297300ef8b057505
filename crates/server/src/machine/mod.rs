//! What the server replicates: keys and counters in one [`DataMachine`].

mod data;
mod types;

pub use data::DataMachine;
pub use types::{
    CounterCommand, CounterItem, CounterReply, DataAnswer, DataCommand, DataQuery, DataReply, GROUP,
};
