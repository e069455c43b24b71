//! The last day on the overview: what happened how often, and who is nearest to being blocked.

use filter_core::offence::Kind;
use maud::{Markup, html};

use super::value::{client, number, rows};
use crate::control::Statistics;
use crate::store::HOURS;

/// Kinds of events that are shown; the others are rarer.
const SHOWN: usize = 10;
/// Height of a row of bars, and the width of one.
const HEIGHT: u64 = 24;
const WIDTH: usize = 6;

/// Events by what they were, with their course over the day.
pub(super) fn events(statistics: &Statistics) -> Markup {
    let mut kinds: Vec<_> = statistics
        .events
        .iter()
        .map(|(name, hours)| (hours.iter().sum::<u64>(), name.as_str(), hours.as_slice()))
        .collect();
    kinds.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    if kinds.is_empty() {
        return html! { p.empty { b { "A quiet day" } "Nothing worth an event has happened in the last 24 hours." } };
    }
    let columns = [("Event", ""), ("24 hours", ""), ("Together", "num")];
    let row = |(total, name, hours): &(u64, &str, &[u64])| {
        vec![
            html! { a href={ "/events?kind=" (log_kind(name)) } { (name) } },
            bars(name, hours),
            html! { (number(*total)) },
        ]
    };
    rows("Events of the last 24 hours", &columns, &kinds.iter().take(SHOWN).map(row).collect::<Vec<_>>())
}

/// The kind that the event log is filtered by: offences are one kind there.
fn log_kind(name: &str) -> &str {
    if Kind::ALL.into_iter().any(|kind| kind.name() == name) { "offence" } else { name }
}

fn bars(name: &str, hours: &[u64]) -> Markup {
    let most = hours.iter().copied().max().unwrap_or(0).max(1);
    let last = hours.last().copied().unwrap_or(0);
    let label = format!("{name}: {most} in the busiest hour, {last} in the last one");
    html! {
        svg.bars width=(WIDTH * HOURS) height=(HEIGHT) viewBox={ "0 0 " (WIDTH * HOURS) " " (HEIGHT) } role="img" aria-label=(label) {
            @for (place, count) in hours.iter().enumerate() {
                @let height = (count * (HEIGHT - 1)).div_ceil(most).max(1);
                rect.none[*count == 0] x=(place * WIDTH) y=(HEIGHT - height) width=(WIDTH - 1) height=(height) {}
            }
        }
    }
}

/// Clients with the highest scores.
pub(super) fn nearest(statistics: &Statistics) -> Markup {
    if statistics.nearest.is_empty() {
        return html! { p.empty { b { "Nobody has a score" } "Whoever does something wrong appears here long before it is blocked." } };
    }
    let threshold = statistics.threshold;
    let columns = [("Client", ""), ("", ""), ("Score", "num")];
    let row = |watched: &filter_core::neighbourhood::Watched| {
        let label = format!("score {} of {threshold}", watched.score);
        vec![
            client(&watched.scope),
            html! { meter.wide min="0" max=(threshold.max(1)) value=(watched.score) aria-label=(label) { (label) } },
            html! { (number(watched.score)) },
        ]
    };
    html! {
        (rows("Clients nearest to the threshold", &columns, &statistics.nearest.iter().map(row).collect::<Vec<_>>()))
        p.muted.small { (number(statistics.watched)) " with a score; " (number(threshold.into())) " block." }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use filter_core::time::Timestamp;

    use super::*;

    #[test]
    fn the_most_frequent_comes_first_and_leads_to_its_events() {
        let hours = |count| [&[0; HOURS - 1][..], &[count]].concat();
        let events = BTreeMap::from([("blocked".to_owned(), hours(2)), ("spam".to_owned(), hours(9))]);
        let statistics = Statistics {
            time: Timestamp::from_millis(0),
            events,
            watched: 0,
            threshold: 1000,
            nearest: Vec::new(),
        };
        let page = self::events(&statistics).into_string();
        let place = |text: &str| page.find(text).unwrap();
        assert!(place("/events?kind=offence\">spam") < place("/events?kind=blocked\">blocked"), "{page}");
        assert!(page.contains("spam: 9 in the busiest hour, 9 in the last one"), "{page}");
    }
}
