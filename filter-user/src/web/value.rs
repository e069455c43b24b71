//! How values look on a page: times, spans, addresses, events; and tables of them.

use std::net::IpAddr;

use filter_core::decision::Origin;
use filter_core::event::{Event, What};
use filter_core::time::Timestamp;
use ipnet::IpNet;
use jiff::Timestamp as Calendar;
use maud::{Markup, html};

use crate::cli::table;

pub(super) use table::{bytes, duration, network};

/// A time with its offset; a script shows it by the reader's own clock.
pub(super) fn time(at: Timestamp) -> Markup {
    let text = table::time(at);
    if let Ok(calendar) = Calendar::from_millisecond(at.as_millis()) {
        return html! { time.nowrap datetime=(calendar.to_string()) { (text) } };
    }
    html! { (text) }
}

/// How long it is until then; a script counts it down.
pub(super) fn left(until: Timestamp, now: Timestamp) -> Markup {
    if until == Timestamp::FAR_FUTURE {
        return html! { "without end" };
    }
    html! { span.nowrap data-until=(until.as_millis()) { (duration(until.since(now))) } }
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The page of a client.
pub(super) fn client_path(address: IpAddr) -> String {
    format!("/client?address={}", super::api::encode(&address.to_string()))
}

/// A network, with the way to the page of its (first) address.
pub(super) fn client(of: &IpNet) -> Markup {
    html! { a.mono.nowrap href=(client_path(of.network())) { (network(of)) } }
}

/// Where a block comes from.
pub(super) fn origin(origin: Origin) -> Markup {
    let class = if origin == Origin::Manual { "badge plain" } else { "badge warn" };
    html! { span class=(class) { (origin.name()) } }
}

/// What happened, as a word in the colour of its weight.
pub(super) fn event_name(event: &Event) -> Markup {
    let (class, name) = match &event.what {
        What::Offence { kind, .. } => ("badge warn", kind.name()),
        What::Blocked { enforced: true, .. } => ("badge bad", "blocked"),
        What::Blocked { .. } => ("badge warn", "would be blocked"),
        What::Unblocked { .. } => ("badge good", "unblocked"),
        What::Spared { .. } => ("badge good", "spared"),
        what => ("badge plain", what.name()),
    };
    html! { span class=(class) { (name) } }
}

/// The rest of what there is to say of an event.
pub(super) fn event_detail(event: &Event) -> String {
    match &event.what {
        What::Offence { service, .. } => match event.what.circumstances().as_str() {
            "" => service.to_string(),
            circumstances => format!("{service}: {circumstances}"),
        },
        What::Succeeded { how } => how.name().to_owned(),
        What::Blocked { reason, author, .. } => format!("{reason} (by {author})"),
        What::Unblocked { by: Some(by), .. } | What::Unexempted { by: Some(by) } => format!("by {by}"),
        What::Unblocked { by: None, .. } | What::Unexempted { by: None } => "its time had come".to_owned(),
        What::Spared { score, by, .. } => format!("score {score}, and {} is never blocked", network(by)),
        What::Exempted { comment, author, .. } if comment.is_empty() => format!("by {author}"),
        What::Exempted { comment, author, .. } => format!("{comment} (by {author})"),
        What::NoRoom => "the block list is full".to_owned(),
        What::Dropped { packets, port, by } => {
            let port = port.map_or_else(String::new, |port| format!(" to port {port}"));
            format!("a packet{port}; {} so far by the block of {}", number(*packets), network(by))
        }
    }
}

/// What an event cost, and the score with it.
pub(super) fn event_cost(event: &Event) -> Option<(u32, u64)> {
    match &event.what {
        What::Offence { multiplier, score, .. } => Some((*multiplier, *score)),
        _ => None,
    }
}

/// A column: its name, and a class for its cells.
pub(super) type Column = (&'static str, &'static str);

/// A column that can be sorted by.
pub(super) struct Head {
    pub(super) name: &'static str,
    /// For its cells.
    pub(super) class: &'static str,
    /// The way to the table sorted by it, and how it is sorted now: `ascending`, `descending` or `none`.
    pub(super) link: Option<(String, &'static str)>,
}

/// A table that becomes a stack of cards on a phone, and stays a table for who hears it.
pub(super) fn rows(caption: &str, columns: &[Column], rows: &[Vec<Markup>]) -> Markup {
    let heads: Vec<_> = columns.iter().map(|(name, class)| Head { name, class, link: None }).collect();
    sorted_rows(caption, &heads, rows)
}

/// The same with columns that can be sorted by.
pub(super) fn sorted_rows(caption: &str, heads: &[Head], rows: &[Vec<Markup>]) -> Markup {
    html! {
        table.stack role="table" {
            caption.hidden { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for Head { name, class, link } in heads {
                        @if name.is_empty() {
                            td class=(class) role="cell" {}
                        } @else if let Some((link, order)) = link {
                            th class=(class) role="columnheader" scope="col" aria-sort=(order) {
                                a href=(link) { (name) }
                                @match *order { "ascending" => " ↑", "descending" => " ↓", _ => "" }
                            }
                        } @else {
                            th class=(class) role="columnheader" scope="col" { (name) }
                        }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (cell, Head { name, class, .. }) in row.iter().zip(heads) {
                            td class=(class) role="cell" data-label=(name) {
                                // A phone shows the name of the column beside it.
                                @if !cell.0.is_empty() { div { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn what_a_client_sent_cannot_become_a_part_of_the_page() {
        let cell = html! { ("<script>alert(1)</script>") };
        let table = rows("x", &[("A", "")], &[vec![cell]]).into_string();
        assert!(!table.contains("<script>") && table.contains("&lt;script&gt;"), "{table}");
    }
}
