//! The configuration in force, setting by setting, and where each value comes from.
//!
//! The table of all settings and their defaults is the file that is shipped; a test keeps it complete and true. Where
//! a comment in it says `[default: …]`, the value below is an example, and the default is what the comment says.

use std::path::Path;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, error::Place};

/// Every setting with its default.
const SHIPPED: &str = include_str!("../../../contrib/gatepost.toml");

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The section that it stands in; empty: before all of them.
    pub section: String,
    /// Its name.
    pub name: String,
    /// Its value as TOML; none: its default is no value.
    pub value: Option<String>,
    /// File and line; or `default`, with what that is where it is no value.
    pub origin: String,
}

impl Config {
    /// Every setting in the order of the shipped file. Takes the text that this configuration was read from.
    pub fn effective(&self, text: &str) -> Result<Vec<Setting>, ConfigError> {
        let shipped = uncommented(SHIPPED);
        let place = Place::new(self.file.as_deref(), text);
        let all = settings(&shipped, &Place::new(Some(Path::new("the shipped file")), &shipped))?;
        let own = settings(text, &place)?;
        let effective = all.into_iter().map(|found| {
            let is_same = |own: &&Found| (&own.section, &own.name) == (&found.section, &found.name);
            let Found { section, name, value, at } = match own.iter().find(is_same) {
                Some(own) => return own.clone().into_setting(&place),
                None => found,
            };
            let (value, origin) = match default_in_words(&shipped, at) {
                // The one default that is found out and is a value all the same.
                Some(_) if name == "name" => (Some(format!("{:?}", self.name)), "default".to_owned()),
                Some(words) => (None, format!("default: {words}")),
                None => (Some(value), "default".to_owned()),
            };
            Setting { section, name, value, origin }
        });
        Ok(effective.collect())
    }
}

/// A setting as it is written.
#[derive(Clone)]
struct Found {
    section: String,
    name: String,
    value: String,
    /// Where its name begins, in bytes.
    at: usize,
}

impl Found {
    fn into_setting(self, place: &Place<'_>) -> Setting {
        let Self { section, name, value, at } = self;
        Setting { section, name, value: Some(value), origin: place.of(Some(at..at)) }
    }
}

/// What a text sets, in its order.
fn settings(text: &str, place: &Place<'_>) -> Result<Vec<Found>, ConfigError> {
    let document = DeTable::parse(text).map_err(|error| place.syntax(&error))?;
    let mut found = Vec::new();
    for (name, value) in document.get_ref() {
        match value.get_ref() {
            DeValue::Table(section) => {
                found.extend(section.iter().map(|(key, value)| one(text, name.get_ref(), key, value)));
            }
            _ => found.push(one(text, "", name, value)),
        }
    }
    found.sort_by_key(|found| found.at);
    Ok(found)
}

fn one(text: &str, section: &str, key: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'_>>) -> Found {
    // As it is written, but on one line.
    let lines = text.get(value.span()).unwrap_or_default().lines().map(str::trim);
    Found {
        section: section.to_owned(),
        name: key.get_ref().as_ref().to_owned(),
        value: lines.collect::<Vec<_>>().join(" "),
        at: key.span().start,
    }
}

/// The shipped file with every setting in force.
fn uncommented(text: &str) -> String {
    let uncomment = |line| str::strip_prefix(line, '#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
    text.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

/// What the comment right above a place says the default is.
fn default_in_words(text: &str, at: usize) -> Option<&str> {
    let above = text.get(..at)?.lines().rev().take_while(|line| line.starts_with("# "));
    above
        .into_iter()
        .find_map(|line| line.split_once("[default: ")?.1.split_once(']'))
        .map(|(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(text: &str) -> Vec<Setting> {
        Config::parse(text, Some("gatepost.toml".into())).unwrap().effective(text).unwrap()
    }

    fn find<'a>(settings: &'a [Setting], name: &str) -> (Option<&'a str>, &'a str) {
        let setting = settings.iter().find(|setting| setting.name == name).unwrap();
        (setting.value.as_deref(), &setting.origin)
    }

    #[test]
    fn each_value_has_the_line_it_comes_from() {
        let settings = effective(
            "mode = \"observe\"\nips.client_error_block_time = '1h'\n[sessions]\n\nmaximum_sessions = 7\nno_auth_networks = [\n  \"10.0.0.0/8\",\n  \"::1\",\n]\n",
        );
        assert_eq!(find(&settings, "mode"), (Some("\"observe\""), "gatepost.toml:1"));
        assert_eq!(find(&settings, "client_error_block_time"), (Some("'1h'"), "gatepost.toml:2"));
        assert_eq!(find(&settings, "maximum_sessions"), (Some("7"), "gatepost.toml:5"));
        let networks = (Some("[ \"10.0.0.0/8\", \"::1\", ]"), "gatepost.toml:6");
        assert_eq!(find(&settings, "no_auth_networks"), networks);
        assert_eq!(find(&settings, "client_error_block_threshold"), (Some("1000"), "default"));
        assert_eq!(find(&settings, "ids_file"), (None, "default: none"));
        assert_eq!(find(&settings, "reserve_sessions_for"), (None, "default: nobody"));
        assert!(find(&settings, "name").0.is_some_and(|name| name != "\"mx.example.net\""));
    }

    #[test]
    fn what_is_shown_means_what_is_in_force() {
        let text = "[login]\nblock_time = \"2h\"\n[sessions]\nreserve_sessions_for = \"10.0.0.*\"\n";
        let mut shown = String::new();
        let mut section = String::new();
        for setting in effective(text) {
            if setting.section != section {
                section.clone_from(&setting.section);
                shown.extend(["[", &section, "]\n"]);
            }
            if let Some(value) = setting.value {
                shown.extend([&setting.name, " = ", &value, "\n"]);
            }
        }
        let parsed = |text: &str| format!("{:?}", Config::parse(text, None).unwrap());
        assert_eq!(parsed(&shown), parsed(text));
    }

    #[test]
    fn the_shipped_file_has_every_setting() {
        let settings = effective("");
        let mut sections: Vec<_> = settings.iter().map(|setting| setting.section.as_str()).collect();
        sections.dedup();
        for section in sections {
            let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            // The parser itself knows all names, and tells whoever writes a wrong one.
            let error = Config::parse(&format!("{head}no_such = 1\n"), None).unwrap_err().to_string();
            let (_, names) = error.split_once("expected").unwrap();
            let names: Vec<_> = names.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "{error}");
            for name in names {
                let is_there = settings.iter().any(|setting| {
                    (setting.section == section && setting.name == name)
                        || (section.is_empty() && setting.section == name)
                });
                assert!(is_there, "`{name}` in [{section}] is missing in contrib/gatepost.toml");
            }
        }
    }
}
