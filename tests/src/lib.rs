//! The lab: a small world of network name spaces in which the real agent, a real Postfix and real clients meet.
//!
//! [`world`] makes and removes it, [`sweep`] removes what a crash left behind, [`postfix`], [`dovecot`] and [`agent`] are what runs
//! in it, [`unpacked`] other mail servers, [`strict`] a Postfix that refuses what it can, [`roundcube`] and [`sogo`] web mailers, [`journald`] a journal, [`prometheus`] who measures, [`client`] is who misbehaves, [`tls`] what protects
//! it, [`web`] and [`browser`] who administers. Traffic never
//! leaves the name spaces that a world made.

pub mod world;

pub mod namespace;
pub mod process;
pub mod sweep;

pub mod agent;
pub mod browser;
pub mod client;
pub mod dovecot;
pub mod journald;
pub mod postfix;
pub mod prometheus;
pub mod roundcube;
pub mod sogo;
pub mod strict;
pub mod tls;
pub mod unpacked;
pub mod web;

#[cfg(feature = "bench")]
pub mod bench;

use std::fs;

use anyhow::Result;

use postfix::Postfix;
use world::World;

/// Runs one test in a world of its own with a Postfix in it; what was logged is shown if it fails.
///
/// # Panics
/// When the test fails, so that the test runner sees it.
pub fn in_world(test: impl FnOnce(&World, &Postfix) -> Result<()>) {
    let outcome = World::new().and_then(|world| {
        let postfix = Postfix::start(&world)?;
        let outcome = test(&world, &postfix);
        if outcome.is_err() {
            let agent = fs::read_to_string(world.scratch().join("gatepost.log")).unwrap_or_default();
            eprintln!("--- Postfix\n{}--- agent\n{agent}---", postfix.log());
        }
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:?}");
    }
}
