//! Debian's fail2ban with the action that is shipped: its bans are blocks, and its unbans take away its own.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use filter_tests::agent::{Agent, ask, binary, config_of, verdict};
use filter_tests::in_world;
use filter_tests::process::{Process, wait_until};
use filter_tests::world::World;

/// The action as it is shipped.
const ACTION: &str = include_str!("../../contrib/fail2ban/action.d/gatepost.conf");

/// A fail2ban with one jail, `lab`, which watches a file and bans for ten minutes.
struct Fail2ban<'world> {
    world: &'world World,
    _server: Process,
}

impl<'world> Fail2ban<'world> {
    fn start(world: &'world World) -> Result<Self> {
        let at = world.scratch().join("fail2ban");
        for folder in ["action.d", "filter.d"] {
            fs::create_dir_all(at.join(folder))?;
        }
        fs::write(at.join("action.d/gatepost.conf"), ACTION)?;
        fs::write(at.join("filter.d/lab.conf"), "[Definition]\nfailregex = ^ failure from <HOST>$\n")?;
        fs::write(at.join("watched"), "")?;
        let place = at.display();
        let settings = format!(
            "[Definition]\nloglevel = INFO\nlogtarget = {place}/log\nsyslogsocket = auto\nsocket = {place}/sock\n\
             pidfile = {place}/pid\ndbfile = None\ndbpurgeage = 1d\nallowipv6 = auto\n"
        );
        fs::write(at.join("fail2ban.conf"), settings)?;
        let program = format!("{} --config {}", binary()?.display(), config_of(world).display());
        let jail = format!(
            "[lab]\nenabled = true\nbackend = polling\nfilter = lab\nlogpath = {place}/watched\nusedns = no\nmaxretry = 2\n\
             findtime = 10m\nbantime = 10m\naction = gatepost[gatepost=\"{program}\"]\n"
        );
        fs::write(at.join("jail.conf"), jail)?;
        let output = File::create(at.join("out"))?;
        let server = world.gateway.enter(|| {
            let mut command = Command::new("fail2ban-server");
            command.args(["-f", "-c"]).arg(&at).arg("start").stdin(Stdio::null());
            command.stdout(output.try_clone()?).stderr(output);
            command.spawn().context("cannot start fail2ban; install the package fail2ban")
        })?;
        let fail2ban = Self { world, _server: Process::new(server) };
        wait_until("fail2ban answering", Duration::from_secs(20), || {
            Ok(fail2ban.tell(&["status", "lab"]).is_ok())
        })?;
        Ok(fail2ban)
    }

    fn tell(&self, words: &[&str]) -> Result<()> {
        let at = self.world.scratch().join("fail2ban");
        let mut command = Command::new("fail2ban-client");
        command.arg("-c").arg(&at).arg("-s").arg(at.join("sock")).args(words);
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "fail2ban-client {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

fn becomes(world: &World, address: &str, wanted: &str) -> Result<()> {
    wait_until(&format!("{wanted} for {address}"), Duration::from_secs(10), || {
        Ok(verdict(world, address)?.0 == wanted)
    })
}

#[test]
fn bans_are_blocks_in_the_kernel_and_an_unban_takes_away_its_own() {
    in_world(|world, _| {
        let _agent = Agent::start(world, "")?;
        let fail2ban = Fail2ban::start(world)?;
        fail2ban.tell(&["set", "lab", "banip", "203.0.113.40"])?;
        becomes(world, "203.0.113.40", "drop")?;
        let list = ask(world, &["block", "list"])?;
        ensure!(list[0]["origin"] == "feed" && list[0]["author"] == "fail2ban/lab", "{list}");
        let (since, until) = (list[0]["since"].as_i64(), list[0]["until"].as_i64());
        ensure!(
            until.zip(since).map(|(until, since)| until - since) == Some(600_000),
            "not for the bantime: {list}"
        );

        ask(world, &["block", "add", "203.0.113.41"])?;
        fail2ban.tell(&["set", "lab", "banip", "203.0.113.41"])?;
        fail2ban.tell(&["set", "lab", "unbanip", "203.0.113.41"])?;
        fail2ban.tell(&["set", "lab", "unbanip", "203.0.113.40"])?;
        becomes(world, "203.0.113.40", "pass")?;
        ensure!(verdict(world, "203.0.113.41")?.0 == "drop", "an administrator's block was taken away");
        let log = fs::read_to_string(world.scratch().join("fail2ban/log"))?;
        ensure!(!log.contains("ERROR"), "{log}");
        Ok(())
    });
}
