//! The times that log lines begin with.
//!
//! Five forms: that of RFC 3164 (`Nov 24 15:22:27`), without a year and without an offset; ISO 8601 and what looks like it
//! (`2026-11-24T15:22:27.123+01:00`, `2026-11-24 15:22:27`); the same in square brackets; `[24-Nov-2026 15:22:27 +0100]`; and that of web
//! servers (`24/Nov/2026:15:22:27 +0100`). What local time is, somebody else knows.

use core::time::Duration;

use crate::time::Timestamp;

/// How far ahead a time without a year may lie before it is taken for one of the year before: clocks differ, years do more.
const AHEAD: Duration = Duration::from_hours(24);

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A time as a line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    year: Option<i64>,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// Milliseconds since midnight.
    millis: i64,
    /// Milliseconds east of UTC; none: local time.
    offset: Option<i64>,
}

impl Stamp {
    /// The time that a text begins with, and the rest of the text.
    pub fn take(text: &[u8]) -> Option<(Self, &[u8])> {
        match text.first()? {
            b'[' => {
                let inside = &text[1..];
                let (stamp, rest) =
                    if inside.get(2) == Some(&b'-') { named(inside, b"-", b" ") } else { iso(inside) }?;
                let rest = rest.strip_prefix(b"]")?;
                Some((stamp, rest.strip_prefix(b":").unwrap_or(rest)))
            }
            b'0'..=b'9' if text.get(2) == Some(&b'/') => named(text, b"/", b":"),
            b'0'..=b'9' => iso(text),
            _ => bsd(text),
        }
    }

    /// When it was. `utc` makes UTC out of local time, both in milliseconds since 1970 began.
    pub fn resolve(self, now: Timestamp, utc: impl Fn(i64) -> i64) -> Timestamp {
        let at = |year| {
            let local = days_since_1970(year, self.month, self.day) * DAY + self.millis;
            Timestamp::from_millis(self.offset.map_or_else(|| utc(local), |offset| local - offset))
        };
        if let Some(year) = self.year {
            return at(year);
        }
        let this = year_of(now.as_millis().div_euclid(DAY));
        let latest = now.after(AHEAD);
        // Nine back: a 29th of February may have to go that far for a year that has one.
        let exists = |year: &i64| self.day <= days_of(*year, self.month);
        let past = (this - 8..=this + 1).rev().filter(exists).map(at).find(|time| *time <= latest);
        past.unwrap_or(now)
    }
}

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// `Nov 24 15:22:27 `
fn bsd(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let month = month(text.get(..3)?)?;
    let text = text[3..].strip_prefix(b" ")?;
    let (day, text) = match text {
        [b' ', day, rest @ ..] if day.is_ascii_digit() => (i64::from(day - b'0'), rest),
        _ => digits(text, 2)?,
    };
    let (millis, text) = clock(text.strip_prefix(b" ")?)?;
    let text = text.strip_prefix(b" ")?;
    Some((checked(Stamp { year: None, month, day, millis, offset: None })?, text))
}

/// `2026-11-24T15:22:27.123456+01:00 `, with a space for the `T`, with and without fraction and offset.
fn iso(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (year, text) = digits(text, 4)?;
    let (month, text) = digits(text.strip_prefix(b"-")?, 2)?;
    let (day, text) = digits(text.strip_prefix(b"-")?, 2)?;
    let text = text.strip_prefix(b"T").or_else(|| text.strip_prefix(b" "))?;
    let (millis, text) = clock(text)?;
    let (offset, text) = offset(text);
    let text = text.strip_prefix(b" ").unwrap_or(text);
    Some((checked(Stamp { year: Some(year), month, day, millis, offset })?, text))
}

/// `24-Nov-2026 15:22:27 +0100`, with this between the parts of the day and that between day and time.
fn named<'a>(text: &'a [u8], between: &[u8], behind: &[u8]) -> Option<(Stamp, &'a [u8])> {
    let (day, text) = digits(text, 2)?;
    let text = text.strip_prefix(between)?;
    let month = month(text.get(..3)?)?;
    let (year, text) = digits(text[3..].strip_prefix(between)?, 4)?;
    let (millis, text) = clock(text.strip_prefix(behind)?)?;
    let (offset, text) = offset(text);
    Some((checked(Stamp { year: Some(year), month, day, millis, offset })?, text))
}

fn checked(stamp: Stamp) -> Option<Stamp> {
    let length = stamp.year.map_or_else(|| days_of(2024, stamp.month), |year| days_of(year, stamp.month));
    ((1..=12).contains(&stamp.month) && (1..=length).contains(&stamp.day)).then_some(stamp)
}

/// `15:22:27` and a fraction, in milliseconds.
fn clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, text) = digits(text, 2)?;
    let (minute, text) = digits(text.strip_prefix(b":")?, 2)?;
    let (second, mut text) = digits(text.strip_prefix(b":")?, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut millis = ((hour * 60 + minute) * 60 + second) * 1000;
    if let [b'.' | b',', fraction @ ..] = text {
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digit =
            |place: usize| fraction.get(place).filter(|_| place < length).map_or(0, |d| i64::from(d - b'0'));
        millis += digit(0) * 100 + digit(1) * 10 + digit(2);
        text = &fraction[length..];
    }
    Some((millis, text))
}

/// `Z`, `+0100`, `+01:00`, each with a space before it or not; or nothing.
fn offset(text: &[u8]) -> (Option<i64>, &[u8]) {
    let read = || {
        let text = text.strip_prefix(b" ").unwrap_or(text);
        if let Some(rest) = text.strip_prefix(b"Z") {
            return Some((0, rest));
        }
        let sign = match text.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, rest) = digits(&text[1..], 2)?;
        let (minutes, rest) = digits(rest.strip_prefix(b":").unwrap_or(rest), 2)?;
        (hours < 24 && minutes < 60).then_some((sign * (hours * 60 + minutes) * 60_000, rest))
    };
    read().map_or((None, text), |(offset, rest)| (Some(offset), rest))
}

fn month(name: &[u8]) -> Option<i64> {
    MONTHS.iter().zip(1..).find(|(month, _)| **month == name).map(|(_, number)| number)
}

fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let add = |sum: i64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'));
    Some((number.iter().try_fold(0, add)?, rest))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = |years: i64| years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    (year - 1970) * 365 + leap_days(before) - leap_days(1969) + months + day - 1
}

/// The year of a day.
fn year_of(days: i64) -> i64 {
    // An average year's length is off by less than one year, which the comparisons put right.
    let mut year = 1970 + days.div_euclid(366);
    while days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    year
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24 15:22:27 UTC.
    const NOW: Timestamp = Timestamp::from_millis(1_795_533_747_000);

    fn read(text: &str) -> i64 {
        let (stamp, rest) = Stamp::take(text.as_bytes()).unwrap();
        assert_eq!(rest, b"x", "{text}");
        // An hour east.
        stamp.resolve(NOW, |local| local - 3_600_000).as_millis() - NOW.as_millis()
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("Nov 24 16:22:27 x"), 0);
        assert_eq!(read("Nov  4 16:22:27 x"), -20 * DAY);
        assert_eq!(read("2026-11-24T15:22:27.123456+00:00 x"), 123);
        assert_eq!(read("2026-11-24T17:22:27+0200 x"), 0);
        assert_eq!(read("2026-11-24T15:22:27Z x"), 0);
        assert_eq!(read("2026-11-24 16:22:26 x"), -1000);
        assert_eq!(read("2026-11-24 16:22:27.5 +0100 x"), 500);
        assert_eq!(read("[2026-11-24 16:22:27]x"), 0);
        assert_eq!(read("[24-Nov-2026 15:22:27 +0000]:x"), 0);
        assert_eq!(read("24/Nov/2026:15:22:27 +0000x"), 0);
        assert_eq!(read("2024-02-29 16:22:27 x"), -999 * DAY);
    }

    #[test]
    fn a_time_without_a_year_is_the_latest_that_is_not_ahead() {
        assert_eq!(read("Nov 25 16:00:00 x"), DAY - 1_347_000);
        assert_eq!(read("Dec 24 16:22:27 x"), -335 * DAY, "of the year before");
        assert_eq!(read("Jan  1 16:22:27 x"), -327 * DAY);
        assert_eq!(read("Feb 29 16:22:27 x"), -999 * DAY, "of the last year that has one");
        let new_year = Timestamp::from_millis(1_798_761_600_000);
        let (stamp, _) = Stamp::take(b"Dec 31 23:59:59 x").unwrap();
        assert_eq!(stamp.resolve(new_year, |local| local).as_millis(), new_year.as_millis() - 1000);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "Nov",
            "Nov 24",
            "Nov 24 25:00:00 x",
            "Foo 24 16:22:27 x",
            "2026-13-01 00:00:00 x",
            "2026-02-30 00:00:00 x",
            "[2026-11-24 16:22:27 x",
            "Nov 0 16:22:27 x",
            "\u{e4}\u{e4}",
            "2026-11-24",
            "24/Nov/2026 15:22:27 +0000 x",
        ] {
            assert_eq!(Stamp::take(text.as_bytes()), None, "{text}");
        }
    }
}
