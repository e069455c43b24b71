//! Which service counts its sessions in which book, and the limits of each.

use filter_core::limits::Limits;

use crate::config::Config;
use crate::ips::BookId;

/// The limits of each book: the shared one, then those of services with limits of their own.
pub(super) fn limits(config: &Config) -> Vec<Limits> {
    let own = config.services.iter().filter_map(|service| service.limits.clone());
    [config.limits.clone()].into_iter().chain(own).collect()
}

/// The book of each service, in their order.
pub(super) fn books(config: &Config) -> Vec<BookId> {
    let mut next = 0;
    let book = |has_own: bool| {
        if !has_own {
            return BookId::SHARED;
        }
        next += 1;
        BookId(next)
    };
    config.services.iter().map(|service| service.limits.is_some()).map(book).collect()
}

/// The limits that another configuration gives to the same books. A book that it does not know keeps its limits until
/// the next start, which is when services change.
pub(super) fn limits_again(started_with: &Config, config: &Config) -> Vec<Limits> {
    let own = started_with.services.iter().filter_map(|started| {
        let limits = started.limits.as_ref()?;
        let now = config.services.iter().find(|service| service.name == started.name);
        Some(now.and_then(|service| service.limits.as_ref()).unwrap_or(limits).clone())
    });
    [config.limits.clone()].into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_changes_the_limits_of_the_books_that_there_are() {
        let config = |text: &str| Config::parse(text, None).unwrap();
        let service = |name: &str, port: u16, limits: &str| {
            format!("[services.{name}]\nlisten = [\"[::]:{port}\"]\n{limits}")
        };
        let own =
            |name: &str, maximum: u32| format!("[services.{name}.sessions]\nmaximum_sessions = {maximum}\n");
        let before = config(
            &[service("a", 1, &own("a", 5)), service("b", 2, ""), service("c", 3, &own("c", 6))].concat(),
        );
        assert_eq!(books(&before), [BookId::SHARED, BookId(1), BookId::SHARED, BookId(2)]);
        let after = config(&[service("b", 2, &own("b", 9)), service("c", 3, &own("c", 7))].concat());
        let maxima: Vec<_> =
            limits_again(&before, &after).iter().map(|limits| limits.maximum_sessions).collect();
        assert_eq!(maxima, [1000, 5, 7]);
        assert_eq!(limits(&before).len(), 3);
    }
}
