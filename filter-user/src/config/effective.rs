//! The configuration in force, setting by setting, and where each value comes from.
//!
//! The table of all settings and their defaults is the file that is shipped; a test keeps it complete and true. Where
//! a comment in it says `[default: …]`, the value below is an example, and the default is what the comment says.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, error::Place};

/// Every setting with its default.
const SHIPPED: &str = include_str!("../../../contrib/gatepost.toml");

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        // Of a service, and of limits of its own, what is not written is as in the section that it is taken from.
        let all = all.into_iter().filter(|found| !found.section.contains('.'));
        let extra = own.iter().filter(|own| own.section.contains('.'));
        let extra: Vec<_> = extra.map(|own| own.clone().into_setting(&place)).collect();
        let effective = all.map(|found| {
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
        Ok(effective.chain(extra).collect())
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
    collect(text, "", document.get_ref(), &mut found);
    found.sort_by_key(|found| found.at);
    Ok(found)
}

/// The settings of a section and of those inside it, such as `[services.submission]`.
fn collect(text: &str, section: &str, table: &DeTable<'_>, found: &mut Vec<Found>) {
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(inner) if section.is_empty() => collect(text, key.get_ref(), inner, found),
            DeValue::Table(inner) => collect(text, &format!("{section}.{}", key.get_ref()), inner, found),
            _ => found.push(one(text, section, key, value)),
        }
    }
}

fn one(text: &str, section: &str, key: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'_>>) -> Found {
    // As it is written, but on one line.
    let lines = text.get(value.span()).unwrap_or_default().lines().map(str::trim);
    Found {
        section: section.to_owned(),
        name: current(key.get_ref().as_ref()).to_owned(),
        value: lines.collect::<Vec<_>>().join(" "),
        at: key.span().start,
    }
}

/// The name of a setting now, for one that is still taken under an earlier name.
fn current(name: &str) -> &str {
    match name {
        "mail_server" => "mail_servers",
        name => name,
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
        let earlier = effective("[smtp]\nmail_server = '192.0.2.1:25'\n");
        assert_eq!(find(&earlier, "mail_servers"), (Some("'192.0.2.1:25'"), "gatepost.toml:2"));
        assert_eq!(find(&settings, "ids_file"), (None, "default: none"));
        assert_eq!(find(&settings, "reserve_sessions_for"), (None, "default: nobody"));
        let settings =
            effective("[services.a]\nlisten = ['[::]:1']\n[services.a.sessions]\nmaximum_sessions = 3\n");
        let own: Vec<_> = settings.iter().filter(|setting| setting.section.starts_with("services")).collect();
        assert_eq!(
            (own[1].section.as_str(), own[1].name.as_str()),
            ("services.a.sessions", "maximum_sessions")
        );
        assert_eq!((own[1].value.as_deref(), own[1].origin.as_str()), (Some("3"), "gatepost.toml:4"));
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
                // What is a table of its own is shown as one.
                let is_table = |line: &str| {
                    line.strip_prefix("#[services.")
                        .is_some_and(|rest| name == "services" || rest.ends_with(&format!(".{name}]")))
                };
                let is_there = is_there || current(name) != name || SHIPPED.lines().any(is_table);
                assert!(is_there, "`{name}` in [{section}] is missing in contrib/gatepost.toml");
            }
        }
    }
}
