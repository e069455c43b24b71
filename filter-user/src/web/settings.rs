//! Settings: the limits and multipliers in force, where each value comes from, and what other numbers would have done.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use filter_core::replay::{Blocked, Compared, Side};
use maud::{Markup, html};

use super::Web;
use super::api::Api;
use super::fields::Fields;
use super::page::{self, Page, csrf};
use super::value::{client, duration, number, rows, time};
use crate::control::{LimitsView, PolicyView, Problem, Settings, Trial, Tried};
use crate::replay::{Answer, Setting};

const HERE: &str = "/settings";
/// Clients that a page shows; the API names more.
const SHOWN: usize = 200;

pub(super) async fn show(State(web): State<Web>, api: Api) -> Response {
    let notice = web.access.take(&api.identity).await;
    match content(&api, &Fields::default(), None).await {
        Ok(content) => Page::new(&api, HERE, "Settings", content).with(notice).into_response(),
        Err(problem) => page::problem(&api, HERE, &problem).into_response(),
    }
}

/// Tries other numbers, and shows what they would have done beside the form that they were typed into.
pub(super) async fn replay(api: Api, fields: Fields) -> Response {
    let result = match trial(&fields) {
        Ok(trial) => api.post::<Answer>("/api/v1/replay", &trial).await.map_err(|problem| problem.detail),
        Err(fault) => Err(fault),
    };
    match content(&api, &fields, Some(&result)).await {
        Ok(content) => Page::new(&api, HERE, "Replay", content).into_response(),
        Err(problem) => page::problem(&api, HERE, &problem).into_response(),
    }
}

/// What was typed.
fn trial(fields: &Fields) -> Result<Trial, String> {
    let days = fields.number("days")?;
    let since = days.map(|days| u32::try_from(days.saturating_mul(86_400)).unwrap_or(u32::MAX));
    let typed = Setting::all().map(Setting::name).filter(|name| fields.has(name));
    let settings = typed.map(|name| {
        let value = Tried::Text(fields.text(&name).to_owned());
        (name, value)
    });
    Ok(Trial { since, settings: settings.collect() })
}

async fn content(
    api: &Api,
    fields: &Fields,
    result: Option<&Result<Answer, String>>,
) -> Result<Markup, Problem> {
    let policy: PolicyView = api.get("/api/v1/policy").await?;
    let settings: Settings = api.get("/api/v1/config").await?;
    Ok(html! {
        div.head {
            div { h1 { "Settings" } p { "What is in force now. The file decides; here one can see it, and try other numbers." } }
            @if policy.mode == "observe" { span.badge.warn { "observes, enforces nothing" } } @else { span.badge.good { "enforces" } }
        }
        @if !settings.waiting.is_empty() {
            p.notice.warn role="alert" { "Waiting for the next start: " (settings.waiting.join(", ")) "." }
        }
        @if let Some(result) = result { (outcome(result)) }
        (form(api, &policy, fields))
        section.card aria-labelledby="rule-head" {
            h2 id="rule-head" { "When a client is blocked" }
            (rule(&policy))
            div id="weights" { (weights(&policy)) }
        }
        section.card aria-labelledby="limits-head" {
            h2 id="limits-head" { "Session limits" }
            div id="limits" { (limits(&policy.limits)) }
        }
        section.card aria-labelledby="all-head" {
            h2 id="all-head" { "Every setting" }
            p.muted {
                @match &settings.file { Some(file) => { "Read from " span.mono { (file) } "." }, None => "Built-in defaults: the agent was started without a file." }
            }
            div id="settings" { (table(&settings)) }
        }
    })
}

fn span(seconds: u64) -> String {
    duration(Duration::from_secs(seconds))
}

/// In the words of somebody who explains it.
fn rule(policy: &PolicyView) -> Markup {
    html! {
        p {
            "A client is blocked for " b { (span(policy.block_time)) } " when its events of the last " b { (span(policy.monitor_period)) }
            " add up to " b { (number(policy.threshold.into())) } "."
            @if policy.evaluate == "on-connect" { " This is looked at when it connects the next time." }
        }
        p {
            @if policy.failed_login_threshold == 0 {
                "Failed logins alone do not block."
            } @else {
                "Failed logins, whatever the account: " b { (policy.failed_login_threshold) } " within " b { (span(policy.login_monitor_period)) }
                " block for " b { (span(policy.login_block_time)) } "; the same wrong password again counts once."
            }
        }
    }
}

fn weights(policy: &PolicyView) -> Markup {
    let columns = [("No.", "num"), ("Event", ""), ("Multiplier", "num"), ("In words", "")];
    let rows_of = policy.events.iter().map(|weight| {
        vec![
            html! { (weight.number) },
            html! { (weight.event.name()) },
            html! { (number(weight.multiplier.into())) },
            html! {
                @match weight.blocks_alone_after {
                    None => span.muted { "only logged" },
                    Some(1) => "one of these = block",
                    Some(count) => { (number(count.into())) " of these = block" },
                }
            },
        ]
    });
    rows("Multipliers in force", &columns, &rows_of.collect::<Vec<_>>())
}

fn limits(limits: &[LimitsView]) -> Markup {
    let columns = [
        ("Of", ""),
        ("All", "num"),
        ("Incoming", "num"),
        ("Reserved of these", "num"),
        ("Per address", "num"),
    ];
    let row = |limits: &LimitsView| {
        vec![
            html! { @match &limits.service { Some(service) => (service), None => "every service without its own" } },
            html! { (number(limits.maximum_sessions.into())) },
            html! { (number(limits.maximum_incoming_sessions.into())) },
            html! { (number(limits.sessions_to_reserve.into())) },
            html! { @if limits.maximum_sessions_per_address == 0 { "no limit" } @else { (number(limits.maximum_sessions_per_address.into())) } },
        ]
    };
    rows("Session limits in force", &columns, &limits.iter().map(row).collect::<Vec<_>>())
}

fn table(settings: &Settings) -> Markup {
    let columns = [("Setting", ""), ("Value", ""), ("From", "")];
    let row = |setting: &crate::config::Setting| {
        let section =
            if setting.section.is_empty() { String::new() } else { format!("[{}] ", setting.section) };
        let is_own = !setting.origin.starts_with("default");
        vec![
            html! { span.muted { (section) } span.mono { (setting.name) } },
            html! { @match &setting.value { Some(value) => span.mono { (value) }, None => span.muted { "not set" } } },
            html! { @if is_own { b.mono { (setting.origin) } } @else { span.muted { (setting.origin) } } },
        ]
    };
    rows("Every setting", &columns, &settings.settings.iter().map(row).collect::<Vec<_>>())
}

fn form(api: &Api, policy: &PolicyView, fields: &Fields) -> Markup {
    let field = |name: &str, label: &str, usual: &str| {
        html! {
            div {
                label for=(name) { (label) }
                input id=(name) name=(name) value=(fields.text(name)) placeholder=(usual) maxlength="40" autocapitalize="none" spellcheck="false";
            }
        }
    };
    let chosen = policy.events.iter().any(|weight| fields.has(&weight.setting));
    html! {
        section.card id="replay" aria-labelledby="replay-head" {
            h2 id="replay-head" { "What would other numbers have done?" }
            p.muted { "Judges the event log once more. Nothing is changed. What stays empty is as it is in force." }
            form method="post" action={ (HERE) "/replay" } {
                (csrf(api.csrf()))
                div.fields {
                    (field(&Setting::Threshold.name(), "Threshold", &policy.threshold.to_string()))
                    (field(&Setting::MonitorPeriod.name(), "Monitor period", &span(policy.monitor_period)))
                    (field(&Setting::BlockTime.name(), "Block time", &span(policy.block_time)))
                    (field("days", "Only the last days", "all"))
                    div.fit { button.primary type="submit" { "Replay" } }
                }
                details open[chosen] {
                    summary { "Multipliers" }
                    div.fields {
                        @for weight in &policy.events {
                            (field(&weight.setting, weight.event.name(), &weight.multiplier.to_string()))
                        }
                    }
                }
            }
        }
    }
}

/// What a replay came to, or why there was none.
fn outcome(result: &Result<Answer, String>) -> Markup {
    let answer = match result {
        Ok(answer) => answer,
        Err(fault) => return html! { p.notice.fault role="alert" { (fault) } },
    };
    let outcome = &answer.outcome;
    html! {
        section.card id="outcome" aria-labelledby="outcome-head" {
            h2 id="outcome-head" { "With these numbers" }
            @if let (Some(first), Some(last)) = (outcome.first, outcome.last) {
                p {
                    (number(outcome.offences)) " offences from " (time(first)) " to " (time(last)) ", "
                    @if answer.changed.is_empty() { "judged by the numbers in force." } @else {
                        "judged with "
                        @for (place, changed) in answer.changed.iter().enumerate() {
                            @if place > 0 { ", " }
                            span.mono { (changed.setting) } " " b { (changed.replayed) } " instead of " (changed.configured)
                        }
                        "."
                    }
                }
                p { b { (answer.summary) "." } }
                div.tiles {
                    div.tile { b { (number(outcome.only_replayed)) } span { "only blocked with these numbers" } }
                    div.tile { b { (number(outcome.only_in_force)) } span { "only blocked as it was" } }
                    div.tile { b { (number(outcome.both)) } span { "blocked either way" } }
                }
                @if outcome.clients.is_empty() {
                    p.empty { b { "Nobody would be blocked" } "Neither with these numbers nor with those in force." }
                } @else {
                    (clients(&outcome.clients))
                }
            } @else {
                p.empty { b { "Nothing to replay" } "There are no offences in the log of that time." }
            }
        }
    }
}

fn clients(clients: &[Compared]) -> Markup {
    let columns = [
        ("Client", ""),
        ("Blocked", ""),
        ("As it was", "time"),
        ("With these numbers", "time"),
        ("Logins", "num"),
        ("Mails", "num"),
    ];
    let cell = |blocked: Option<&Blocked>| {
        html! {
            @match blocked {
                None => span.muted { "not blocked" },
                Some(blocked) => {
                    (time(blocked.first))
                    div.small.muted {
                        @if blocked.times > 1 { (blocked.times) " times" } @else { "once" }
                        @if let Some(score) = blocked.score { ", score " (number(score)) }
                    }
                },
            }
        }
    };
    let row = |one: &Compared| {
        let (class, word) = match one.side() {
            Side::Both => ("badge plain", "either way"),
            Side::InForce => ("badge good", "no more"),
            Side::Replayed => ("badge bad", "newly"),
        };
        vec![
            client(&one.network),
            html! { span class=(class) { (word) } },
            cell(one.in_force.as_ref()),
            cell(one.replayed.as_ref()),
            html! { (number(one.succeeded.logins.into())) },
            html! { (number(one.succeeded.messages.into())) },
        ]
    };
    let shown: Vec<_> = clients.iter().take(SHOWN).map(row).collect();
    html! {
        (rows("Clients that are blocked on either side", &columns, &shown))
        @if clients.len() > SHOWN { p.muted { "and " (clients.len() - SHOWN) " more; " code { "gatepost replay --json" } " names all." } }
    }
}
