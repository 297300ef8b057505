//! The kinds of frames, and the class a message travels in.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// What a frame is. The numbers are frozen: they are the wire format.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum FrameKind { $($(#[$doc])* $name = $value,)* }

        impl FrameKind {
            #[cfg(test)]
            pub(crate) const ALL: &[FrameKind] = &[$(FrameKind::$name),*];

            pub(crate) fn from_wire(value: u8) -> Option<FrameKind> {
                match value { $($value => Some(FrameKind::$name),)* _ => None }
            }

            pub(crate) fn name(self) -> &'static str {
                match self { $(FrameKind::$name => stringify!($name),)* }
            }
        }
    };
}

kinds! {
    /// The first frame each way: who the sender is.
    Hello = 1,
    /// Instead of a Hello, or just after one: why the connection is refused, and what to do.
    Refused = 2,
    /// A message for an exposed name; it has no answer.
    Cast = 3,
    /// A message for an exposed name, answered by one Reply or one CallFailed.
    Call = 4,
    /// The answer to a Call.
    Reply = 5,
    /// Why a Call has no answer.
    CallFailed = 6,
    /// Keepalive, with a token.
    Ping = 7,
    /// Answer to Ping, with its token.
    Pong = 8,
    /// The sender monitors this name.
    Monitor = 9,
    /// The sender no longer monitors this name.
    Demonitor = 10,
    /// A monitored name cannot be reached any more.
    Down = 11,
    /// A monitored name can be reached.
    Up = 12,
    /// Casts that found no actor.
    CastFailed = 13,
    /// A frame kind the receiver does not know.
    Unsupported = 14,
    /// A piece of a frame above 64 KiB.
    Fragment = 15,
}

/// The lane a message travels in. Order is kept within a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Small and urgent. Goes before bulk and has its own reserve of bytes; when that is full, the oldest control
    /// messages are dropped to make room for the newest. For messages that a newer one makes obsolete.
    Control,
    /// The default. Refused as `Busy` when the peer's queue is full.
    Bulk,
}

impl Class {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Class::Control => 0,
            Class::Bulk => 1,
        }
    }

    pub(crate) fn from_wire(value: u8) -> Option<Self> {
        match value {
            0 => Some(Class::Control),
            1 => Some(Class::Bulk),
            _ => None,
        }
    }
}
