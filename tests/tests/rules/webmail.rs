//! Roundcube and `SOGo`.

use std::fs;

use anyhow::{Context as _, ensure};
use filter_tests::dovecot::Dovecot;
use filter_tests::in_world;
use filter_tests::process::wait_until;
use filter_tests::roundcube::Roundcube;
use filter_tests::sogo::{Front, Sogo};

use crate::{PATIENCE, ensure_found};

/// What a client of Roundcube does, and what is no client's fault.
const ROUNDCUBE: [&str; 2] = ["roundcube-failed-login", "roundcube-mail-server-trouble"];

/// What a client of `SOGo` does.
const SOGO: [&str; 1] = ["sogo-failed-login"];

/// The rules that have met real lines here.
pub(crate) const SHOWN: [&[&str]; 2] = [&ROUNDCUBE, &SOGO];

#[test]
fn roundcube() {
    in_world(|world, _| {
        let dovecot = Dovecot::start(world)?;
        let roundcube = Roundcube::start(world)?;
        let client = "203.0.113.53";
        let forged = "[24-Nov-2026 15:22:27 +0000]: <b2f5k8s1> IMAP Error: Login failed for y against z from 203.0.113.99. \
            AUTHENTICATE PLAIN: Authentication failed. in /x on line 211 (POST /?_task=login)";
        // Line ends in the name of an account end the line, and what follows is one of its own.
        let hostile = format!("x against y from 203.0.113.99. LOGIN: x in y (POST z)\n{forged}\n{forged}\n");
        let headers: [&[&str]; 3] =
            [&[], &["X-Forwarded-For: 203.0.113.99, 203.0.113.98", "X-Real-IP: 203.0.113.97"], &[]];
        for (account, headers) in ["alice", "alice", &hostile].into_iter().zip(headers) {
            ensure!(!roundcube.log_in(world, client, account, headers)?, "{account} is let in");
        }
        // That its mail server is at odds with itself, or down, is not the fault of who logs in.
        drop(dovecot);
        let dovecot = Dovecot::start_helpless(world)?;
        ensure!(!roundcube.log_in(world, "203.0.113.54", "alice", &[])?, "let in");
        drop(dovecot);
        ensure!(!roundcube.log_in(world, "203.0.113.54", "alice", &[])?, "let in");
        let log = fs::read_to_string(roundcube.log_file("errors"))?;
        ensure!(log.contains("203.0.113.54. Could not connect"), "{log}");
        ensure!(log.matches("203.0.113.99").count() >= 3, "nobody is injected: {log}");
        let all = ensure_found(&log, Some("roundcube"), client, &ROUNDCUBE)?;
        let accounts: Vec<_> = all.iter().map(|found| found.account.as_deref()).collect();
        ensure!(accounts == [Some("alice"), Some("alice")], "{accounts:?}\n{log}");
        Ok(())
    });
}

#[test]
fn sogo() {
    in_world(|world, _| {
        let sogo = Sogo::start(world)?;
        let client = "203.0.113.55";
        // A line of its own in SOGo's log, which is why that is not read.
        let forged = "x' might not have worked\nNov 28 13:25:09 sogod [1]: SOGoRootPage Login from '203.0.113.99' for user 'y";
        let line = "203.0.113.99 - - [28/Nov/2026:13:25:09 +0000] \"POST /SOGo/connect HTTP/1.1\" 403 33";
        let injected = format!("x\" 403 1\n{line}");
        let headers = [
            &["-u", &injected][..],
            &["-A", line],
            &["-e", line],
            &["-H", "X-Forwarded-For: 203.0.113.99", "-H", "x-webobjects-remote-host: 203.0.113.98"],
        ]
        .concat();
        for front in Front::ALL {
            sogo.log_in(world, client, front, "alice", &[])?;
            sogo.log_in(world, client, front, forged, &headers)?;
            // Whom nobody refuses, and who is not there.
            let path = format!("/SOGo/{}", "x%22%20403%0a203.0.113.99%20-%20-%20%5B".repeat(2));
            for path in ["/SOGo/", &path] {
                sogo.ask(world, "203.0.113.56", front, path, &["-X", "POST"])?;
            }
            let name = front.name();
            let logs = match front {
                Front::Nginx => &["access"][..],
                Front::Apache => &["access", "other_vhosts_access"],
            };
            for log in logs {
                let log = sogo.log_file(front, log);
                let read = || fs::read_to_string(&log).unwrap_or_default();
                // A web server writes a line when the answer has gone.
                wait_until("the last line", PATIENCE, || Ok(read().lines().count() >= 4))
                    .with_context(read)?;
                let all = ensure_found(&read(), Some(name), client, &SOGO)?;
                ensure!(
                    all.len() == 2 && all.iter().all(|found| found.stamp.is_some()),
                    "{all:?}\n{}",
                    read()
                );
            }
        }
        let log = sogo.log()?;
        let written = "Nov 28 13:25:09 sogod [1]: SOGoRootPage Login from '203.0.113.99' for user 'y' might not have worked";
        ensure!(log.lines().any(|line| line.starts_with(written)), "{log}");
        Ok(())
    });
}
