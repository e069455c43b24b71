//! What the benches are made of. They measure and print; none of them asserts a time.
//!
//! [`crowd`] makes up lists and packets, [`rig`] runs the filter and the programs that it is measured against, [`sample`]
//! is what several rounds of one measurement come to, [`report`] prints tables and writes them as JSON, [`choice`] says
//! which rows are wanted. The benches themselves: [`packet`] is the price of one packet, [`wire`] real frames over a veth
//! pair, [`flood`] what they leave of honest mail when they come at a certain [`pace`], [`feed`] the filling of lists, [`score`] an
//! offence in the engine, [`reaction`] the way from a refusal into the kernel, [`relay`] messages through the edge, [`refuse`]
//! refusals and idle sessions, which [`hold`] opens, [`page`] the first byte of pages and routes, [`digest`] the reading of
//! logs. [`rival`] is netfilter and xdp-filter, [`proxy`] HAProxy and nginx, which are measured beside us in the same run.

pub mod choice;
pub mod report;
pub mod sample;

pub mod crowd;
pub mod digest;
pub mod rig;

pub mod feed;
pub mod flood;
mod hold;
mod pace;
pub mod packet;
pub mod page;
pub mod proxy;
pub mod reaction;
pub mod refuse;
pub mod relay;
pub mod rival;
pub mod score;
pub mod wire;
