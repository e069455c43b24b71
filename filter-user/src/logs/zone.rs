//! Local time, for logs that do not say how far from UTC they are.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// UTC of a local time, both in milliseconds since 1970 began; one that does not exist, or twice, as calendars usually take it.
pub fn utc(local: i64) -> i64 {
    let civil = Timestamp::from_millisecond(local).map(|time| time.to_zoned(TimeZone::UTC).datetime());
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::system()));
    zoned.map_or(local, |zoned| zoned.timestamp().as_millisecond())
}
