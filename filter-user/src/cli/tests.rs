//! The command line can do what the pages can: the table in `docs/api.md` is complete, and each command in it is one.

use std::collections::BTreeSet;

use clap::Parser as _;

use super::Cli;
use crate::control::document;

const TABLE: &str = include_str!("../../../docs/api.md");
/// Where the pages are made known.
const PAGES: &str = include_str!("../web/mod.rs");

/// The cells of the table's rows: page, what, route, command.
fn table() -> Vec<[&'static str; 4]> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 5);
    let cells = |line: &'static str| {
        let inner = line.trim_start_matches('|').trim_end_matches('|');
        let cells: Vec<_> = inner.split('|').map(str::trim).collect();
        cells.try_into().expect("a row has four cells")
    };
    rows.map(cells).skip(1).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_route_stands_in_the_table_with_a_command() {
    let rows = table();
    let listed: BTreeSet<_> = rows
        .iter()
        .filter(|[.., command]| !command.is_empty())
        .flat_map(|[_, _, route, _]| quoted(route))
        .map(str::to_owned)
        .collect();
    let document = document();
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flat_map(serde_json::Map::keys);
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    assert!(described.len() > 30, "{described:?}");
    assert_eq!(described, listed);
}

#[test]
fn every_page_and_form_stands_in_the_table() {
    let listed: BTreeSet<_> = table().iter().flat_map(|[page, ..]| quoted(page)).collect();
    let made = PAGES.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let made: BTreeSet<_> = made.collect();
    assert!(made.len() > 10, "{made:?}");
    assert_eq!(made, listed);
}

#[test]
fn every_command_of_the_table_is_one() {
    let mut count = 0;
    for [.., command] in table() {
        for line in quoted(command) {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(
                parsed.is_ok(),
                "{line}: {}",
                parsed.err().map(|error| error.to_string()).unwrap_or_default()
            );
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}
