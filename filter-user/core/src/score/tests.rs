//! Scores, beside adding everything up.

use proptest::prelude::*;

use super::*;
use crate::client::{ClientAddr, ScopeWidth};

const HOUR: Duration = Duration::from_hours(1);
const ID: EventId = EventId(7);

fn scope(host: u8) -> Scope {
    ScopeWidth::default().scope_of(ClientAddr::new(core::net::IpAddr::from([192, 0, 2, host])))
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

#[test]
fn the_window_slides_to_the_second() {
    let mut scores = Scores::new(10);
    assert_eq!(scores.add(scope(1), 50, ID, HOUR, at(0)), 50);
    assert_eq!(scores.add(scope(1), 50, ID, HOUR, at(3600)), 100);
    assert_eq!(scores.score(scope(1), HOUR, at(3601)), 50);
    assert_eq!(scores.score(scope(1), HOUR, at(7200)), 50);
    assert_eq!(scores.score(scope(1), HOUR, at(7201)), 0);
}

#[test]
fn what_is_told_of_later_counts_from_when_it_happened_even_before_the_machine_started() {
    let mut scores = Scores::new(10);
    let minutes = |minutes| Duration::from_mins(minutes);
    assert_eq!(scores.add(scope(1), 1, EventId(1), HOUR, at(60)), 1);
    assert_eq!(scores.add_earlier(scope(1), 10, EventId(2), minutes(60), HOUR, at(60)), 11);
    assert_eq!(scores.add_earlier(scope(1), 100, EventId(3), minutes(59), HOUR, at(60)), 111);
    assert_eq!(scores.add_earlier(scope(1), 1000, EventId(4), minutes(61), HOUR, at(60)), 111);
    assert_eq!(scores.counted(scope(1), HOUR, at(60)), [1, 2, 3].map(EventId));
    assert_eq!(scores.score(scope(1), HOUR, at(61)), 101);
    assert_eq!(scores.score(scope(1), HOUR, at(120)), 101);
    assert_eq!(scores.score(scope(1), HOUR, at(121)), 1);
    scores.forget(scope(1), &[EventId(1)]);
    assert!(scores.is_empty());
}

#[test]
fn spent_offences_count_no_more() {
    let mut scores = Scores::new(10);
    scores.add(scope(1), 900, ID, HOUR, at(0));
    assert_eq!(scores.spend(scope(1)), [ID]);
    assert_eq!(scores.add(scope(1), 100, ID, HOUR, at(1)), 100);
    scores.spend(scope(1));
    assert!(scores.is_empty() && scores.places.len() == 0);
}

#[test]
fn some_offences_can_be_forgotten() {
    let mut scores = Scores::new(10);
    for id in 1..=5 {
        scores.add(scope(1), 100, EventId(id), HOUR, at(id));
    }
    scores.forget(scope(1), &[EventId(1), EventId(4)]);
    assert_eq!(scores.score(scope(1), HOUR, at(5)), 300);
    assert_eq!(scores.counted(scope(1), HOUR, at(5)), [2, 3, 5].map(EventId));
    assert_eq!(scores.score(scope(1), HOUR, at(3603)), 200, "the second has had its time");
    scores.forget(scope(1), &[EventId(3), EventId(5)]);
    assert!(scores.is_empty() && scores.places.len() == 0);
    scores.forget(scope(2), &[EventId(3)]);
}

#[test]
fn the_lowest_score_makes_room_and_of_those_the_quietest() {
    let mut scores = Scores::new(3);
    scores.add(scope(1), 900, ID, HOUR, at(0));
    scores.add(scope(2), 1, ID, HOUR, at(1));
    scores.add(scope(3), 1, ID, HOUR, at(2));
    for newcomer in 4..200 {
        scores.add(scope(newcomer), 1, ID, HOUR, at(newcomer.into()));
        assert_eq!(scores.len(), 3);
    }
    assert_eq!(scores.score(scope(1), HOUR, at(200)), 900, "a flood has displaced it");
    assert_eq!(scores.score(scope(2), HOUR, at(200)), 0);
    assert_eq!(scores.score(scope(199), HOUR, at(200)), 1);
}

#[test]
fn who_has_been_quiet_for_a_period_is_forgotten() {
    let mut scores = Scores::new(100);
    for host in 0..50 {
        scores.add(scope(host), 10 + u32::from(host) * 20, ID, HOUR, at(host.into()));
    }
    for step in 0..50 {
        scores.add(scope(200), 1, ID, HOUR, at(4000 + step));
    }
    assert_eq!(scores.len(), 1);
}

#[test]
fn offences_of_one_scope_make_way_for_younger_ones() {
    let mut scores = Scores::new(10);
    let limit = u64::from(OFFENCES_PER_SCOPE);
    for id in 0..limit + 10 {
        scores.add(scope(1), 1, EventId(id), HOUR, at(0));
    }
    assert_eq!(scores.score(scope(1), HOUR, at(0)), limit);
    assert_eq!(scores.counted(scope(1), HOUR, at(0)).first(), Some(&EventId(10)));
}

#[test]
fn when_the_lines_are_used_up_the_lowest_scores_go() {
    let mut scores = Scores { rest: Rest::new(3), ..Scores::new(100) };
    let mut add = |host, multiplier| scores.add(scope(host), multiplier, ID, HOUR, at(host.into()));
    for host in [1, 2, 3, 3, 4, 4, 5, 5] {
        add(host, if host == 5 { 500 } else { 10 });
    }
    assert_eq!(add(4, 500), 520, "in the line that it has");
    assert_eq!(add(6, 100), 100);
    assert_eq!(add(6, 900), 1000, "the third line is that of the third, which has gone, and what is lower");
    let left: Vec<_> = (1..7).map(|host| scores.score(scope(host), HOUR, at(6))).collect();
    assert_eq!(left, [0, 0, 0, 520, 1000, 1000]);
    assert_eq!(scores.rest.taken(), 3);
}

#[test]
fn what_costs_nothing_is_not_kept() {
    let mut scores = Scores::new(2);
    assert_eq!(scores.add(scope(1), 0, ID, HOUR, at(0)), 0);
    assert!(scores.is_empty());
}

/// The records that follow each other from here on.
fn walk(scores: &Scores, from: u32) -> impl Iterator<Item = u32> {
    let exists = |place: &u32| scores.records.get(*place as usize).is_some();
    core::iter::successors(Some(from).filter(exists), move |place| {
        Some(scores.records[*place as usize].newer).filter(exists)
    })
}

proptest! {
    /// The same as adding up every offence that ever was and is young enough.
    #[test]
    fn the_sum_is_exact(
        steps in proptest::collection::vec((0_u8..9, 0_u32..200, 0_u64..1800, 0_u64..5000), 1..100),
    ) {
        let mut scores = Scores::new(1000);
        let mut all = Vec::new();
        // So that the oldest did not happen before everything began.
        let mut time = 5000;
        for (who, multiplier, pause, age) in steps {
            time += pause;
            // Half of them are told of at once.
            let age = age.saturating_sub(2500);
            all.push((who, multiplier, time - age));
            let expected: u64 = all
                .iter()
                .filter(|(other, _, when)| *other == who && time - when <= 3600)
                .map(|(_, multiplier, _)| u64::from(*multiplier))
                .sum();
            let age = Duration::from_secs(age);
            let score = scores.add_earlier(scope(who), multiplier, ID, age, HOUR, at(time));
            prop_assert_eq!(score, expected);
            let linked: usize = scores.queues.iter().map(|queue| walk(&scores, queue.oldest).count()).sum();
            prop_assert_eq!(linked, scores.len());
            prop_assert_eq!(scores.places.len(), scores.len());
        }
    }

    /// Who is first in a queue has been quiet for longest, to a quarter of a minute.
    #[test]
    fn queues_are_in_order(steps in proptest::collection::vec((0_u8..9, 1_u32..200, 0_u64..14_000), 1..100)) {
        let (mut scores, mut millis) = (Scores::new(7), 0);
        for (who, multiplier, pause) in steps {
            millis += pause;
            scores.add(scope(who), multiplier, ID, HOUR, Instant::from_nanos(millis * 1_000_000));
            for queue in &scores.queues {
                let quarters: Vec<_> = walk(&scores, queue.oldest).map(|place| quarter(scores.latest(place))).collect();
                prop_assert!(quarters.is_sorted(), "{quarters:?}");
            }
        }
    }
}
