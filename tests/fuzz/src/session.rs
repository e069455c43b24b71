//! Whole sessions: whatever both sides do, however it is cut, in the clear and inside TLS.

use std::sync::Arc;

use filter_core::detect::Recipients;
use filter_core::offence::Kind;
use filter_core::script::{Fate, Outcome, Script, Step};
use filter_core::smtp::attachments::{Action, Attachments};
use filter_core::smtp::bounds::{Bounds, LineEnds};
use filter_core::smtp::rules::Rules;
use filter_core::smtp::session::{Patience, Session, Tls};
use filter_core::smtp::voice::{Templates, Voice};
use filter_core::time::Instant;

/// Longest piece that one step says.
const PIECE: usize = 255;

/// Reads an input as a dialogue: a byte that says what happens, one that says how long it is, and what is said. A mail server says
/// one line at a time: whether it speaks before it is asked must not depend on the cuts.
fn script(mut data: &[u8]) -> Script {
    let mut script = Script::default();
    while let [what, length, rest @ ..] = data {
        let size = usize::from(*length).min(PIECE).min(rest.len());
        let (said, later) = rest.split_at(size);
        let lines = said.split_inclusive(|byte| *byte == b'\n');
        data = match what % 16 {
            0..=12 => later,
            _ => rest,
        };
        match what % 16 {
            0..=6 => script.steps.push(Step::Client(said.to_vec(), Fate::Unsure)),
            7..=12 => script.steps.extend(lines.map(|line| Step::Server(line.to_vec(), true))),
            13 => script.steps.push(Step::ClientCloses),
            14 => script.steps.push(Step::ServerCloses),
            _ => script.steps.push(Step::Wait),
        }
    }
    script
}

fn new(line_ends: LineEnds, tls: Tls) -> Session {
    let bounds =
        Bounds { line_ends, text_line: 1000, recipients: 100, message_size: 2000, errors: 5, commands: 20 };
    let rules = Rules {
        recipients: Recipients {
            local_domains: ["b.example".to_owned()].into_iter().collect(),
            ..Recipients::default()
        },
        attachments: Attachments::new(Action::Refuse, ["*.exe"], true).ok(),
        ..Rules::default()
    };
    let voice = Arc::new(Voice::new("mx.example", &Templates::default()));
    Session::new(voice, Patience::default(), Instant::from_nanos(0))
        .with_rules(Arc::new(rules))
        .with_bounds(bounds)
        .with_tls(tls)
}

/// However the bytes of either side are cut, the client hears the same and the same is reported; of what the mail server gets, one is
/// the beginning of the other, since only how much of a refused message it has seen may differ.
pub(crate) fn session(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let line_ends = if choice % 2 == 0 { LineEnds::Reject } else { LineEnds::Normalize };
    let (client_cut, server_cut) = (usize::from(choice / 2 % 8) + 1, usize::from(choice / 16 % 4) + 1);
    let tls = match choice / 64 {
        0 => Tls::PassThrough,
        1 => Tls::Terminate { auth_in_clear: false },
        2 => Tls::Implicit,
        _ => Tls::Terminate { auth_in_clear: true },
    };
    let script = script(rest);
    let whole = script.play(new(line_ends, tls), usize::MAX, usize::MAX);
    let pieces = script.play(new(line_ends, tls), client_cut, server_cut);
    assert_eq!(said(&whole), said(&pieces));
    assert!(whole.passed.starts_with(&pieces.passed) || pieces.passed.starts_with(&whole.passed));
}

fn said(outcome: &Outcome) -> (String, Vec<Kind>) {
    // Of two offences that are found in the same bytes, either may be told first.
    let mut offences = outcome.offences.clone();
    offences.sort_unstable();
    (String::from_utf8_lossy(&outcome.heard).into_owned(), offences)
}
