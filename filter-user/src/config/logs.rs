//! Which logs are read, and by which rules: section `[logs]`.

use std::path::PathBuf;

use filter_core::logs::{Book, Rule, RuleError, RuleText};
use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place};
use crate::logs::shipped;

/// Log files at most.
const FILES_LIMIT: usize = 64;

/// Which logs are read, and by which rules.
#[derive(Debug, Clone, Default)]
pub struct LogsConfig {
    /// Files that are followed.
    pub files: Vec<LogFile>,
    /// The systemd journal, if it is followed.
    pub journal: Option<JournalConfig>,
    /// Rules beside those that are shipped.
    pub rules: Vec<RuleText>,
    /// Shipped rules that are not asked.
    pub without: Vec<String>,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whose own file it is; none: it is one of a syslog, which names the program in each line.
    #[serde(default)]
    pub program: Option<String>,
}

/// What is read of the systemd journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// Units, such as `dovecot.service`; empty: all.
    pub units: Vec<String>,
    /// Programs by the name that they log with; empty: all.
    pub programs: Vec<String>,
    /// The folder of its files; none: that of this machine.
    pub directory: Option<PathBuf>,
}

impl LogsConfig {
    /// Whether anything is to be read.
    pub fn is_off(&self) -> bool {
        self.files.is_empty() && self.journal.is_none()
    }

    /// The rules in force. Own ones are asked first, and take the place of shipped ones of the same name.
    pub fn book(&self) -> Result<Book, RuleError> {
        let mut rules = self.rules.clone();
        let is_out = |rule: &RuleText| {
            self.without.contains(&rule.name) || self.rules.iter().any(|own| own.name == rule.name)
        };
        // A test keeps the shipped files readable.
        rules.extend(shipped::rules().unwrap_or_default().into_iter().filter(|rule| !is_out(rule)));
        Book::new(rules)
    }
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Logs {
    files: Vec<Spanned<LogFile>>,
    journal_units: Vec<Spanned<String>>,
    journal_programs: Vec<Spanned<String>>,
    journal_directory: Option<Spanned<PathBuf>>,
    rules: Vec<Spanned<RuleText>>,
    without: Vec<Spanned<String>>,
}

impl Logs {
    pub(super) fn validate(self, place: &Place<'_>) -> Result<LogsConfig, ConfigError> {
        let wrong = |span, setting, message: String| Err(place.value(Some(span), setting, message));
        let mut files: Vec<LogFile> = Vec::new();
        for file in self.files {
            let (span, file) = (file.span(), file.into_inner());
            if !file.path.is_absolute() {
                let message = "name the file from the root on, such as \"/var/log/mail.log\"".to_owned();
                return wrong(span, "files", message);
            }
            if files.iter().any(|other| other.path == file.path) {
                return wrong(span, "files", format!("{} is there twice; name it once", file.path.display()));
            }
            if files.len() >= FILES_LIMIT {
                return wrong(span, "files", format!("there are more than {FILES_LIMIT} files"));
            }
            files.push(file);
        }
        for (setting, names) in
            [("journal_units", &self.journal_units), ("journal_programs", &self.journal_programs)]
        {
            let is_odd =
                |name: &str| name.is_empty() || name.starts_with('-') || name.contains(char::is_control);
            if let Some(odd) = names.iter().find(|name| is_odd(name.get_ref())) {
                let message = format!("`{}` is no name of a unit or a program", odd.get_ref().escape_debug());
                return wrong(odd.span(), setting, message);
            }
        }
        let plain =
            |names: Vec<Spanned<String>>| names.into_iter().map(Spanned::into_inner).collect::<Vec<_>>();
        let (units, programs) = (plain(self.journal_units), plain(self.journal_programs));
        let is_named = !units.is_empty() || !programs.is_empty();
        if let Some(directory) = self.journal_directory.as_ref().filter(|_| !is_named) {
            let message = "say whose entries are read by `journal_units`, such as [\"dovecot.service\"], or `journal_programs`";
            return wrong(directory.span(), "journal_directory", message.to_owned());
        }
        let directory = self.journal_directory.map(Spanned::into_inner);
        let journal = is_named.then_some(JournalConfig { units, programs, directory });
        let mut rules: Vec<RuleText> = Vec::new();
        for rule in self.rules {
            let (span, rule) = (rule.span(), rule.into_inner());
            if rules.iter().any(|other| other.name == rule.name) {
                return wrong(span, "rules", RuleError::Twice(rule.name).to_string());
            }
            if let Err(error) = Rule::new(rule.clone()) {
                return wrong(span, "rules", error.to_string());
            }
            rules.push(rule);
        }
        for name in &self.without {
            let is_shipped =
                shipped::rules().is_ok_and(|rules| rules.iter().any(|rule| rule.name == *name.get_ref()));
            if !is_shipped {
                let message =
                    format!("no rule `{}` is shipped; `gatepost check-config` lists them", name.get_ref());
                return wrong(name.span(), "without", message);
            }
        }
        let without = self.without.into_iter().map(Spanned::into_inner).collect();
        Ok(LogsConfig { files, journal, rules, without })
    }
}
