//! `gatepost config show`: what is in force and where it comes from, as a file that means the same.

use serde::Serialize;

use super::table;
use super::{Failure, Output};
use crate::config::{Config, Setting};
use crate::control::{Client, Settings};

/// One setting for programs.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    section: &'a str,
    name: &'a str,
    value: Option<toml::Value>,
    origin: &'a str,
}

pub(super) fn show(config: &Config, output: Output) -> Result<(), Failure> {
    let text = config.file.as_ref().map_or_else(|| Ok(String::new()), std::fs::read_to_string)?;
    let settings = config.effective(&text)?;
    if output.json {
        let shown: Vec<_> = settings.iter().map(shown).collect();
        return table::json(&shown);
    }
    print(&settings)
}

/// What the running agent has in force.
pub(super) async fn show_running(client: &Client, output: Output) -> Result<(), Failure> {
    let Settings { settings, waiting, .. } = client.get("/api/v1/config").await?;
    if output.json {
        let shown: Vec<_> = settings.iter().map(shown).collect();
        return table::json(&shown);
    }
    print(&settings)?;
    if !waiting.is_empty() {
        table::line(&format!("\n# {} take effect when the agent starts again", waiting.join(", ")))?;
    }
    Ok(())
}

fn print(settings: &[Setting]) -> Result<(), Failure> {
    let (mut section, mut lines) = ("", Vec::new());
    for Setting { section: of, name, value, origin } in settings {
        if of != section {
            lines.push(format!("\n[{of}]"));
            section = of;
        }
        lines.push(match value {
            Some(value) => format!("{name} = {value}  # {origin}"),
            None => format!("#{name}  # {origin}"),
        });
    }
    Ok(table::line(&lines.join("\n"))?)
}

fn shown(setting: &Setting) -> Shown<'_> {
    let Setting { section, name, value, origin } = setting;
    // It has been read before, so it can be read again.
    let value = value.as_ref().and_then(|value| value.parse().ok());
    Shown { section, name, value, origin }
}
