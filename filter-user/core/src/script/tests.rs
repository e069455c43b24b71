//! Every script in `tests/scripts`, in one piece and in all pieces.

extern crate std;

use alloc::sync::Arc;
use core::time::Duration;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::detect::Recipients;
use crate::smtp::attachments::{Action, Attachments, PROGRAMS};
use crate::smtp::bounds::{Bounds, LineEnds};
use crate::smtp::rules::Rules;
use crate::smtp::session::{Patience, Tls};
use crate::smtp::voice::{Templates, Voice};

/// A session of one of the services that `tests/tests/scripts.rs` configures.
fn session(service: &str) -> Session {
    let mut bounds = Bounds::default();
    let mut patience = Patience::default();
    match service {
        "smtp" | "slow" => {}
        "lenient" => bounds.line_ends = LineEnds::Normalize,
        "small" => {
            (bounds.message_size, bounds.recipients) = (1000, 100);
            (bounds.errors, bounds.commands) = (5, 20);
        }
        "brief" => patience.client = Duration::from_secs(1),
        other => panic!("no service {other}"),
    }
    let rules = Rules {
        recipients: Recipients {
            local_domains: ["example.test".into()].into_iter().collect(),
            traps: ["trap@example.test".into()].into_iter().collect(),
        },
        attachments: Attachments::new(
            Action::Refuse,
            PROGRAMS.map(|kind| format!("*.{kind}")).iter().map(String::as_str),
            true,
        )
        .ok(),
        ..Rules::default()
    };
    let voice = Arc::new(Voice::new("mx.example.test", &Templates::default()));
    let greet_delay = if service == "slow" { Duration::from_secs(1) } else { Duration::ZERO };
    let session = Session::new(voice, patience, Instant::from_nanos(0)).with_rules(Arc::new(rules));
    session.with_bounds(bounds).with_greet_delay(greet_delay)
}

fn scripts() -> Vec<Script> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scripts");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        Script::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

#[test]
fn each_script_comes_out_as_it_says_however_it_is_cut() {
    let scripts = scripts();
    assert!(scripts.len() > 40);
    let mut wrong = Vec::new();
    let cuts = [usize::MAX, 1, 2, 3, 5, 7, 16, 100, 511];
    for script in &scripts {
        for (transport, tls) in [(Transport::Plain, Tls::PassThrough), (Transport::Implicit, Tls::Implicit)] {
            if !script.transports.contains(&transport) {
                continue;
            }
            let mut judged = cuts.into_iter().map(|cut| {
                let outcome = script.play(session(&script.service).with_tls(tls), cut, cut);
                script.judge(&outcome).map_err(|wrong| format!("{}, cut at {cut}: {wrong}", transport.name()))
            });
            wrong.extend(judged.find_map(Result::err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_offence_that_a_dialogue_shows_has_a_script() {
    let scripts = scripts();
    // A session limit is no dialogue; that one is shown by `tests/tests/limits.rs`.
    let shown = |kind: &Kind| scripts.iter().any(|script| script.offences.contains(kind));
    let missing: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| !shown(kind) && !NOT_IN_A_DIALOGUE.contains(&kind.name()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Seen before a session, beside it, or by others.
const NOT_IN_A_DIALOGUE: [&str; 3] = ["session-overflow", "tls-failure", "failed-login"];

#[test]
fn mistakes_in_a_script_are_named_with_their_line() {
    for (text, line) in [
        ("C: a", 1),
        ("# x\nD: a", 2),
        ("# x\nC: \\q", 2),
        ("# x\n\n= ham", 3),
        ("# x\nC: \\x4", 2),
        ("# x\nonly plain", 2),
        ("# x\nonly pigeon: it flies", 2),
    ] {
        assert_eq!(Script::parse(text).unwrap_err().line, line, "{text}");
    }
    let script = Script::parse("# x\nonly plain, implicit: no greeting").unwrap();
    assert_eq!(script.transports, [Transport::Plain, Transport::Implicit]);
    let script = Script::parse("# x\nC: \\*3(ab)\\x41\\c\nC! \\0").unwrap();
    assert_eq!(
        script.steps,
        [Step::Client(b"abababA".into(), Fate::Passes), Step::Client(b"\0\r\n".into(), Fate::Stays)]
    );
}
