//! The real agent in a world's gateway, and its command line.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::{Process, wait_until};
use crate::world::{GATEWAY_V4, GATEWAY_V6, MAIL, WAN, World};

/// A running agent.
#[derive(Debug)]
pub struct Agent<'world> {
    world: &'world World,
    process: Process,
}

impl<'world> Agent<'world> {
    /// Starts one on the world's own settings and these sections, such as `[ips]`.
    pub fn start(world: &'world World, sections: &str) -> Result<Self> {
        write_config(world, true, &format!("{MAIL}:25"), sections)?;
        Self::start_again(world)
    }

    /// Starts one that leaves the interface to others: it has no filter of its own.
    pub fn start_bare(world: &'world World, sections: &str) -> Result<Self> {
        write_config(world, false, &format!("{MAIL}:25"), sections)?;
        Self::start_again(world)
    }

    /// Starts one whose mail server is elsewhere.
    pub fn start_before(world: &'world World, mail_server: &str, sections: &str) -> Result<Self> {
        write_config(world, true, mail_server, sections)?;
        Self::start_again(world)
    }

    /// Starts one on the world's own settings and these sections, as the last words of another command such as `env`.
    pub fn start_through(world: &'world World, sections: &str, before: &[&str]) -> Result<Self> {
        write_config(world, true, &format!("{MAIL}:25"), sections)?;
        Self::spawn(world, before)
    }

    /// Starts one on the settings of the last one, over whatever that left behind.
    pub fn start_again(world: &'world World) -> Result<Self> {
        Self::spawn(world, &[])
    }

    fn spawn(world: &'world World, before: &[&str]) -> Result<Self> {
        let log = fs::File::options().create(true).append(true).open(log_of(world))?;
        let child = world.gateway.enter(|| {
            let program = binary()?;
            let mut words = before.iter().map(OsStr::new).chain([program.as_os_str()]);
            let mut command = Command::new(words.next().context("no command")?);
            command.args(words).args(["run", "--config"]).arg(config_of(world));
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .context("cannot start the agent")
        })?;
        let mut agent = Self { world, process: Process::new(child) };
        let started = wait_until("the agent answering", Duration::from_secs(20), || {
            ensure!(!agent.process.has_ended()?, "the agent ended");
            Ok(cli(world, &["status"])?.status.success())
        });
        started.with_context(|| agent.log())?;
        Ok(agent)
    }

    /// Ends it without a chance to do anything.
    pub fn kill(mut self) -> Result<()> {
        self.process.end(Signal::SIGKILL).map(drop)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Asks it to stop.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.end(Signal::SIGTERM)?;
        ensure!(status.success(), "the agent stopped with {status}:\n{}", self.log());
        Ok(())
    }

    /// Everything that it and its predecessors have said.
    pub fn log(&self) -> String {
        fs::read_to_string(log_of(self.world)).unwrap_or_default()
    }
}

/// Runs the command line in the gateway, on the world's settings.
pub fn cli(world: &World, arguments: &[&str]) -> Result<Output> {
    run(world, Command::new(binary()?), arguments)
}

/// Runs the command line without any capability, as in a container that was given none.
pub fn cli_without_capabilities(world: &World, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(binary()?);
    run(world, command, arguments)
}

fn run(world: &World, mut command: Command, arguments: &[&str]) -> Result<Output> {
    world.gateway.enter(|| {
        command.arg("--config").arg(config_of(world)).args(arguments).stdin(Stdio::null());
        Ok(command.output()?)
    })
}

/// Runs the command line and reads the JSON that it prints.
pub fn ask(world: &World, arguments: &[&str]) -> Result<Value> {
    let output = cli(world, &[arguments, &["--json"]].concat())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "gatepost {arguments:?} failed: {said}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("gatepost {arguments:?} printed no JSON"))
}

/// What the kernel would do with an address: the verdict, and packets dropped by the entries that cover it.
pub fn verdict(world: &World, address: &str) -> Result<(String, u64)> {
    let view = ask(world, &["maps", "get", address])?;
    let verdict = view["verdict"].as_str().context("no verdict")?.to_owned();
    let packets =
        view["blocks"].as_array().context("no blocks")?.iter().filter_map(|block| block["packets"].as_u64());
    Ok((verdict, packets.sum()))
}

/// The blocks that the kernel holds, with the seconds that they have left.
pub fn kernel_blocks(world: &World) -> Result<Vec<(String, u64)>> {
    let view = ask(world, &["maps", "dump"])?;
    let blocks = view["blocks"].as_array().context("no blocks")?.iter();
    Ok(blocks
        .filter_map(|block| {
            Some((block["network"].as_str()?.to_owned(), block["remaining_seconds"].as_u64()?))
        })
        .collect())
}

/// The program under test: `GATEPOST_BIN`, or the one that was built beside the tests.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GATEPOST_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let beside =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("gatepost")).find(|path| path.exists());
    beside.context("the program is not built; run the tests with `cargo xtask test`")
}

/// Where the settings of a world's agent are.
pub fn config_of(world: &World) -> PathBuf {
    world.scratch().join("gatepost.toml")
}

fn log_of(world: &World) -> PathBuf {
    world.scratch().join("gatepost.log")
}

fn write_config(world: &World, filtered: bool, mail_server: &str, sections: &str) -> Result<()> {
    let (state, pins) = (world.scratch().join("state"), world.pins());
    let text = format!(
        "name = \"mx.example.test\"
state_directory = \"{state}\"
control_socket = \"{state}/control.sock\"
[kernel]
enabled = {filtered}
interfaces = [\"{WAN}\"]
attach = \"native\"
pin_directory = \"{pins}\"
[smtp]
listen = [\"{GATEWAY_V4}:25\", \"[{GATEWAY_V6}]:25\"]
mail_servers = \"{mail_server}\"
greet_delay = \"0s\"
{sections}",
        state = state.display(),
        pins = pins.display(),
    );
    Ok(fs::write(config_of(world), text)?)
}

/// Whether anything is pinned for a world.
pub fn is_pinned(world: &World) -> bool {
    Path::new(world.pins()).exists()
}
