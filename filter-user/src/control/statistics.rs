//! What the last day was like, and who is nearest to being blocked.
//!
//! It takes a look at the log of that day and at every client with a score, so the answer is made once for all who ask within the
//! same few seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use filter_core::neighbourhood::{Nearest, Watched};
use filter_core::time::{Instant, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::Problem;
use super::events::read;
use super::routes::{Agent, Answer};
use crate::clock;
use crate::ips::Request;
use crate::store::Day;

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(2);
/// Clients that are named.
const NAMED: usize = 10;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Statistics {
    /// When it was made.
    pub time: Timestamp,
    /// Events of the last 24 hours, hour by hour and the oldest first, by what happened; offences by their kind.
    pub events: BTreeMap<String, Vec<u64>>,
    /// Clients with a score.
    pub watched: u64,
    /// The score that blocks.
    pub threshold: u32,
    /// Those with the highest scores.
    pub nearest: Vec<Watched>,
}

/// The last answer, for who asks next.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Kept>);

/// What is kept between two who ask.
#[derive(Debug, Default)]
struct Kept {
    day: Day,
    latest: Option<(Instant, Arc<Statistics>)>,
}

pub(super) async fn show(State(agent): State<Agent>) -> Answer<Statistics> {
    // Who comes while it is being made waits for it, and does not make another one.
    let mut kept = agent.turns.statistics.0.lock().await;
    let Kept { day, latest } = &mut *kept;
    let now = clock::now();
    if let Some((made, statistics)) = latest.as_ref()
        && now.instant.since(*made) < FRESH
    {
        return Ok(Json(Statistics::clone(statistics)));
    }
    let found = agent.inbox.ask(Request::Nearest).await;
    let Nearest { watched, threshold, clients: mut nearest } = found.ok_or_else(Problem::stopping)?;
    nearest.truncate(NAMED);
    // If it cannot be read, the next one who asks begins anew.
    let mut counted = std::mem::take(day);
    let (counted, events) = read(&agent, move |history| {
        counted.read(history, now.wall)?;
        let events = counted.hours(now.wall);
        Ok((counted, events))
    })
    .await?;
    *day = counted;
    let statistics = Arc::new(Statistics { time: now.wall, events, watched, threshold, nearest });
    *latest = Some((now.instant, Arc::clone(&statistics)));
    Ok(Json(Statistics::clone(&statistics)))
}
