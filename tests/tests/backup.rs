//! A copy of the database, taken while the agent writes to it, and what an agent makes of the copy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use anyhow::ensure;
use filter_tests::agent::{Agent, ask, binary, cli, config_of};
use filter_tests::in_world;

#[test]
fn a_copy_taken_under_load_holds_what_had_been_reported_as_done() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        ask(world, &["block", "add", "203.0.113.40", "--minutes", "60", "--comment", "before"])?;
        ask(world, &["never", "add", "203.0.113.50", "--comment", "office"])?;
        let list = world.scratch().join("list.txt");
        let hosts = (0..20_000_u32).map(|host| format!("10.7.{}.{}\n", host >> 8, host & 255));
        fs::write(&list, hosts.collect::<String>())?;
        // From here on the writer is busy.
        let mut load = world.gateway.enter(|| {
            let mut command = Command::new(binary()?);
            command.arg("--config").arg(config_of(world)).args(["block", "import"]).arg(&list);
            Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
        })?;
        let copy = world.scratch().join("copy.db");
        let path = copy.to_str().unwrap_or_default();
        let mut copies = Vec::new();
        while load.try_wait()?.is_none() {
            let copied = ask(world, &["backup", path, "--force"])?;
            copies.push(copied["blocks"].as_u64().unwrap_or(0));
        }
        ensure!(load.wait()?.success(), "the import failed");
        ensure!(
            copies.iter().any(|blocks| (1..20_001).contains(blocks)),
            "none was taken under load: {copies:?}"
        );
        ensure!(copies.is_sorted() && copies[0] >= 1, "a copy lacks what an earlier one had: {copies:?}");
        let copied = ask(world, &["backup", path, "--force"])?;
        ensure!(copied["blocks"] == 20_001 && copied["never"] == 1, "{copied}");
        ensure!(fs::metadata(&copy)?.permissions().mode() & 0o777 == 0o600, "others may read it");

        let refused = cli(world, &["backup", path])?;
        let said = String::from_utf8(refused.stderr)?;
        ensure!(refused.status.code() == Some(1) && said.contains("--force"), "{said}");
        ensure!(said.lines().count() == 1, "{said}");

        // A machine that has lost everything but the copy.
        agent.stop()?;
        ensure!(cli(world, &["unload"])?.status.success(), "unload failed");
        let state = world.scratch().join("state");
        fs::remove_dir_all(&state)?;
        let refused = cli(world, &["backup", path, "--force"])?;
        ensure!(String::from_utf8(refused.stderr)?.contains("there is no database"), "it copied nothing");
        fs::create_dir(&state)?;
        fs::copy(&copy, state.join("gatepost.db"))?;
        let _agent = Agent::start_again(world)?;
        ensure!(ask(world, &["status"])?["blocks"] == 20_001, "not all came back");
        let why = ask(world, &["why", "203.0.113.40"])?;
        ensure!(why["blocks"][0]["reason"] == "before" && why["kernel"]["verdict"] == "drop", "{why}");
        Ok(())
    });
}
