//! The event log as it grows: server-sent events (WHATWG HTML, section 9.2).
//!
//! Each event of the log is one message with its number as the message's own, so that a reader that has lost its connection goes
//! on where it was (`Last-Event-ID`). The log is looked at once a second, and there are only so many readers at a time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::{Event as Frame, KeepAlive};
use filter_core::event::EventId;
use filter_core::notation::parse_network;
use filter_core::time::Instant;
use futures_util::Stream;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::Problem;
use super::events::read;
use super::routes::Agent;
use crate::clock;
use crate::store::EventFilter;

/// Readers at a time.
pub(super) const READERS_LIMIT: usize = 64;
/// How often the log is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a reader hears that it is still connected.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader is served before he has to come back, and to show once more who he is.
const LIFE: Duration = Duration::from_mins(15);
/// Events that are read at once.
const BATCH: u32 = 500;

/// Which events are followed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Of addresses in this network, and of networks around it.
    network: Option<String>,
    /// Of this kind, such as `blocked`.
    kind: Option<String>,
    /// Offences at this service, such as `imap`.
    service: Option<String>,
    /// Offences about this account.
    account: Option<String>,
    /// Later than this event; none: from now on.
    after: Option<u64>,
}

/// One reader.
struct Reader {
    agent: Agent,
    filter: EventFilter,
    /// Read and not yet sent, the next one last.
    waiting: Vec<Frame>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn follow(
    State(agent): State<Agent>,
    headers: HeaderMap,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Frame, Infallible>>>, Problem> {
    let Query(wanted) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let network = wanted.network.as_deref().map(parse_network).transpose();
    let network = network.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    let place = Arc::clone(&agent.turns.readers).try_acquire_owned().map_err(|_| {
        let detail = format!("{READERS_LIMIT} readers follow the log already; end one of them first");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let after = match last.or(wanted.after) {
        Some(after) => EventId(after),
        None => newest(&agent).await?,
    };
    let filter = EventFilter {
        network,
        kind: wanted.kind,
        service: wanted.service,
        account: wanted.account,
        after: Some(after),
        limit: Some(BATCH),
        ..EventFilter::default()
    };
    let reader =
        Reader { agent, filter, waiting: Vec::new(), until: clock::instant().after(LIFE), _place: place };
    Ok(Sse::new(stream::unfold(reader, next)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn newest(agent: &Agent) -> Result<EventId, Problem> {
    let latest = EventFilter { limit: Some(1), ..EventFilter::default() };
    let events = read(agent, move |history| history.events(&latest)).await?;
    Ok(events.last().map_or(EventId(0), |event| event.id))
}

/// The next message; none ends the stream, which makes the reader come back.
async fn next(mut reader: Reader) -> Option<(Result<Frame, Infallible>, Reader)> {
    while reader.waiting.is_empty() {
        if clock::instant() >= reader.until {
            return None;
        }
        let filter = reader.filter.clone();
        let events = read(&reader.agent, move |history| history.events(&filter)).await.ok()?;
        let Some(last) = events.last() else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        reader.filter.after = Some(last.id);
        let frame = |event| Frame::default().id(event_id(event)).event("event").json_data(event).ok();
        reader.waiting = events.iter().rev().filter_map(frame).collect();
    }
    let frame = reader.waiting.pop()?;
    Some((Ok(frame), reader))
}

fn event_id(event: &filter_core::event::Event) -> String {
    event.id.0.to_string()
}
