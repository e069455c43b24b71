//! The kernel filter from user space: loading, attaching, pinning, writing and reading.
//!
//! The only module that names aya. [`filter`] loads the program and is the one writer of the maps: [`list`] is one list's
//! maps, [`table`] and [`gate`] are what it shares with the kernel as memory ([`words`]), [`growth`] is how a table comes to use more of its
//! memory, [`mod@column`] and [`mod@batch`] bring many prefixes at once. [`attach`] is about interfaces,
//! [`interface`] asks netlink, [`fill`] knows how full they are, [`view`] reads pinned maps for the command line, [`reports`] hears of drops, [`probe`] asks
//! the program about a frame. Everything that lasts is pinned: the filter outlives whoever loaded it, until [`unload`].

mod attach;
mod batch;
mod column;
#[cfg(debug_assertions)]
mod diagnostics;
mod error;
mod fill;
mod filter;
mod gate;
mod growth;
mod interface;
mod list;
mod maps;
mod probe;
mod reports;
mod table;
mod view;
mod words;

pub use attach::{Attachment, unload, unload_own};
pub use error::KernelError;
pub use fill::Fill;
pub use filter::{Capacity, Filter, Refused, Settings};
pub use interface::{Mode, Surroundings, surroundings};
pub use probe::Probe;
pub use view::{
    BlockedView, CounterView, DumpView, ExemptView, LinkView, MapView, MapsView, VerdictView, View,
};
