//! `gatepost completions` and `gatepost man`: what packages put in its place, from the one definition of the command line.

use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Failure, table};

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gatepost", &mut text);
    Ok(table::line(String::from_utf8_lossy(&text).trim_end())?)
}

/// Writes a manual page for each command into a directory, making it if it is not there.
pub(super) fn man(directory: &Path) -> Result<(), Failure> {
    let write = || -> io::Result<usize> {
        std::fs::create_dir_all(directory)?;
        // `gatepost help CMD` is the same text as the page of the command.
        clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory)?;
        Ok(std::fs::read_dir(directory)?.count())
    };
    let pages = write().map_err(|error| {
        Failure::failed(format!(
            "cannot write into {}: {error}; name a directory that this user may write",
            directory.display()
        ))
    })?;
    Ok(table::line(&format!("{pages} manual pages are in {}", directory.display()))?)
}
