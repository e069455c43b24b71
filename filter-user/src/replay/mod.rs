//! A replay of the stored event log: other numbers in, who would have been blocked out.
//!
//! Whoever asks, the command line or the API, gets the same answer from here. It reads the database itself, page by page
//! through a connection of its own, so that it works beside an agent and without one, and holds no more of a long log than
//! what the engine keeps of it. It takes seconds for a million events: callers on a runtime give it a thread that may wait.

mod setting;

use filter_core::decision::Never;
use filter_core::event::EventId;
use filter_core::policy::Policy;
use filter_core::replay::{Before, Outcome, Replay};
use filter_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use setting::{Changed, NotASetting, Setting, changes};

use crate::store::{EventFilter, History, PAGE_LIMIT};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The numbers in force.
    pub configured: Policy,
    /// The numbers to try; see [`Setting::apply`].
    pub tried: Policy,
    /// What is decided before this time shapes the scores and is not compared; none: the whole log is compared.
    pub since: Option<Timestamp>,
    /// Gatepost's own never-block entries.
    pub built_in: Vec<Never>,
}

/// What it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// How many clients more and fewer, and whom of them it would harm, in one sentence.
    pub summary: String,
    /// What differs from the numbers in force.
    pub changed: Vec<Changed>,
    /// The clients.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The log cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the event log cannot be read: {0}; look at the disk of the state directory")]
pub struct Unreadable(#[from] rusqlite::Error);

/// Replays the log; `progress` hears after each page how many of how many events are done.
pub fn replay(
    history: &History,
    question: Question,
    mut progress: impl FnMut(u64, u64),
) -> Result<Answer, Unreadable> {
    let Question { configured, tried, since, built_in } = question;
    let changed = changes(&configured, &tried);
    let since = since.unwrap_or(Timestamp::from_millis(i64::MIN));
    let page = |after| {
        let filter = EventFilter { after: Some(after), limit: Some(PAGE_LIMIT), ..EventFilter::default() };
        history.events(&filter)
    };
    let newest = history.events(&EventFilter { limit: Some(1), ..EventFilter::default() })?;
    let mut events = page(EventId(0))?;
    // An empty log leaves nothing to be judged by either list.
    let first = events.first().map_or(Timestamp::from_millis(i64::MIN), |event| event.time);
    let oldest = events.first().map_or(0, |event| event.id.0);
    let all = newest.first().map_or(0, |event| (event.id.0 + 1).saturating_sub(oldest));
    let (blocks, nevers) = history.lists()?;
    let before = Before {
        blocks: blocks.into_iter().filter(|block| block.since < first).collect(),
        nevers: nevers.into_iter().filter(|never| never.since < first).collect(),
        built_in,
    };
    let mut replay = Replay::new(tried, before, since);
    while let Some(last) = events.last().map(|event| event.id) {
        for event in &events {
            replay.handle_event(event);
        }
        progress((last.0 + 1).saturating_sub(oldest).min(all), all);
        events = page(last)?;
    }
    let outcome = replay.outcome();
    Ok(Answer { summary: outcome.summary(), changed, outcome })
}
