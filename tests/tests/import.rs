//! Whole lists, brought from files and written to files, through the real command line into the real kernel.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, ask, binary, cli, config_of, kernel_blocks, verdict};
use filter_tests::in_world;
use filter_tests::world::World;
use serde_json::{Value, json};

/// Writes a file of this world and gives its path.
fn file(world: &World, name: &str, text: impl AsRef<[u8]>) -> Result<String> {
    let path = world.scratch().join(name);
    fs::write(&path, text)?;
    Ok(path.to_str().context("a path that is no text")?.to_owned())
}

/// What an import says as JSON, whether or not all lines were taken.
fn report(world: &World, arguments: &[&str]) -> Result<(Value, Output)> {
    let output = cli(world, &[arguments, &["--json"]].concat())?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    Ok((report, output))
}

/// A list without what must differ: who decided, since when, and the number of the event.
fn essence(list: &Value) -> Vec<Value> {
    let keep = |entry: &Value| json!([entry["network"], entry["until"], entry["reason"], entry["comment"]]);
    list.as_array().into_iter().flatten().filter(|entry| entry["built_in"] != true).map(keep).collect()
}

#[test]
fn a_hostile_file_blocks_what_is_good_in_it_and_names_each_bad_line() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let huge = "x".repeat(100_000);
        let lines: [&[u8]; 9] = [
            b"\xef\xbb\xbf203.0.113.40 # spam\r\n",
            b"# only a comment\r\n",
            b"203.0.113.300\n",
            b"203.0.113.41\0\n",
            b"\xff\xfe\n",
            huge.as_bytes(),
            b"\n203.0.113.40\n",
            b"0.0.0.0/0\n",
            b"203.0.113.4*\n203.0.113.5/24\n198.51.101.*",
        ];
        let path = file(world, "drop.txt", lines.concat())?;
        let import = ["block", "import", &path, "--minutes", "60", "--comment", "from a feed"];
        let (dry, _) = report(world, &[&import[..], &["--dry-run"]].concat())?;
        ensure!(dry["dry_run"] == true && dry["new"] == 2 && dry["changes"][1]["line"] == 11, "{dry}");
        ensure!(ask(world, &["block", "list"])? == json!([]), "a dry run changed something");
        let (done, output) = report(world, &import)?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        let numbers: Vec<_> = done["rejected"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|line| line["line"].as_u64())
            .collect();
        ensure!(numbers == [3, 4, 5, 6, 8, 9, 10], "{done}");
        ensure!(done["rejected"] == dry["rejected"], "the dry run saw {dry}, the import {done}");
        ensure!(done["new"] == 2 && done["repeated"] == 1, "{done}");
        let list = ask(world, &["block", "list"])?;
        let first = &list[1];
        ensure!(first["network"] == "203.0.113.40/32" && first["reason"] == "spam", "{list}");
        ensure!(list[0]["reason"] == "from a feed" && list[0]["network"] == "198.51.101.0/24", "{list}");
        ensure!(first["origin"] == "manual" && first["author"] == "root", "{list}");
        ensure!(verdict(world, "203.0.113.40")?.0 == "drop" && verdict(world, "198.51.101.9")?.0 == "drop");

        let said = cli(world, &import)?;
        let (told, wrong) = (String::from_utf8(said.stdout)?, String::from_utf8(said.stderr)?);
        ensure!(told.contains("2 longer, 1 repeated, 7 rejected"), "{told}");
        ensure!(
            wrong.contains("drop.txt:3: ")
                && wrong.contains("drop.txt:10: ")
                && wrong.contains("203.0.113.0/24"),
            "{wrong}"
        );
        ensure!(wrong.ends_with("gatepost: 7 lines were rejected\n"), "{wrong}");
        ensure!(!wrong.contains('\u{1b}') && !told.contains('\u{1b}'), "a progress bar in a pipe");
        Ok(())
    });
}

#[test]
fn an_export_brings_the_same_lists_to_an_empty_gateway() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        ask(
            world,
            &["block", "add", "203.0.113.*", "--minutes", "999999999", "--comment", "a \"whole\", net; # it"],
        )?;
        ask(world, &["block", "add", "203.0.113.41", "--minutes", "77"])?;
        ask(world, &["block", "add", "2001:db8:a:1::/64", "--comment", "größer"])?;
        ask(world, &["never", "add", "203.0.113.50", "--comment", "office"])?;
        ask(world, &["never", "add", "2001:db8:a:5::/64", "--minutes", "1000"])?;
        let lists =
            || -> Result<_> { Ok((ask(world, &["block", "list"])?, ask(world, &["never", "list"])?)) };
        let before = lists()?;
        let mut files = Vec::new();
        for format in ["json", "csv", "plain"] {
            for list in ["block", "never"] {
                let output = cli(world, &[list, "export", "--format", format])?;
                ensure!(output.status.success(), "{output:?}");
                let path = file(world, &format!("{list}.{format}"), &output.stdout)?;
                let (report, _) = report(world, &[list, "import", &path, "--format", format, "--dry-run"])?;
                let same = if list == "block" { 3 } else { 2 };
                // Plain lines do not say until when.
                ensure!(format == "plain" || report["unchanged"] == same, "{format}: {report}");
                ensure!(report["new"] == 0 && report["rejected"] == json!([]), "{format}: {report}");
                files.push((list, format, path));
            }
        }
        let unchanged = ask(world, &["block", "import", &files[0].2])?;
        ensure!(unchanged["unchanged"] == 3 && lists()? == before, "{unchanged}");

        for format in ["json", "csv", "plain"] {
            for (list, key) in [("block", &before.0), ("never", &before.1)] {
                for network in essence(key).iter().filter_map(|entry| entry[0].as_str()) {
                    ask(world, &[list, "remove", network])?;
                }
            }
            ensure!(kernel_blocks(world)?.is_empty(), "something is left");
            for (list, _, path) in files.iter().filter(|(_, written, _)| *written == format) {
                let report = ask(world, &[list, "import", path, "--format", format])?;
                ensure!(report["new"] == if *list == "block" { 3 } else { 2 }, "{format}: {report}");
            }
            let after = lists()?;
            if format == "plain" {
                let names = |list: &Value| {
                    essence(list)
                        .into_iter()
                        .map(|entry| (entry[0].clone(), entry[2].clone(), entry[3].clone()))
                        .collect::<Vec<_>>()
                };
                ensure!(
                    names(&after.0) == names(&before.0) && names(&after.1) == names(&before.1),
                    "{after:?}"
                );
            } else {
                ensure!(essence(&after.0) == essence(&before.0), "{format}: {} became {}", before.0, after.0);
                ensure!(essence(&after.1) == essence(&before.1), "{format}: {} became {}", before.1, after.1);
            }
            ensure!(kernel_blocks(world)?.len() == 3, "the kernel has not all of them");
        }
        agent.kill()?;
        let _agent = Agent::start_again(world)?;
        ensure!(essence(&ask(world, &["block", "list"])?).len() == 3, "not durable");
        Ok(())
    });
}

#[test]
fn a_long_list_is_in_force_and_on_the_disk_when_the_command_is_done() {
    in_world(|world, _| {
        let agent = Agent::start(world, "")?;
        let count = 20_500_u32;
        let hosts = (0..count).map(|host| format!("10.7.{}.{}\n", host >> 8, host & 255));
        let path = file(world, "long.txt", hosts.collect::<String>())?;
        let report = ask(world, &["block", "import", &path, "--minutes", "60"])?;
        ensure!(report["new"] == count && report.get("changes").is_none(), "{report}");
        agent.kill()?;
        ensure!(kernel_blocks(world)?.len() == 20_500, "the kernel has not all of them");
        let database = world.scratch().join("state/gatepost.db");
        ensure!(database.exists(), "there is no database");
        let agent = Agent::start_again(world)?;
        ensure!(ask(world, &["status"])?["blocks"] == count, "not all were on the disk");
        let lines = agent.log().lines().filter(|line| line.contains("10.7.")).count();
        ensure!(lines == 0, "{lines} entries have a line each in the agent's own log");
        ensure!(agent.log().contains("entries imported"), "the import has no line in the agent's own log");
        let events = ask(world, &["events", "--network", "10.7.80.19"])?;
        ensure!(events[0]["event"] == "blocked" && events[0]["author"] == "root", "no audit trail: {events}");

        // On a terminal there is a bar.
        let shell = format!(
            "{} --config {} block import {path} --minutes 61",
            binary()?.display(),
            config_of(world).display()
        );
        let output = world.gateway.enter(|| {
            Ok(Command::new("script")
                .args(["--quiet", "--return", "--command", &shell, "/dev/null"])
                .output()?)
        })?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && said.contains(" of 20,500"), "no bar: {output:?}");
        Ok(())
    });
}

#[test]
fn what_is_no_list_changes_nothing_and_is_answered_in_one_sentence() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let csv = file(world, "list.csv", "192.0.2.7,5\n192.0.2.8,5\n")?;
        let good = file(world, "good.txt", "192.0.2.7\n")?;
        let missing = world.scratch().join("missing").display().to_string();
        let check = |arguments: &[&str], code: i32, words: &[&str]| -> Result<()> {
            let output = cli(world, arguments)?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(code), "{arguments:?} exits with {}: {said}", output.status);
            for word in words {
                ensure!(said.contains(word), "{arguments:?}: `{word}` is missing in {said}");
            }
            Ok(())
        };
        check(&["block", "import", &csv], 2, &["list.csv:1", "header", "network,until,comment"])?;
        check(&["block", "import", &missing], 2, &["missing", "cannot read"])?;
        check(&["block", "import", &good, "--minutes", "1000000000"], 1, &["good.txt:1", "999999999"])?;
        check(&["never", "import", &good, "--comment", "a\u{7}"], 1, &["good.txt:1", "one line"])?;
        let own = file(world, "own.txt", "203.0.113.1\n")?;
        check(&["never", "import", &own], 1, &["own.txt:1", "built in"])?;
        ensure!(cli(world, &["block", "import", "-"])?.stdout.ends_with(b"there are no entries in it\n"));
        ensure!(ask(world, &["block", "list"])? == json!([]), "something was taken");
        Ok(())
    });
}
