//! What crosses the control socket: requests of an administrator and the views that answer them.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::decision::{Block, Never};
use crate::event::{Event, EventId};
use crate::time::Timestamp;

/// Longest manual block, in minutes.
pub const LONGEST_BLOCK_MINUTES: u64 = 999_999_999;
/// Longest comment, in bytes.
pub const COMMENT_LIMIT: usize = 500;

/// Asks for a network to be blocked, or never to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    /// An address, a CIDR or a wildcard.
    pub network: String,
    /// For how long, 1 to [`LONGEST_BLOCK_MINUTES`]; none: the block time of the policy, or for good on the
    /// never-block list.
    #[serde(default)]
    pub minutes: Option<u64>,
    /// Until when, instead of `minutes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, in the administrator's words.
    #[serde(default)]
    pub comment: String,
    /// Take a network that is too wide to be meant.
    #[serde(default)]
    pub force: bool,
    /// Of a block: the program that files it, such as `fail2ban/dovecot`; none: an administrator decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<String>,
}

/// Asks for an entry to be changed; what is not given stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ChangeRequest {
    /// From now on for how long, 1 to [`LONGEST_BLOCK_MINUTES`].
    pub minutes: Option<u64>,
    /// Why, in the administrator's words.
    pub comment: Option<String>,
}

/// The answer to "is this address covered?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Coverage {
    /// Who.
    pub address: IpAddr,
    /// Whether it is refused now.
    pub refused: bool,
    /// Blocks that cover it, the longest prefix first.
    pub blocks: Vec<IpNet>,
    /// Never-block entries that cover it.
    pub never: Vec<IpNet>,
}

/// One entry of the block list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BlockView {
    /// The decision.
    #[serde(flatten)]
    pub block: Block,
    /// The never-block entry that takes its effect away, if one covers all of it.
    pub overridden_by: Option<IpNet>,
    /// Of a block that has just been put in: why the kernel does not take it; it is refused at accept, and tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_problem: Option<String>,
}

/// What became of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Removed {
    /// The entry that is gone.
    pub network: IpNet,
    /// Entries of the same list that still cover it.
    pub still_covered_by: Vec<IpNet>,
    /// Why the kernel still has it; it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_problem: Option<String>,
    /// Whether there was one; a feed may find that its block has ended, and that of another one stands.
    pub was_there: bool,
}

/// What the engine knows about an address: everything that decides whether it is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Standing {
    /// Who.
    pub address: IpAddr,
    /// What its offences are counted for: the address, or the IPv6 network around it.
    pub scope: IpNet,
    /// The block that refuses it, or would in observe mode; none: it may come in.
    pub refused_by: Option<IpNet>,
    /// Every block that covers it, the longest prefix first.
    pub blocks: Vec<BlockView>,
    /// Every never-block entry that covers it.
    pub never: Vec<Never>,
    /// The sum of what counts now.
    pub score: u64,
    /// Points for good behaviour, which are taken off the score.
    pub credit: u64,
    /// The events that count now, oldest first.
    pub counted: Vec<EventId>,
    /// Failed logins that count now; the same credentials count once.
    pub failed_logins: u64,
    /// Their events, oldest first.
    pub counted_logins: Vec<EventId>,
    /// Failed logins that block; 0: they do not.
    pub failed_login_threshold: u32,
    /// How long a failed login counts, in seconds.
    pub login_monitor_period: u64,
    /// The score that blocks.
    pub threshold: u32,
    /// How long an event counts, in seconds.
    pub monitor_period: u64,
    /// Whether blocks are enforced.
    pub enforced: bool,
}

/// What the kernel does with an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelSays {
    /// `pass` or `drop`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Packets that the entries around the address have dropped.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
    /// When the last of them came.
    pub last_drop: Option<Timestamp>,
}

/// The answer to "why is this address blocked?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Why {
    /// What the engine knows.
    #[serde(flatten)]
    pub standing: Standing,
    /// What the kernel does; none: there is no kernel filter, or it cannot be read.
    pub kernel: Option<KernelSays>,
    /// The events behind the score of now and behind each block, oldest first.
    pub events: Vec<Event>,
    /// The latest events of the address and of the networks around it, oldest first.
    pub history: Vec<Event>,
}

/// Places taken against places there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gauge {
    /// Taken now.
    pub used: u64,
    /// At most.
    pub limit: u64,
}

/// Sessions by the pool that they took their place from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SessionsView {
    /// All sessions.
    pub total: Gauge,
    /// Incoming sessions, reserved places included.
    pub incoming: Gauge,
    /// Incoming sessions in reserved places.
    pub reserved: Gauge,
    /// Sessions of the No-Auth networks.
    pub local: u64,
    /// Admitted since the agent started.
    pub admitted: u64,
    /// Answered 421 by a session limit since the agent started.
    pub overflowed: u64,
    /// Refused as blocked at accept since the agent started.
    pub refused: u64,
}

/// One interface that the filter is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub mode: String,
    /// Why it is not native, if that was tried when the agent started.
    #[serde(default)]
    pub fallback: Option<String>,
    /// The number of the program there, as `bpftool prog` lists it.
    #[serde(default)]
    pub program: Option<u32>,
    /// Since when the filter has been attached there without a gap.
    #[serde(default)]
    pub attached: Option<Timestamp>,
}

/// What the kernel filter has done since its maps were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelTotals {
    /// Packets that passed.
    pub passed: u64,
    /// Packets that were dropped.
    pub dropped: u64,
    /// Bytes of those that were dropped.
    pub dropped_bytes: u64,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// The mail servers behind it, in the order in which they are asked.
    pub mail_servers: Vec<MailServerView>,
    /// Its own session limits; none: it shares those of all others without.
    pub sessions: Option<SessionsView>,
    /// Messages that its mail servers have accepted.
    pub messages: u64,
    /// What it does about TLS: `pass-through`, `terminate`, `implicit` or `none`.
    #[serde(default)]
    pub tls: String,
    /// The certificates that it presents.
    #[serde(default)]
    pub certificates: Vec<CertificateView>,
    /// Why what is in their files now is not what is presented.
    #[serde(default)]
    pub certificate_problem: Option<String>,
}

/// One certificate of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CertificateView {
    /// Its file.
    pub file: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// Until when it is valid.
    pub until: Timestamp,
    /// Whether that is soon, or past.
    pub ends_soon: bool,
}

/// One mail server of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MailServerView {
    /// Where it is.
    pub address: String,
    /// Whether it took the last connection; none: nobody has asked yet.
    pub up: Option<bool>,
}

/// A log that is read; numbers are since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogView {
    /// The file, or `journal`.
    pub source: String,
    /// `follows`, `not there yet` or `cannot be read`.
    pub state: String,
    /// Why it cannot be read.
    pub problem: Option<String>,
    /// Bytes that have been written to it and not yet read.
    pub behind: u64,
    /// How often it was cut off while it was read; lines may have gone with it.
    pub cuts: u64,
    /// Lines that were read.
    pub lines: u64,
    /// Lines that were not looked at: too long, or no entries.
    pub unreadable: u64,
    /// Lines that a rule has something to say about.
    pub matches: u64,
    /// Those that count.
    pub counted: u64,
    /// Those that are logged and block nobody.
    pub logged: u64,
    /// Those that another source had told of.
    pub known: u64,
    /// Those that were too old.
    pub too_old: u64,
    /// Those whose address is one of our own.
    pub refused: u64,
}

/// The state of the agent at one glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusView {
    /// Version of the agent.
    pub version: String,
    /// The server's name in replies.
    pub name: String,
    /// `enforce` or `observe`.
    pub mode: String,
    /// When the agent started.
    pub started: Timestamp,
    /// What it serves; the first is `smtp`.
    pub services: Vec<ServiceView>,
    /// Where the filter is attached; none: the kernel filter is switched off.
    pub interfaces: Vec<InterfaceView>,
    /// What it has done; none: there is none, or its maps cannot be read.
    #[serde(default)]
    pub kernel: Option<KernelTotals>,
    /// Where its maps and links are pinned.
    pub pin_directory: String,
    /// Changes that the kernel has not taken; userspace still refuses blocked clients at accept.
    pub kernel_pending: u64,
    /// Where lists are kept.
    pub state_directory: String,
    /// Changes that are in force and wait for a disk that takes them.
    #[serde(default)]
    pub store_pending: u64,
    /// Writes that the store lost since the agent started.
    pub store_failures: u64,
    /// Events that did not reach the event log since the agent started.
    #[serde(default)]
    pub events_lost: u64,
    /// Lines that did not reach the IDS log since the agent started.
    #[serde(default)]
    pub ids_lost: u64,
    /// The logs that are read.
    #[serde(default)]
    pub logs: Vec<LogView>,
    /// Sessions now and since the start.
    pub sessions: SessionsView,
    /// Entries of the block list.
    pub blocks: u64,
    /// Entries of the never-block list, built-in ones included.
    pub never: u64,
    /// Scopes with a score above zero.
    pub watched: u64,
    /// Offences since the agent started.
    pub offences: u64,
    /// Offences that were dropped because too many were waiting to be judged.
    pub offences_lost: u64,
    /// Messages that the mail server accepted since the agent started.
    pub messages: u64,
    /// The API and the web admin over TCP; none: they are off.
    #[serde(default)]
    pub web: Option<WebView>,
}

/// The API and the web admin over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WebView {
    /// Where they are: an address behind `http` or `https`.
    pub url: String,
    /// The certificates that are presented; none: it is plain HTTP.
    pub certificates: Vec<CertificateView>,
    /// Why what is in their files now is not what is presented.
    pub certificate_problem: Option<String>,
}
