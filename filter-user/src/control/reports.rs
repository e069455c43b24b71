//! `POST /api/v1/reports`: what other programs tell of clients.
//!
//! One report or a list of them. If one of a list cannot be taken, none is: whoever wrote it has a mistake to mend, and
//! would otherwise not know which ones have counted.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use filter_core::report::{Reception, Request, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Problem;
use super::contract::Contract;
use super::routes::{Agent, Answer};

/// Largest body of reports, in bytes.
const BODY_LIMIT: usize = 1 << 20;
/// Reports of one request.
const REPORTS_LIMIT: usize = 1000;

/// What became of one report.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Heard {
    /// In a word.
    #[serde(flatten)]
    pub reception: Reception,
    /// In a sentence.
    pub detail: String,
}

pub(super) fn describe(contract: Contract) -> Contract {
    contract.post("/api/v1/reports", hear, |told| {
        told.does("Tells of what a client did wrong elsewhere; a list of reports is taken, too")
            .takes::<Request>()
            .up_to(BODY_LIMIT)
            .answers::<Vec<Heard>>()
    })
}

async fn hear(State(agent): State<Agent>, body: Result<Json<Value>, JsonRejection>) -> Answer<Vec<Heard>> {
    let Json(told) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let told = match told {
        Value::Array(several) => several,
        one => vec![one],
    };
    let wrong = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    if told.len() > REPORTS_LIMIT {
        return Err(wrong(format!("one request takes at most {REPORTS_LIMIT} reports; send several")));
    }
    let mut reports = Vec::new();
    for (number, value) in (1..).zip(told) {
        let request: Request =
            serde_json::from_value(value).map_err(|error| wrong(format!("report {number}: {error}")))?;
        let report = request.read(Source::Program, agent.login_key);
        reports.push(report.map_err(|error| wrong(format!("report {number}: {error}")))?);
    }
    let mut heard = Vec::new();
    for report in reports {
        let reception = agent.inbox.tell_and_hear(report).await.ok_or_else(Problem::stopping)?;
        heard.push(Heard { detail: reception.sentence(), reception });
    }
    Ok(Json(heard))
}
