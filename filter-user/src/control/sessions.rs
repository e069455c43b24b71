//! The open sessions: listing them, and ending them.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use filter_core::notation::parse_network;
use filter_core::open::{Ended, Key, OpenSessions, Wanted};
use filter_core::smtp::session::State as Doing;
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::Done;
use super::routes::{Agent, Answer};
use super::{Problem, paging};
use crate::clock;
use crate::ips::Request;

/// Which sessions are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    /// Of clients in this network.
    network: Option<String>,
    /// Of this service.
    service: Option<String>,
    /// That do this.
    state: Option<Doing>,
    /// Whose address, name, account or mail server contains this.
    #[schemars(length(max = 200))]
    q: Option<String>,
    /// Sorted by this.
    sort: Key,
    /// The highest first.
    descending: bool,
    /// Without the first of them.
    offset: usize,
    /// How many at most.
    #[schemars(range(min = 1, max = 10_000))]
    limit: Option<usize>,
}

/// Which sessions are to end; one of the two.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Meant {
    /// The one of this number.
    id: Option<u64>,
    /// All of clients in this network.
    network: Option<String>,
}

pub(super) async fn list(
    State(agent): State<Agent>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Answer<OpenSessions> {
    let Query(asked) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let wanted = asked.check()?;
    let (sightings, threshold) = agent.inbox.ask(Request::Sessions).await.ok_or_else(Problem::stopping)?;
    let now = clock::now();
    let view = |seen: &crate::ips::Sighting| seen.live.view(seen.id, seen.local, seen.score, now);
    let sessions = sightings.iter().map(view).collect();
    Ok(Json(wanted.choose(sessions, threshold)))
}

impl Asked {
    fn check(self) -> Result<Wanted, Problem> {
        let (network, text) = paging::check(self.network, self.q, self.limit)?;
        Ok(Wanted {
            network,
            service: self.service.filter(|name| !name.is_empty()),
            state: self.state,
            text,
            key: self.sort,
            descending: self.descending,
            offset: self.offset,
            limit: self.limit,
        })
    }
}

/// Ends sessions, with a reply that their clients hear.
pub(super) async fn end(
    State(agent): State<Agent>,
    query: Result<Query<Meant>, QueryRejection>,
) -> Result<(Extension<Done>, Json<Ended>), Problem> {
    let Query(meant) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let network = meant.network.as_deref().map(parse_network).transpose();
    let network = network.map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    let what = match (meant.id, network) {
        (Some(id), None) => format!("ended session {id}"),
        (None, Some(network)) => format!("ended the sessions of {network}"),
        (None, None) | (Some(_), Some(_)) => {
            let detail = "say which sessions end by one of both: `id` or `network`";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let request = |answer| Request::EndSessions { id: meant.id, network, answer };
    let ended = agent.inbox.ask(request).await.ok_or_else(Problem::stopping)?;
    match meant.id {
        Some(id) if ended.is_empty() => {
            let detail = format!("there is no open session {id}; it may have ended by itself");
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
        _ => Ok((Extension(Done(what)), Json(Ended { ended }))),
    }
}
