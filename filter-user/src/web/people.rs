//! Access: users, tokens, and who did what. For administrators.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use filter_core::access::{Audit, Token, User};
use maud::{Markup, html};

use super::Web;
use super::api::Api;
use super::page::{self, Page};
use super::value::{rows, time};
use crate::control::Problem;

const HERE: &str = "/access";

pub(super) async fn show(State(web): State<Web>, api: Api) -> Response {
    let content = match content(&api).await {
        Ok(content) => content,
        Err(problem) => return page::problem(&api, HERE, &problem).into_response(),
    };
    let notice = web.access.take(&api.identity).await;
    Page::new(&api, HERE, "Access", content).with(notice).into_response()
}

async fn content(api: &Api) -> Result<Markup, Problem> {
    let users: Vec<User> = api.get("/api/v1/users").await?;
    let tokens: Vec<Token> = api.get("/api/v1/tokens").await?;
    let audit: Vec<Audit> = api.get("/api/v1/audit").await?;
    let user = |user: &User| {
        vec![html! { (user.name) }, html! { (user.role.name()) }, time(user.since), html! { (user.author) }]
    };
    let token = |token: &Token| {
        let until = token.until.map_or_else(|| html! { "revoked" }, time);
        let Token { name, role, author, since, .. } = token;
        vec![html! { (name) }, html! { (role.name()) }, time(*since), until, html! { (author) }]
    };
    let line = |line: &Audit| {
        vec![
            time(line.time),
            html! { (line.author) },
            html! { (line.origin) },
            html! { span.mono.small { (line.what) } },
        ]
    };
    let users: Vec<_> = users.iter().map(user).collect();
    let tokens: Vec<_> = tokens.iter().map(token).collect();
    let audit: Vec<_> = audit.iter().map(line).collect();
    Ok(html! {
        div.head {
            div {
                h1 { "Access" }
                p { "Who may sign in, which programs may ask, and who did what. "
                    code { "gatepost user" } " and " code { "gatepost token" } " on the gateway change it." }
            }
        }
        div.grid {
            section.card aria-labelledby="users-head" {
                h2 id="users-head" { "Users" }
                @if users.is_empty() { p.empty { b { "No users" } "Only tokens are let in." } }
                @else { (rows("Users", &[("Name", ""), ("Role", ""), ("Since", "time"), ("Made by", "")], &users)) }
            }
            section.card aria-labelledby="tokens-head" {
                h2 id="tokens-head" { "Tokens" }
                @if tokens.is_empty() { p.empty { b { "No tokens" } "Programs cannot ask over TCP." } }
                @else {
                    (rows("Tokens", &[("Name", ""), ("Role", ""), ("Since", "time"), ("Until", "time"), ("Made by", "")], &tokens))
                }
            }
        }
        section.card aria-labelledby="audit-head" {
            h2 id="audit-head" { "Audit trail" }
            (rows("Audit trail", &[("Time", "time"), ("Who", ""), ("From", ""), ("What", "")], &audit))
        }
    })
}
