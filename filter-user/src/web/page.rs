//! The frame of every page: where one can go, who is signed in, what has just been done.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use filter_core::access::Role;
use maud::{DOCTYPE, Markup, html};

use super::api::Api;
use super::assets::{ICON, SCRIPT, STYLE};
use crate::control::{Identity, Notice, Problem};

/// The pages that one can go to, in their order.
const PLACES: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/sessions", "Sessions"),
    ("/blocks", "Block list"),
    ("/never", "Never-block list"),
    ("/events", "Event log"),
    ("/client", "Why?"),
    ("/settings", "Settings"),
];
/// The one that is for administrators.
const ACCESS: (&str, &str) = ("/access", "Access");

/// What a page shows, and how.
pub(super) struct Page {
    identity: Identity,
    place: &'static str,
    title: String,
    every: u32,
    notice: Option<Notice>,
    content: Markup,
    status: StatusCode,
}

impl Page {
    /// A page below one of the places, for whoever asks.
    pub(super) fn new(api: &Api, place: &'static str, title: impl Into<String>, content: Markup) -> Self {
        let (identity, title) = (api.identity.clone(), title.into());
        Self { identity, place, title, every: 0, notice: None, content, status: StatusCode::OK }
    }

    /// Whose parts with `data-live` are brought up to date each so many seconds.
    pub(super) fn every(self, every: u32) -> Self {
        Self { every, ..self }
    }

    /// With what has just been done.
    pub(super) fn with(self, notice: Option<Notice>) -> Self {
        Self { notice, ..self }
    }

    /// With another status than success; one that is none is our own fault.
    pub(super) fn of_status(self, status: u16) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), ..self }
    }

    fn csrf(&self) -> &str {
        self.identity.csrf.as_deref().unwrap_or_default()
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let is_administrator = self.identity.role == Role::Administrator;
        let places = PLACES.into_iter().chain(is_administrator.then_some(ACCESS));
        let body = html! {
            a.skip href="#main" { "Skip to the content" }
            header.top {
                div.top-in {
                    a.brand href="/" { img src=(*ICON.path) alt="" width="24" height="24"; "gatepost" }
                    nav.main aria-label="Pages" {
                        ul {
                            @for (path, name) in places {
                                li { a href=(path) aria-current=[(path == self.place).then_some("page")] { (name) } }
                            }
                        }
                    }
                    div.who {
                        span { (self.identity.name) " (" (self.identity.role.name()) ")" }
                        form method="post" action="/sign-out" { (csrf(self.csrf())) button.quiet { "Sign out" } }
                    }
                }
            }
            main id="main" {
                @if let Some(notice) = &self.notice { (notice_of(notice, self.csrf())) }
                (self.content)
            }
            footer { p id="link-state" role="status" {} }
        };
        (self.status, document(&self.title, self.every, &body)).into_response()
    }
}

/// What has just been done, and the way back.
fn notice_of(notice: &Notice, token: &str) -> Markup {
    let class = if notice.is_fault { "notice fault" } else { "notice done" };
    html! {
        div class=(class) role=(if notice.is_fault { "alert" } else { "status" }) {
            span { (notice.text) }
            @if notice.undo.is_some() {
                form method="post" action="/undo" { (csrf(token)) button type="submit" { "Undo" } }
            }
        }
    }
}

/// What every form carries.
pub(super) fn csrf(token: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(token); }
}

/// A page without a frame, for somebody who is not signed in.
pub(super) fn bare(title: &str, content: &Markup) -> Markup {
    document(title, 0, content)
}

/// A problem for somebody who may not see any page.
pub(super) fn alone(problem: &Problem) -> Response {
    let content = html! {
        main.card.narrow id="main" {
            p.brand { "gatepost" }
            h1 { (problem.title) }
            p { (problem.detail) }
        }
    };
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, bare(&problem.title, &content)).into_response()
}

/// A problem of a page, inside the frame.
pub(super) fn problem(api: &Api, place: &'static str, problem: &Problem) -> Page {
    let content = html! {
        div.head { h1 { (problem.title) } }
        div.card { p.notice.fault role="alert" { (problem.detail) } p { a href=(place) { "Back" } } }
    };
    Page::new(api, place, problem.title.clone(), content).of_status(problem.status)
}

fn document(title: &str, every: u32, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · gatepost" }
                link rel="icon" href=(*ICON.path) type="image/svg+xml";
                link rel="stylesheet" href=(*STYLE.path);
                script type="module" src=(*SCRIPT.path) {}
            }
            body data-every=(every) { (body) }
        }
    }
}
