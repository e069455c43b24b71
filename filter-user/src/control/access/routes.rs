//! Users and tokens over the API, for administrators only; and the audit trail.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use filter_core::access::{
    Audit, NewToken, PasswordRequest, Token, TokenRequest, Unfit, User, UserRequest, check_name,
    check_password,
};
use filter_core::admin::LONGEST_BLOCK_MINUTES;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Done, Refusal};
use crate::clock;
use crate::control::contract::Contract;
use crate::control::routes::Agent;
use crate::control::{Author, Problem};

type Told<T> = Result<(Extension<Done>, Json<T>), Problem>;

pub(in crate::control) fn describe(contract: Contract) -> Contract {
    const USERS: &str = "/api/v1/users";
    const TOKENS: &str = "/api/v1/tokens";
    contract
        .get(USERS, users, |told| told.does("Who may sign in").answers::<Vec<User>>())
        .post(USERS, add_user, |told| told.does("Makes a user").takes::<UserRequest>().answers::<User>())
        .delete(USERS, remove_user, |told| told.does("Removes a user").asks::<Named>().answers::<User>())
        .post("/api/v1/users/password", set_password, |told| {
            told.does("Sets the password of a user").takes::<PasswordRequest>().answers::<User>()
        })
        .get(TOKENS, tokens, |told| told.does("Which programs may ask").answers::<Vec<Token>>())
        .post(TOKENS, add_token, |told| {
            told.does("Makes a token, and shows its secret once")
                .takes::<TokenRequest>()
                .answers::<NewToken>()
        })
        .delete(TOKENS, remove_token, |told| told.does("Revokes a token").asks::<Named>().answers::<Token>())
        .get("/api/v1/audit", audit, |told| {
            told.does("The latest lines of the audit trail, the newest first").answers::<Vec<Audit>>()
        })
}

async fn users(State(agent): State<Agent>) -> Result<Json<Vec<User>>, Problem> {
    agent.access.users().await.map(Json).ok_or_else(Problem::stopping)
}

async fn tokens(State(agent): State<Agent>) -> Result<Json<Vec<Token>>, Problem> {
    agent.access.tokens().await.map(Json).ok_or_else(Problem::stopping)
}

async fn add_user(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    body: Result<Json<UserRequest>, JsonRejection>,
) -> Told<User> {
    let UserRequest { name, role, password } = read(body)?;
    check_name(&name).and_then(|()| check_password(&name, &password)).map_err(unfit)?;
    let added = agent.access.add_user(name, role, password, author).await;
    let what = |user: &User| format!("made the user {} ({})", user.name, user.role.name());
    done(&agent, added, what).await
}

async fn set_password(
    State(agent): State<Agent>,
    body: Result<Json<PasswordRequest>, JsonRejection>,
) -> Told<User> {
    let PasswordRequest { name, password } = read(body)?;
    check_password(&name, &password).map_err(unfit)?;
    let set = agent.access.set_password(name, password).await;
    done(&agent, set, |user| format!("set the password of the user {}", user.name)).await
}

async fn remove_user(State(agent): State<Agent>, query: Result<Query<Named>, QueryRejection>) -> Told<User> {
    let removed = agent.access.remove_user(named(query)?).await;
    done(&agent, removed, |user| format!("removed the user {}", user.name)).await
}

async fn add_token(
    State(agent): State<Agent>,
    ConnectInfo(Author(author)): ConnectInfo<Author>,
    body: Result<Json<TokenRequest>, JsonRejection>,
) -> Told<NewToken> {
    let TokenRequest { name, role, minutes } = read(body)?;
    check_name(&name).map_err(unfit)?;
    if minutes.is_some_and(|minutes| !(1..=LONGEST_BLOCK_MINUTES).contains(&minutes)) {
        let detail = format!("minutes go from 1 to {LONGEST_BLOCK_MINUTES}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let until = minutes.map(|minutes| clock::now().wall.after(Duration::from_mins(minutes)));
    let added = agent.access.add_token(name, role, until, author).await;
    let what = |new: &NewToken| format!("made the token {} ({})", new.token.name, new.token.role.name());
    done(&agent, added, what).await
}

async fn remove_token(
    State(agent): State<Agent>,
    query: Result<Query<Named>, QueryRejection>,
) -> Told<Token> {
    let removed = agent.access.remove_token(named(query)?).await;
    done(&agent, removed, |token| format!("revoked the token {}", token.name)).await
}

/// The latest lines of the audit trail, the newest first.
async fn audit(State(agent): State<Agent>) -> Result<Json<Vec<Audit>>, Problem> {
    // What was just done may still be on its way to the disk; if that is full, the trail has gaps.
    let _ = agent.store.flushed().await;
    let history = agent.store.history().clone();
    let unreadable = |error: &dyn std::fmt::Display| {
        let detail =
            format!("the audit trail cannot be read: {error}; look at the disk of the state directory");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    };
    match tokio::task::spawn_blocking(move || history.audit()).await {
        Ok(answer) => answer.map(Json).map_err(|error| unreadable(&error)),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Answers when the change is durable.
async fn done<T>(agent: &Agent, result: Option<Result<T, Refusal>>, what: impl Fn(&T) -> String) -> Told<T> {
    let answer = result.ok_or_else(Problem::stopping)?.map_err(|refusal| {
        let status = match refusal {
            Refusal::Unknown(..) => StatusCode::NOT_FOUND,
            Refusal::Taken(..) => StatusCode::CONFLICT,
            Refusal::Full(..) => StatusCode::INSUFFICIENT_STORAGE,
        };
        Problem::new(status, refusal)
    })?;
    match agent.store.flushed().await {
        Ok(()) => Ok((Extension(Done(what(&answer))), Json(answer))),
        Err(error) => Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, error)),
    }
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    body.map(|Json(request)| request).map_err(|error| Problem::new(error.status(), error.body_text()))
}

fn unfit(unfit: Unfit) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, unfit)
}

/// The one that a removal names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    /// Its name.
    name: String,
}

fn named(query: Result<Query<Named>, QueryRejection>) -> Result<String, Problem> {
    let Query(named) = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    Ok(named.name)
}
