//! What actors say to each other: an enum and its addresses a file. A sender imports the message and never the actor.

pub(crate) mod store;
