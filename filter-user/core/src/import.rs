//! A list that somebody brings: its entries on the way to the engine, and what became of each.
//!
//! A bad entry spoils no other one, and every entry is answered for, in the order in which they came. An import adds
//! and changes; it removes nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Entries of one request. A longer list comes in several, so that the engine is never busy with one for long.
pub const ENTRIES_LIMIT: usize = 1000;

/// Asks for some entries to be put on a list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// At most [`ENTRIES_LIMIT`].
    pub entries: Vec<ImportEntry>,
    /// Say what would happen, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Of a dry run in several requests: how many entries the earlier ones would have added. They take room.
    #[serde(default)]
    pub ahead: usize,
    /// Take networks that are too wide to be meant.
    #[serde(default)]
    pub force: bool,
}

/// One entry as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportEntry {
    /// An address, a CIDR or a wildcard.
    pub network: String,
    /// When it ends; none: see `minutes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// For how long; none, and no `until`: the block time of the policy, or for good on the never-block list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// One entry whose values are possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Whom it is about, host bits zero.
    pub network: IpNet,
    /// When it ends.
    pub end: End,
    /// Why; empty: nobody says.
    pub comment: String,
}

/// When a wished entry is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As the list has it: after the block time of the policy, or never.
    Usual,
    /// After a span of time.
    After(Duration),
    /// At a time.
    At(Timestamp),
}

/// What became of an entry, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Its network was not on the list.
    New,
    /// Its network was on the list, and ends later now.
    Longer,
    /// Its network was on the list, and ends earlier now.
    Shorter,
    /// Its network was on the list until the same time, for another reason.
    Changed,
    /// The list had this very entry, and keeps it as it is.
    Unchanged,
    /// It is not taken.
    Rejected {
        /// Why, in one sentence.
        reason: String,
    },
}

impl Outcome {
    /// The word for it in reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Longer => "longer",
            Self::Shorter => "shorter",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Rejected { .. } => "rejected",
        }
    }
}
