//! What the benches are made of. They measure and print; none of them asserts a time.
//!
//! [`crowd`] makes up lists and packets, [`rig`] runs the filter and the programs that it is measured against, [`sample`]
//! is what several rounds of one measurement come to, [`report`] prints tables and writes them as JSON. The benches
//! themselves: [`packet`] is the price of one packet, [`wire`] real frames over a veth pair, [`feed`] the filling of
//! lists, [`score`] an offence in the engine, [`reaction`] the way from a refusal into the kernel; [`rival`] is netfilter and xdp-filter, which are measured beside the filter in the same run.

pub mod report;
pub mod sample;

pub mod crowd;
pub mod rig;

pub mod feed;
pub mod packet;
pub mod reaction;
pub mod rival;
pub mod score;
pub mod wire;
