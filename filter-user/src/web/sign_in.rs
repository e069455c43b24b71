//! Signing in and out.

use axum::Extension;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use filter_core::access::{NAME_LIMIT, PASSWORD_LIMIT};
use maud::{Markup, html};
use serde::Deserialize;

use super::client::Visitor;
use super::{Web, cookie, page};
use crate::control::SignInFault;
use crate::ips::Request;

/// What the form carries.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    name: String,
    password: String,
}

pub(super) async fn show(State(web): State<Web>) -> Response {
    page::bare("Sign in", &form(&web, "", None)).into_response()
}

pub(super) async fn enter(
    State(web): State<Web>,
    Extension(visitor): Extension<Visitor>,
    shown: Result<Form<Shown>, FormRejection>,
) -> Response {
    let again = |status: StatusCode, name: &str, fault: &str| {
        (status, page::bare("Sign in", &form(&web, name, Some(fault)))).into_response()
    };
    let Ok(Form(Shown { name, password })) = shown else {
        return again(StatusCode::BAD_REQUEST, "", "Name and password are both needed.");
    };
    if name.len() > NAME_LIMIT || password.len() > PASSWORD_LIMIT {
        return again(StatusCode::UNAUTHORIZED, "", "The name or the password is wrong.");
    }
    // Whoever has tried too often, here or elsewhere, is not heard before the block ends.
    let standing = web.inbox.ask(|answer| Request::Standing(visitor.address, answer)).await;
    if standing.is_some_and(|standing| standing.refused_by.is_some() && standing.enforced) {
        tracing::info!(address = %visitor.address, "a blocked client tries to sign in");
        let fault = "Your address is blocked. Wait until the block ends, or remove it on the gateway with \
                     `gatepost block remove`.";
        return again(StatusCode::FORBIDDEN, &name, fault);
    }
    match web.access.sign_in(name.clone(), password, visitor.address).await {
        Ok(signed_in) => {
            let mut response = Redirect::to("/").into_response();
            if let Some(value) = cookie::write(&signed_in.secret, visitor.is_private) {
                response.headers_mut().insert(header::SET_COOKIE, value);
            }
            response
        }
        Err(SignInFault::Wrong) => {
            web.report_failure(visitor, &name);
            again(StatusCode::UNAUTHORIZED, &name, "The name or the password is wrong.")
        }
        Err(SignInFault::TooMany(wait)) => {
            web.report_failure(visitor, &name);
            let seconds = wait.as_secs() + 1;
            let fault = format!("Too many wrong passwords from your address. Try again in {seconds} s.");
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, &name, &fault);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            response
        }
        Err(SignInFault::Broken) => {
            let fault = "Nobody can sign in at the moment; the log of the agent says why.";
            again(StatusCode::SERVICE_UNAVAILABLE, &name, fault)
        }
    }
}

pub(super) async fn leave(State(web): State<Web>, headers: HeaderMap) -> Response {
    if let Some(secret) = cookie::read(&headers) {
        web.access.sign_out(&secret).await;
    }
    let mut response = Redirect::to("/sign-in").into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie::forget());
    response
}

fn form(web: &Web, name: &str, fault: Option<&str>) -> Markup {
    html! {
        main.card.narrow id="main" {
            p.brand { "gatepost" }
            h1 { "Sign in" }
            p.muted { "to " (web.name) }
            @if let Some(fault) = fault { p.notice.fault role="alert" { (fault) } }
            form method="post" action="/sign-in" {
                label for="name" { "Name" }
                input id="name" name="name" value=(name) autocomplete="username" autocapitalize="none"
                    spellcheck="false" required autofocus[name.is_empty()];
                label for="password" { "Password" }
                input id="password" name="password" type="password" autocomplete="current-password" required
                    autofocus[!name.is_empty()];
                button.primary type="submit" { "Sign in" }
            }
        }
    }
}
