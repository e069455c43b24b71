//! The configuration as the command line shows it.

use std::fs;

use anyhow::{Context, ensure};
use filter_tests::agent::{ask, cli, config_of};
use filter_tests::in_world;

#[test]
fn what_is_in_force_is_shown_with_file_and_line_and_is_a_file_itself() {
    in_world(|world, _| {
        let path = config_of(world);
        fs::write(&path, "mode = \"observe\"\n\n[ips]\nrelay_denied_multiplier = 120\n")?;
        let shown = ask(world, &["config", "show"])?;
        let find = |name: &str| {
            shown
                .as_array()
                .into_iter()
                .flatten()
                .find(|setting| setting["name"] == name)
                .context("it is missing")
        };
        let weight = find("relay_denied_multiplier")?;
        let origin = format!("{}:4", path.display());
        ensure!(weight["value"] == 120 && weight["section"] == "ips", "{weight}");
        ensure!(weight["origin"] == origin.as_str(), "{weight}");
        let sessions = find("maximum_sessions")?;
        ensure!(sessions["value"] == 1000 && sessions["origin"] == "default", "{sessions}");

        // What a person reads can be put in the place of the file.
        let output = cli(world, &["config", "show"])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(text.contains(&format!("relay_denied_multiplier = 120  # {origin}")), "{text}");
        fs::write(&path, &text)?;
        let again = ask(world, &["config", "show"])?;
        let values = |list: &serde_json::Value| -> Vec<_> {
            list.as_array().into_iter().flatten().map(|setting| setting["value"].clone()).collect()
        };
        ensure!(values(&again) == values(&shown), "{again} is not {shown}");
        let output = cli(world, &["check-config"])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    });
}
