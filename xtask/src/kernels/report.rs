//! What a kernel showed, as `checks.sh` printed it, and whether that is enough.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

/// Instructions that the verifier may go through: a quarter of its million (`BPF_COMPLEXITY_LIMIT_INSNS`), since other
/// kernels, newer ones as well, need more for the same program.
const BUDGET: u32 = 250_000;

/// Lines shown of what a failed trial printed.
const SHOWN: usize = 20;

/// A trial that went through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    release: String,
    mode: String,
    instructions: u32,
}

impl Report {
    /// Reads what was printed; a failure there is one here.
    pub(super) fn read(text: &str) -> Result<Self> {
        if let Some(sentence) = find(text, "failed ") {
            bail!("{sentence}; it said:\n{}", tail(text));
        }
        ensure!(
            text.lines().any(|line| line.trim() == "passed"),
            "it stopped halfway; it said:\n{}",
            tail(text)
        );
        let release = find(text, "release ").context("it did not name its release")?.to_owned();
        let mode = find(text, "mode ").context("it did not say how the filter was attached")?.to_owned();
        let instructions = find(text, "instructions ").and_then(|number| number.parse().ok());
        let instructions = instructions.context("it did not say what the verifier went through")?;
        Ok(Self { release, mode, instructions })
    }

    /// Refuses a kernel other than the wanted one, another mode, and too much work for the verifier.
    pub(super) fn check(self, series: &str) -> Result<Self> {
        let Self { release, mode, instructions } = &self;
        ensure!(release.starts_with(series), "Linux {release} was booted instead");
        ensure!(mode == "native", "Linux {release} attached the filter in {mode} mode instead of native");
        ensure!(
            *instructions <= BUDGET,
            "the verifier of Linux {release} went through {instructions} instructions, and the budget is {BUDGET}"
        );
        Ok(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, mode, instructions } = self;
        write!(
            f,
            "Linux {release}: attached {mode}; verifier {instructions} of {BUDGET} instructions; dropped the blocked, answered the others, left nothing"
        )
    }
}

/// The end of a text, for whoever looks for the reason.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default().join("\n")
}

/// The rest of the first line that begins so.
fn find<'text>(text: &'text str, key: &str) -> Option<&'text str> {
    text.lines().find_map(|line| line.trim().strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "release 6.1.0-9-x\r\nattached to near (native)\r\nmode native\r\ninstructions 58050\r\npassed\r\n";

    fn check(text: &str) -> Result<Report> {
        Report::read(text)?.check("6.1.")
    }

    #[test]
    fn a_kernel_passes_by_saying_so_within_the_budget() {
        let wanted = Report { release: "6.1.0-9-x".into(), mode: "native".into(), instructions: 58_050 };
        assert_eq!(check(GOOD).unwrap(), wanted);
        assert!(check(&GOOD.replace("58050", "250000")).is_ok());
        assert!(check(&GOOD.replace("58050", "250001")).unwrap_err().to_string().contains("budget"));
    }

    #[test]
    fn what_is_missing_or_other_than_wanted_fails() {
        for (part, instead) in [
            ("passed", ""),
            ("passed", "failed the agent does not answer"),
            ("6.1.0", "6.12.0"),
            ("mode native", "mode generic"),
            ("instructions 58050", "instructions null"),
            ("release 6.1.0-9-x", ""),
        ] {
            assert!(check(&GOOD.replace(part, instead)).is_err(), "{instead} instead of {part}");
        }
        assert!(check("").is_err());
    }

    #[test]
    fn a_failure_tells_its_sentence_and_what_was_said_before() {
        let error = check("release 6.1.0\nverifier: no\nfailed load ended with code 1\n").unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("load ended with code 1") && said.contains("verifier: no"), "{said}");
    }
}
