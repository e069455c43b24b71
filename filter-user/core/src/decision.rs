//! What can be decided about a network, and what the kernel must be told of it.
//!
//! A [`Block`] and a [`Never`] are decisions, kept on the wall clock because they outlive a reboot. A [`Change`]
//! is one step from the kernel's present state to the wanted one, on the boot clock that the kernel judges by.
//! A fact (an offence) is neither, and never blocks.

use alloc::string::String;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::event::EventId;
use crate::time::{Instant, Timestamp};

/// Where a block comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Origin {
    /// The score of what the client did over SMTP.
    Smtp = 1,
    /// An administrator.
    Manual = 2,
    /// The login component.
    Login = 3,
    /// Another program, such as fail2ban.
    Feed = 4,
}

impl Origin {
    /// The origin behind the number that the kernel's entries carry.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Smtp, Self::Manual, Self::Login, Self::Feed].into_iter().find(|origin| *origin as u8 == number)
    }

    /// The word for it in tables and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Manual => "manual",
            Self::Login => "login",
            Self::Feed => "feed",
        }
    }
}

/// A network that is refused until a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Block {
    /// Who is refused, host bits zero.
    pub network: IpNet,
    /// Where the decision comes from.
    pub origin: Origin,
    /// Why, in words that can be read to the blocked user.
    pub reason: String,
    /// Who decided: a user name, or the part of the agent.
    pub author: String,
    /// When the block began.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Decided while the agent only observed: it has never been enforced, and is not when the agent enforces again.
    #[serde(default)]
    pub observed: bool,
    /// The event that it began with.
    pub event: EventId,
}

/// A network that is never blocked, whatever it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Never {
    /// Who is exempt, host bits zero.
    pub network: IpNet,
    /// Why, in the administrator's words.
    pub comment: String,
    /// Who decided: a user name, or `built-in`.
    pub author: String,
    /// When the exemption began.
    pub since: Timestamp,
    /// When it ends by itself; none: it stays.
    pub until: Option<Timestamp>,
    /// Made by Gatepost itself to keep the gateway reachable; cannot be removed.
    pub built_in: bool,
}

/// One step from what the kernel enforces to what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Refuse a network, or change its existing entry.
    Block {
        /// Who is refused, host bits zero.
        network: IpNet,
        /// When the block began; open sessions may end during the grace that follows.
        since: Instant,
        /// When it ends by itself.
        until: Instant,
        /// Where the decision comes from.
        origin: Origin,
    },
    /// Take the block of exactly this network away.
    Unblock(IpNet),
    /// Exempt a network, or change its existing entry.
    Never {
        /// Who is exempt, host bits zero.
        network: IpNet,
        /// When the exemption ends by itself.
        until: Instant,
        /// Made by Gatepost itself.
        built_in: bool,
    },
    /// Take the exemption of exactly this network away.
    ForgetNever(IpNet),
}

impl Change {
    /// Whom it is about.
    pub const fn network(&self) -> &IpNet {
        match self {
            Self::Block { network, .. }
            | Self::Unblock(network)
            | Self::Never { network, .. }
            | Self::ForgetNever(network) => network,
        }
    }
}
