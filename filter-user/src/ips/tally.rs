//! How often each thing has happened and been decided since the start, counted with each event and with each offence that has none of its own.

use filter_core::decision::Origin;
use filter_core::event::{Event, What};
use filter_core::offence::Kind;

/// Where the end of an entry comes from whose time had come.
const CLOCK: &str = "clock";
/// Where a decision comes from that is only the engine's.
const ENGINE: &str = "engine";

/// What is decided about networks, as the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Blocked.
    Block,
    /// Would be blocked, if anything were enforced.
    Observe,
    /// An entry of the block list was removed, or its time had come.
    Unblock,
    /// Reached the threshold, and is never blocked.
    Spare,
    /// Never blocked from now on.
    Exempt,
    /// An entry of the never-block list was removed, or its time had come.
    Unexempt,
    /// No room on the block list.
    NoRoom,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 7] =
        [Self::Block, Self::Observe, Self::Unblock, Self::Spare, Self::Exempt, Self::Unexempt, Self::NoRoom];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Observe => "observe",
            Self::Unblock => "unblock",
            Self::Spare => "spare",
            Self::Exempt => "exempt",
            Self::Unexempt => "unexempt",
            Self::NoRoom => "no-room",
        }
    }
}

/// The counts; small, and copied for whoever asks.
#[derive(Debug, Clone)]
pub struct Tally {
    offences: [u64; Kind::ALL.len()],
    /// Each decision and its origin, with their number.
    decisions: Vec<(Decision, &'static str, u64)>,
}

impl Default for Tally {
    /// What is known to happen begins at zero, so that the first time is an increase.
    fn default() -> Self {
        let [smtp, login, manual] = [Origin::Smtp, Origin::Login, Origin::Manual].map(Origin::name);
        let blocks = [smtp, login, manual].map(|origin| (Decision::Block, origin, 0));
        let observed = [smtp, login, manual].map(|origin| (Decision::Observe, origin, 0));
        let ends = [Decision::Unblock, Decision::Unexempt];
        let ends = ends.into_iter().flat_map(|end| [(end, manual, 0), (end, CLOCK, 0)]);
        let others =
            [(Decision::Exempt, manual, 0), (Decision::Spare, ENGINE, 0), (Decision::NoRoom, ENGINE, 0)];
        let decisions = blocks.into_iter().chain(observed).chain(ends).chain(others).collect();
        Self { offences: [0; Kind::ALL.len()], decisions }
    }
}

impl Tally {
    /// Counts what an event tells of.
    pub(super) fn handle(&mut self, event: &Event) {
        let by = |author: &Option<String>| if author.is_some() { Origin::Manual.name() } else { CLOCK };
        let (decision, origin) = match &event.what {
            What::Offence { kind, .. } => {
                self.count(*kind);
                return;
            }
            What::Blocked { origin, enforced: true, .. } => (Decision::Block, origin.name()),
            What::Blocked { origin, enforced: false, .. } => (Decision::Observe, origin.name()),
            What::Unblocked { by: author, .. } => (Decision::Unblock, by(author)),
            What::Spared { .. } => (Decision::Spare, ENGINE),
            What::Exempted { .. } => (Decision::Exempt, Origin::Manual.name()),
            What::Unexempted { by: author } => (Decision::Unexempt, by(author)),
            What::NoRoom => (Decision::NoRoom, ENGINE),
            What::Succeeded { .. } | What::Dropped { .. } => return,
        };
        match self.decisions.iter_mut().find(|(of, from, _)| (*of, *from) == (decision, origin)) {
            Some((_, _, count)) => *count += 1,
            None => self.decisions.push((decision, origin, 1)),
        }
    }

    /// Counts an offence that the log is told of later.
    pub(super) fn count(&mut self, kind: Kind) {
        self.offences[kind.index()] += 1;
    }

    /// Offences of a kind.
    pub fn offences(&self, kind: Kind) -> u64 {
        self.offences[kind.index()]
    }

    /// Every decision that has been made, with where it came from and how often.
    pub fn decisions(&self) -> impl Iterator<Item = (Decision, &'static str, u64)> {
        self.decisions.iter().copied()
    }
}
