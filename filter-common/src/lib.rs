//! What the kernel program and user space share.
//!
//! [`packet`] reads who sent a frame and what it carries, [`gate`] says whether any list needs to be asked about it,
//! [`table`] is how a host's entry is found, [`judge`] decides what becomes of a packet, [`reason`] says why, and [`abi`] is the
//! layout of the maps between the two worlds. The same source runs in the kernel, in the command line (`gatepost maps get`) and in
//! the tests, so there is one opinion about a packet and not two.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "in the kernel a call costs more than most of these functions, and the verifier follows one body best"
)]

pub mod abi;
pub mod gate;
pub mod judge;
pub mod limits;
#[cfg(any(test, feature = "model"))]
pub mod model;
pub mod packet;
pub mod prefixes;
pub mod reason;
pub mod table;
