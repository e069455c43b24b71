//! The opinions of Gatepost, and nothing else.
//!
//! Everything here is a function of its arguments: time and bytes come from outside, effects go out as
//! values. There is no clock, no socket, no file, no thread and no log, and the crate has no `std` to name
//! them with.
//!
//! In reading order: [`time`] and [`client`] are the vocabulary, [`decision`] is what can be decided.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod client;
pub mod decision;
pub mod time;
