//! `gatepost block export` and `gatepost never export`: a list as `import` reads it.

use std::io::{self, BufWriter};

use filter_core::admin::BlockView;
use filter_core::decision::Never;

use super::Failure;
use super::listing::{Format, Listed, write};
use crate::control::Client;
use crate::ips::List;

pub(super) async fn export(client: &Client, list: List, format: Format) -> Result<(), Failure> {
    let entries: Vec<Listed> = match list {
        List::Blocks => {
            let blocks: Vec<BlockView> = client.get("/api/v1/blocks").await?;
            blocks.into_iter().map(|view| view.block.into()).collect()
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
