//! How values look on a page.

use filter_core::time::Timestamp;
use jiff::Timestamp as Calendar;
use maud::{Markup, html};

use crate::cli::table;

pub(super) use table::{bytes, duration};

/// A time with its offset; a script shows it by the reader's own clock.
pub(super) fn time(at: Timestamp) -> Markup {
    let text = table::time(at);
    if let Ok(calendar) = Calendar::from_millisecond(at.as_millis()) {
        return html! { time.nowrap datetime=(calendar.to_string()) { (text) } };
    }
    html! { (text) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
