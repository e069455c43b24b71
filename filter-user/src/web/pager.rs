//! Long lists, a page at a time.

use maud::{Markup, html};

use super::value::number;

/// Rows of a page.
pub(super) const ROWS: usize = 100;

/// A part of a list, and how long all of it is.
pub(super) struct Part<T> {
    pub(super) items: Vec<T>,
    pub(super) total: usize,
    pub(super) offset: usize,
}

impl<T> Part<T> {
    /// The part of a whole list that begins behind `offset` rows; the last one if there are not so many.
    pub(super) fn of(all: Vec<T>, offset: usize) -> Self {
        let total = all.len();
        let last = total.saturating_sub(1) / ROWS * ROWS;
        let offset = offset.min(last);
        Self { items: all.into_iter().skip(offset).take(ROWS).collect(), total, offset }
    }
}

/// Where one is, and the ways on and back.
pub(super) fn links<T>(part: &Part<T>, link: impl Fn(usize) -> String) -> Markup {
    let (first, last) = (part.offset + 1, part.offset + part.items.len());
    html! {
        nav.check aria-label="Pages of the list" {
            span.muted { (number(first as u64)) "–" (number(last as u64)) " of " (number(part.total as u64)) }
            @if part.offset > 0 { a.button href=(link(part.offset.saturating_sub(ROWS))) { "Back" } }
            @if last < part.total { a.button href=(link(part.offset + ROWS)) { "On" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_behind_the_end_is_the_last_one() {
        let part = |offset| Part::of((0..250).collect::<Vec<_>>(), offset);
        assert_eq!((part(0).items.len(), part(0).offset), (100, 0));
        assert_eq!((part(9999).items.len(), part(9999).offset), (50, 200));
        assert_eq!(Part::of(Vec::<u8>::new(), 100).offset, 0);
    }
}
