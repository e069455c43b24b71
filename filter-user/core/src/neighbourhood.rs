//! What is known of a network: what covers all of it, what lies inside, and who in it comes close to a block.
//!
//! A network may hold a million clients. Counts are exact; of what is counted only the first few are named.

use alloc::vec::Vec;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::admin::BlockView;
use crate::decision::Never;
use crate::event::Event;
use crate::time::Timestamp;

/// Entries and clients that are named of each sort.
pub const NAMED: usize = 20;

/// A client that is being watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Watched {
    /// Who.
    pub scope: IpNet,
    /// The sum of what counts now.
    pub score: u64,
}

/// Which clients come close to a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Nearest {
    /// The score that blocks.
    pub threshold: u32,
    /// Clients whose score is above zero.
    pub watched: u64,
    /// The [`NAMED`] with the highest scores, highest first.
    pub clients: Vec<Watched>,
}

/// What the engine knows about a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Neighbourhood {
    /// Which.
    pub network: IpNet,
    /// Every block that covers all of it, the longest prefix first.
    pub blocks: Vec<BlockView>,
    /// Every never-block entry that covers all of it.
    pub never: Vec<Never>,
    /// Blocks of less than the network.
    pub blocks_inside: u64,
    /// The latest [`NAMED`] of them, latest first.
    pub latest_blocks: Vec<BlockView>,
    /// Never-block entries for less than the network.
    pub never_inside: u64,
    /// The first [`NAMED`] of them, in the order of their networks.
    pub first_never: Vec<Never>,
    /// Clients in it whose score is above zero.
    pub watched: u64,
    /// The [`NAMED`] with the highest scores, highest first.
    pub heaviest: Vec<Watched>,
    /// The score that blocks.
    pub threshold: u32,
    /// Whether blocks are enforced.
    pub enforced: bool,
}

/// What the kernel holds in and around a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelHolds {
    /// Blocks that have not ended.
    pub blocks: u64,
    /// Exemptions.
    pub never: u64,
    /// Packets that those blocks have dropped.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
    /// When the last of them came.
    pub last_drop: Option<Timestamp>,
}

/// The answer to "why is this network blocked?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhyNetwork {
    /// What the engine knows.
    #[serde(flatten)]
    pub neighbourhood: Neighbourhood,
    /// What the kernel holds; none: there is no kernel filter, or it cannot be read.
    pub kernel: Option<KernelHolds>,
    /// The latest events in the network and around it, oldest first.
    pub history: Vec<Event>,
}
