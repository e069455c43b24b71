//! Whole sessions: whatever both sides do, and however it is cut.

use std::sync::Arc;

use filter_core::detect::Recipients;
use filter_core::offence::Kind;
use filter_core::script::{Fate, Outcome, Script, Step};
use filter_core::smtp::attachments::{Action, Attachments};
use filter_core::smtp::bounds::{Bounds, LineEnds};
use filter_core::smtp::rules::Rules;
use filter_core::smtp::session::{Patience, Session};
use filter_core::smtp::voice::{Templates, Voice};
use filter_core::time::Instant;

/// Longest piece that one step says.
const PIECE: usize = 255;

/// Reads an input as a dialogue: a byte that says what happens, one that says how long it is, and what is said.
fn script(mut data: &[u8]) -> Script {
    let mut script = Script::default();
    while let [what, length, rest @ ..] = data {
        let size = usize::from(*length).min(PIECE).min(rest.len());
        let (said, later) = rest.split_at(size);
        let (step, left) = match what % 16 {
            0..=6 => (Step::Client(said.to_vec(), Fate::Unsure), later),
            7..=12 => (Step::Server(said.to_vec(), true), later),
            13 => (Step::ClientCloses, rest),
            14 => (Step::ServerCloses, rest),
            _ => (Step::Wait, rest),
        };
        script.steps.push(step);
        data = left;
    }
    script
}

fn new(line_ends: LineEnds) -> Session {
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
}

/// However the client's bytes are cut, the client hears the same and the same is reported; of what the mail server gets, one is the beginning
/// of the other, since only how much of a refused message it has seen may differ. A mail server's bytes come as
/// they are said: one that says more than it was asked is given up at once, or after the commands that came before its next word.
pub(crate) fn session(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let line_ends = if choice % 2 == 0 { LineEnds::Reject } else { LineEnds::Normalize };
    let script = script(rest);
    let whole = script.play(new(line_ends), usize::MAX, usize::MAX);
    let pieces = script.play(new(line_ends), usize::from(choice / 2) + 1, usize::MAX);
    assert_eq!(said(&whole), said(&pieces));
    assert!(whole.passed.starts_with(&pieces.passed) || pieces.passed.starts_with(&whole.passed));
}

fn said(outcome: &Outcome) -> (String, Vec<Kind>) {
    // Of two offences that are found in the same bytes, either may be told first.
    let mut offences = outcome.offences.clone();
    offences.sort_unstable();
    (String::from_utf8_lossy(&outcome.heard).into_owned(), offences)
}
