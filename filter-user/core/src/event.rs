//! The event log: what happened to whom, in the order in which the engine saw it.
//!
//! An [`Event`] is a fact about the past. It has a number of its own, so that a block can name the events that led to
//! it, and each of those the block: that is how `why` is answered.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::decision::{Block, Never, Origin};
use crate::offence::Kind;
use crate::report::Source;
use crate::service::ServiceName;
use crate::time::Timestamp;

/// Names an event for as long as the log lives; later events have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct EventId(pub u64);

/// One line of the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// When.
    pub time: Timestamp,
    /// Whom it is about: a client's address, or the network of a decision.
    pub network: IpNet,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// The event that answered for it: the block that it led to, or the hand that forgave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<EventId>,
}

/// How an offence came to be known that we have not seen ourselves, or how many of our own stand in one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reported {
    /// By whom.
    pub source: Source,
    /// When it happened, if it was told of later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub happened: Option<Timestamp>,
    /// What one of them was said to cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// How many it stands for; of our own, all since the last event of this client and kind.
    pub count: u32,
    /// It was about a local client, and counts for nothing.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_local: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A client did something wrong.
    Offence {
        /// What.
        kind: Kind,
        /// The number that the world knows it by.
        number: u16,
        /// What it cost.
        multiplier: u32,
        /// The score of its scope with it.
        score: u64,
        /// The recipient, the command or the reply it was recognised by.
        detail: String,
        /// How often it counted as a failed login; the same wrong credentials again do not.
        #[serde(default, skip_serializing_if = "is_zero")]
        failed_logins: u32,
        /// Where it happened.
        #[serde(default)]
        service: ServiceName,
        /// Of a login: whose account, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// Of what others have told: who, and how.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reported: Option<Reported>,
    },
    /// A client that has done something wrong did something that honest clients do.
    Succeeded {
        /// What.
        how: Success,
    },
    /// A network is blocked from now on.
    Blocked {
        /// Where the decision comes from.
        origin: Origin,
        /// Why, in words that can be read to the blocked user.
        reason: String,
        /// Who decided.
        author: String,
        /// When it ends by itself.
        until: Timestamp,
        /// Whether it is enforced; in observe mode it is not.
        enforced: bool,
        /// The events that led to it.
        led_by: Vec<EventId>,
    },
    /// An entry of the block list ended or was removed.
    Unblocked {
        /// Who removed it; none: its time had come.
        by: Option<String>,
        /// Events that were forgiven with it.
        forgave: Vec<EventId>,
    },
    /// A client reached the threshold and was spared.
    Spared {
        /// The score that it had reached.
        score: u64,
        /// The never-block entry that spared it.
        by: IpNet,
        /// The events that would have led to a block.
        led_by: Vec<EventId>,
    },
    /// A network is never blocked from now on.
    Exempted {
        /// Why.
        comment: String,
        /// Who decided.
        author: String,
        /// When it ends by itself; none: it stays.
        until: Option<Timestamp>,
    },
    /// An entry of the never-block list ended or was removed.
    Unexempted {
        /// Who removed it; none: its time had come.
        by: Option<String>,
    },
    /// The block list is full; this network is not on it.
    NoRoom,
    /// The kernel dropped a packet: the first of an entry, and then ever fewer are told of.
    Dropped {
        /// Packets that the entry had dropped by then.
        packets: u64,
        /// The port that it went to, if that is known.
        port: Option<u16>,
        /// The entry.
        by: IpNet,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What honest clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Success {
    /// Its login was accepted.
    LoggedIn,
    /// Its message was accepted.
    Delivered,
}

impl Success {
    /// The word for it in tables and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoggedIn => "logged in",
            Self::Delivered => "delivered a message",
        }
    }
}

impl What {
    /// Every [`What::name`].
    pub const NAMES: [&str; 9] = [
        "offence",
        "succeeded",
        "blocked",
        "unblocked",
        "spared",
        "exempted",
        "unexempted",
        "no-room",
        "dropped",
    ];

    /// The word for it in tables, filters and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Offence { .. } => "offence",
            Self::Succeeded { .. } => "succeeded",
            Self::Blocked { .. } => "blocked",
            Self::Unblocked { .. } => "unblocked",
            Self::Spared { .. } => "spared",
            Self::Exempted { .. } => "exempted",
            Self::Unexempted { .. } => "unexempted",
            Self::NoRoom => "no-room",
            Self::Dropped { .. } => "dropped",
        }
    }

    /// The events that this one answers for.
    pub fn answers(&self) -> &[EventId] {
        match self {
            Self::Blocked { led_by, .. } | Self::Spared { led_by, .. } => led_by,
            Self::Unblocked { forgave, .. } => forgave,
            Self::Offence { .. }
            | Self::Succeeded { .. }
            | Self::Exempted { .. }
            | Self::Unexempted { .. }
            | Self::NoRoom
            | Self::Dropped { .. } => &[],
        }
    }
}

impl Event {
    /// When it happened; [`Event::time`] is when it was entered.
    pub const fn happened(&self) -> Timestamp {
        match self.what {
            What::Offence { reported: Some(Reported { happened: Some(at), .. }), .. } => at,
            _ => self.time,
        }
    }
}

impl What {
    /// What an offence was recognised by, and whose account it was about: `AUTH PLAIN as alice`. Empty for all others.
    pub fn circumstances(&self) -> String {
        let Self::Offence { detail, account, reported, .. } = self else { return String::new() };
        let mut text = detail.clone();
        // Writing into a string does not fail.
        if let Some(account) = account {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}as {account}");
        }
        if let Some(count) = reported.map(|reported| reported.count).filter(|count| *count > 1) {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}({count} times)");
        }
        text
    }

    /// A block begins.
    pub fn blocked(block: &Block, enforced: bool, led_by: Vec<EventId>) -> Self {
        let Block { origin, reason, author, until, .. } = block.clone();
        Self::Blocked { origin, reason, author, until, enforced, led_by }
    }
}

impl From<&Never> for What {
    fn from(never: &Never) -> Self {
        let Never { comment, author, until, .. } = never.clone();
        Self::Exempted { comment, author, until }
    }
}

/// A drop as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drop {
    /// Who sent the packet.
    pub source: IpAddr,
    /// The entry that dropped it.
    pub by: IpNet,
    /// Packets that the entry has dropped so far.
    pub packets: u64,
    /// The port that it went to, if that is known.
    pub port: Option<u16>,
    /// When.
    pub time: Timestamp,
}
