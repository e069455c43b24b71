//! Whole lists over the control socket: many entries in one request, each answered for in its place.

use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use filter_core::import::{ENTRIES_LIMIT, End, ImportEntry, ImportRequest, Outcome, Wish};
use filter_core::notation::parse_network;

use super::access::Done;
use super::change::Changed;
use super::contract::Contract;
use super::routes::{Agent, check};
use super::{Author, Problem};
use crate::ips::{List, Request};

/// Largest body of an import, in bytes: [`ENTRIES_LIMIT`] entries, each with the longest comment, escaped.
const BODY_LIMIT: usize = 4 << 20;

type Body = Result<Json<ImportRequest>, JsonRejection>;

pub(super) fn describe(contract: Contract) -> Contract {
    contract
        .post("/api/v1/blocks/import", blocks, |told| {
            told.does("Puts many entries on the block list")
                .takes::<ImportRequest>()
                .up_to(BODY_LIMIT)
                .answers::<Vec<Outcome>>()
        })
        .post("/api/v1/never/import", never, |told| {
            told.does("Puts many entries on the never-block list")
                .takes::<ImportRequest>()
                .up_to(BODY_LIMIT)
                .answers::<Vec<Outcome>>()
        })
}

async fn blocks(
    State(agent): State<Agent>,
    ConnectInfo(author): ConnectInfo<Author>,
    body: Body,
) -> Changed<Vec<Outcome>> {
    import(&agent, List::Blocks, author, body).await
}

async fn never(
    State(agent): State<Agent>,
    ConnectInfo(author): ConnectInfo<Author>,
    body: Body,
) -> Changed<Vec<Outcome>> {
    import(&agent, List::Never, author, body).await
}

/// Answers when the changes are durable.
async fn import(agent: &Agent, list: List, Author(author): Author, body: Body) -> Changed<Vec<Outcome>> {
    let Json(request) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let ImportRequest { entries, dry_run, ahead, force } = request;
    let dry_run = dry_run.then_some(ahead);
    if entries.len() > ENTRIES_LIMIT {
        let detail =
            format!("a request takes {ENTRIES_LIMIT} entries at most; send the others in another one");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let mut wishes = Vec::new();
    let read = entries.into_iter().map(|entry| match wish(entry) {
        Ok(wish) => {
            wishes.push(wish);
            None
        }
        Err(reason) => Some(Outcome::Rejected { reason }),
    });
    let mut outcomes: Vec<Option<Outcome>> = read.collect();
    let request = |answer| Request::Import { list, wishes, author, dry_run, force, answer };
    let mut answers = agent.inbox.ask(request).await.ok_or_else(Problem::stopping)?.into_iter();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
        *outcome = answers.next();
    }
    if dry_run.is_none() {
        let flushed = agent.store.flushed().await;
        flushed.map_err(|error| Problem::new(StatusCode::INSUFFICIENT_STORAGE, error))?;
    }
    let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
    let what = Done(told(list, &outcomes, dry_run.is_some()));
    Ok((Extension(what), Json(outcomes)))
}

/// An import in the words of the audit trail.
fn told(list: List, outcomes: &[Outcome], dry_run: bool) -> String {
    let taken = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Rejected { .. })).count();
    let name = match list {
        List::Blocks => "block list",
        List::Never => "never-block list",
    };
    let verb = if dry_run { "tried to put" } else { "put" };
    format!("{verb} {taken} of {} entries on the {name}", outcomes.len())
}

/// An entry whose values are possible, or why they are not.
fn wish(entry: ImportEntry) -> Result<Wish, String> {
    let ImportEntry { network, until, minutes, comment } = entry;
    let network = parse_network(&network).map_err(|error| error.to_string())?;
    check(minutes, &comment)?;
    let end = match (until, minutes) {
        (Some(_), Some(_)) => return Err("an entry has `until` or `minutes`, not both".to_owned()),
        (Some(until), None) => End::At(until),
        (None, Some(minutes)) => End::After(Duration::from_secs(minutes * 60)),
        (None, None) => End::Usual,
    };
    Ok(Wish { network, end, comment })
}
