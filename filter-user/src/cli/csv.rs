//! Events as a spreadsheet reads them.

use filter_core::event::{Event, What};

use super::events::detail;
use super::table;

/// A head and a row for each event.
pub(crate) fn as_csv(events: &[Event]) -> String {
    let mut text = "id,time,network,event,kind,multiplier,score,detail\r\n".to_owned();
    for event in events {
        let kind = match &event.what {
            What::Offence { kind, .. } => kind.name(),
            _ => "",
        };
        let (cost, score, said) = match &event.what {
            What::Offence { multiplier, score, service, .. } => {
                let said = format!("{service}: {}", event.what.circumstances());
                (multiplier.to_string(), score.to_string(), said)
            }
            _ => (String::new(), String::new(), detail(event)),
        };
        let cells = [
            event.id.0.to_string(),
            table::time(event.happened()),
            table::network(&event.network),
            event.what.name().to_owned(),
            kind.to_owned(),
            cost,
            score,
            said,
        ];
        let cells: Vec<_> = cells.iter().map(|cell| quoted(cell)).collect();
        text += &cells.join(",");
        text += "\r\n";
    }
    text
}

/// A cell (RFC 4180). What a client sent must not become a formula of a spreadsheet either.
fn quoted(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_neither_more_cells_nor_a_formula() {
        assert_eq!(quoted("a\",\"b"), "\"a\"\",\"\"b\"");
        assert_eq!(quoted("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
    }
}
