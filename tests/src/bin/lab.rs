//! `cargo xtask lab`: a world to walk around in, until Ctrl-C.
#![expect(clippy::print_stdout, reason = "it tells a person at a terminal what there is")]

use anyhow::{Context, Result};
use filter_tests::agent::{Agent, binary, config_of};
use filter_tests::postfix::{Postfix, RECIPIENTS};
use filter_tests::world::{GATEWAY_V4, GATEWAY_V6, MAIL, World};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    // Heard from the first moment on, because whatever has been made must be removed. A blocked signal would not do:
    // every child would inherit the mask and be deaf to its own end.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    println!("Making three network name spaces, a Postfix and a Gatepost …");
    let world = World::new()?;
    let _postfix = Postfix::start(&world)?;
    let agent = Agent::start(&world, "").context("the agent does not start")?;
    let enter = |name: &str| format!("nsenter --net=/run/netns/{name}");
    let gatepost = format!("{} --config {}", binary()?.display(), config_of(&world).display());
    println!(
        "
The internet has clients at 203.0.113.10 to .60 and 2001:db8:a:1::1 to 2001:db8:a:5::1.
The gateway listens on {GATEWAY_V4} and {GATEWAY_V6}, port 25; Postfix is behind it at {MAIL}.
Recipients: {recipients} at example.test. Login: alice@example.test, secret.
State, logs and mailboxes: {scratch}

Send a mail:     {internet} swaks --server {GATEWAY_V4} --local-interface 203.0.113.10 --to alice@example.test
Misbehave:       {internet} swaks --server {GATEWAY_V4} --local-interface 203.0.113.11 --to x@elsewhere.test
                 … ten times, and 203.0.113.11 is blocked for thirty minutes.
Look at it:      {gateway} {gatepost} status
                 {gateway} {gatepost} block list
                 {gateway} {gatepost} maps get 203.0.113.11

Ctrl-C removes everything.",
        recipients = RECIPIENTS.join(", "),
        scratch = world.scratch().display(),
        internet = enter(world.internet.name()),
        gateway = enter(world.gateway.name()),
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("\nRemoving everything …");
    agent.stop()
}
