//! What becomes of a packet.
//!
//! The gate comes first and is all that an innocent packet meets. Behind it a block is looked for: the host's own
//! entry, then the prefixes around it. Only when a live one is found do never-block, ports, grace and courtesy matter.
//! An ended entry hides nothing: behind an ended prefix the next shorter one is looked for.

use core::hint::black_box;

use crate::abi::mode;
use crate::gate::Near;
use crate::limits::{COURTESY, NESTED_PREFIXES};
use crate::packet::{Payload, Source};
use crate::reason::Reason;

/// A block as a table found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<E> {
    /// When it ends, in nanoseconds of the boot clock.
    pub until: u64,
    /// Until then only packets that open a connection are dropped.
    pub grace_until: u64,
    /// The entry itself, for whoever counts.
    pub entry: E,
}

/// What a list has around a source, in prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around<E> {
    /// Nothing.
    Nothing,
    /// Only what has ended.
    Ended,
    /// This, the longest that has not ended.
    Live(E),
}

/// The lists that a packet is judged by.
pub trait Tables {
    /// How a table names an entry that it found.
    type Entry: Copy;

    /// What the gate of the block list says about a source.
    fn near_block(&self, source: Source) -> Near;
    /// What the gate of the never-block list says about a source.
    fn near_never(&self, source: Source) -> Near;
    /// One of [`mode`], and whether everything of a blocked source is dropped.
    fn settings(&self) -> (u32, bool);
    /// Nanoseconds of the boot clock; asked only when something may be near.
    fn now(&self) -> u64;
    /// The block of exactly this address (IPv4) or of its /64 (IPv6).
    fn host(&self, source: Source) -> Option<Found<Self::Entry>>;
    /// The blocked prefixes around an address.
    fn prefix(&self, source: Source, now: u64) -> Around<Found<Self::Entry>>;
    /// Whether exactly this address (IPv4) or its /64 (IPv6) is never blocked, and until when.
    fn never_host(&self, source: Source) -> Option<u64>;
    /// Whether a never-blocked prefix that has not ended is around an address.
    fn never(&self, source: Source, now: u64) -> bool;
    /// Whether a port is protected.
    fn is_protected(&self, port: u16) -> bool;
    /// Takes one courtesy of an entry, if it has any left, and lets the connection go on until the given time.
    fn spend_courtesy(&self, entry: Self::Entry, until: u64) -> bool;
}

/// What becomes of a packet, why, and by which entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement<E> {
    /// Why; says what becomes of the packet, too.
    pub reason: Reason,
    /// The entry that drops it, or would.
    pub entry: Option<E>,
    /// When it was judged, if the clock was asked.
    pub now: u64,
    /// The port that it goes to, if it is dropped and that is known; else 0.
    pub port: u16,
}

impl<E> Judgement<E> {
    #[inline(always)]
    const fn pass(reason: Reason, now: u64) -> Self {
        Self { reason, entry: None, now, port: 0 }
    }
}

/// Judges one packet. What it carries is read only if something is near its sender.
#[inline(always)]
pub fn judge<T: Tables>(
    source: Source,
    payload: impl FnOnce() -> Option<Payload>,
    tables: &T,
) -> Judgement<T::Entry> {
    match tables.near_block(source) {
        Near::NOTHING => Judgement::pass(Reason::Innocent, 0),
        near => judge_near(near, source, payload, tables),
    }
}

/// Judges one packet of which the gate has not said that nothing is near its sender. By itself, because the kernel program
/// asks the gate first and has done with an innocent before it makes room for anything else.
#[inline(always)]
pub fn judge_near<T: Tables>(
    near: Near,
    source: Source,
    payload: impl FnOnce() -> Option<Payload>,
    tables: &T,
) -> Judgement<T::Entry> {
    // What does not wait for an entry comes first, which made a drop a fifth cheaper in a flood: docs/kernel.md.
    let now = tables.now();
    let near_never = tables.near_never(source);
    let (mode, drop_all) = tables.settings();
    let aim = Aim::of(payload(), drop_all, |port| tables.is_protected(port));
    let host = if near.hosts { tables.host(source) } else { None };
    if host.is_none() && !near.prefixes {
        return Judgement::pass(Reason::Innocent, now);
    }
    // Said also where there is no host: the compiler may compare before it asks whether there is one, and the verifier lets
    // nothing be read that was never written.
    let until = black_box(host.map_or(0, |found| found.until));
    let (found, reason) = match host {
        // A live host needs no second opinion.
        Some(found) if until > now => (found, Reason::DropHost),
        _ => match if near.prefixes { tables.prefix(source, now) } else { Around::Nothing } {
            Around::Live(found) => (found, Reason::DropPrefix),
            Around::Nothing if host.is_none() => return Judgement::pass(Reason::Innocent, now),
            Around::Nothing | Around::Ended => return Judgement::pass(Reason::Expired, now),
        },
    };
    if is_exempt(tables, near_never, source, now) {
        return Judgement::pass(Reason::NeverBlock, now);
    }
    if let Some(reason) = aim.passes {
        return Judgement::pass(reason, now);
    }
    if !aim.is_guarded {
        return Judgement::pass(Reason::OtherPort, now);
    }
    if aim.goes_on && now < found.grace_until {
        return Judgement::pass(Reason::Grace, now);
    }
    if mode != mode::ENFORCE {
        return Judgement { reason: Reason::Observed, entry: Some(found.entry), now, port: aim.port };
    }
    if aim.opens && tables.spend_courtesy(found.entry, now.saturating_add(COURTESY)) {
        return Judgement::pass(Reason::Courtesy, now);
    }
    Judgement { reason, entry: Some(found.entry), now, port: aim.port }
}

/// What a packet is up to, whoever sent it.
struct Aim {
    /// Why it passes in any case.
    passes: Option<Reason>,
    /// Whether blocked sources are kept from where it goes.
    is_guarded: bool,
    /// Whether it opens a connection.
    opens: bool,
    /// Whether it may belong to a session that was there before the block: a later fragment may carry the last reply, too.
    goes_on: bool,
    /// The port that it goes to, or 0.
    port: u16,
}

impl Aim {
    #[inline(always)]
    fn of(payload: Option<Payload>, drop_all: bool, is_protected: impl FnOnce(u16) -> bool) -> Self {
        let guarded = Self { passes: None, is_guarded: true, opens: false, goes_on: false, port: 0 };
        match payload {
            // No `||`: for each way of a branch the verifier would go through all that follows.
            Some(Payload::Tcp { port, opens }) => {
                Self { is_guarded: drop_all | is_protected(port), opens, goes_on: !opens, port, ..guarded }
            }
            Some(Payload::LaterFragment) => Self { goes_on: true, ..guarded },
            Some(Payload::Other) => Self { is_guarded: drop_all, ..guarded },
            Some(Payload::NeighbourDiscovery) => Self { passes: Some(Reason::NeighbourDiscovery), ..guarded },
            None => Self { passes: Some(Reason::Unparsed), ..guarded },
        }
    }
}

/// Whether a never-block entry that has not ended covers the source.
#[inline(always)]
fn is_exempt<T: Tables>(tables: &T, near: Near, source: Source, now: u64) -> bool {
    near.hosts && tables.never_host(source).is_some_and(|until| until > now)
        || near.prefixes && tables.never(source, now)
}

/// Walks from the longest prefix around an address to ever shorter ones until one has not ended. `at` finds the longest of
/// at most the given length, and says when it ends and how long it is.
#[inline(always)]
pub fn walk<E>(mut longest: u32, now: u64, at: impl Fn(u32) -> Option<(E, u64, u32)>) -> Around<E> {
    let mut around = Around::Nothing;
    for _ in 0..NESTED_PREFIXES {
        let Some((entry, until, length)) = at(longest) else { return around };
        if until > now {
            return Around::Live(entry);
        }
        around = Around::Ended;
        // `/0` is the shortest; nothing lies behind it.
        if length == 0 {
            return around;
        }
        longest = length - 1;
    }
    around
}

#[cfg(test)]
mod tests;
