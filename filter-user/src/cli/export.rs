//! `gatepost block export` and `gatepost never export`: a list as `import` reads it.

use std::io::{self, BufWriter};

use filter_core::admin::BlockView;
use filter_core::decision::Never;

use super::Failure;
use super::listing::{Format, Listed, write};
use crate::control::Client;
use crate::ips::List;

/// What has only been observed would be enforced wherever the file is imported.
#[expect(clippy::print_stderr, reason = "standard output is the list")]
fn tell_left_out(observed: usize) {
    match observed {
        0 => {}
        1 => eprintln!("1 block that was only observed is left out"),
        more => eprintln!("{more} blocks that were only observed are left out"),
    }
}

pub(super) async fn export(client: &Client, list: List, format: Format) -> Result<(), Failure> {
    let entries: Vec<Listed> = match list {
        List::Blocks => {
            let blocks: Vec<BlockView> = client.get("/api/v1/blocks").await?;
            let (observed, enforced): (Vec<_>, Vec<_>) =
                blocks.into_iter().map(|view| view.block).partition(|block| block.observed);
            tell_left_out(observed.len());
            enforced.into_iter().map(Listed::from).collect()
        }
        List::Never => {
            let nevers: Vec<Never> = client.get("/api/v1/never").await?;
            // Built-in entries are those of this machine; another one has its own.
            nevers.into_iter().filter(|never| !never.built_in).map(Listed::from).collect()
        }
    };
    match write(entries, format, BufWriter::new(io::stdout().lock())) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
