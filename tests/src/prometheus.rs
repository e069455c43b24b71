//! Prometheus, unpacked and not installed: its tool, which judges metrics and rules, and the server itself.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Process, wait_until};
use crate::web;
use crate::world::World;

/// Where the server answers in a world's gateway.
const LISTEN: &str = "127.0.0.1:9090";

/// Runs promtool with something on its standard input; what it says if it is content.
pub fn promtool(arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(program("promtool")?);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot run promtool")?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(output.status.success(), "promtool {arguments:?} complains:\n{said}\nof\n{input}");
    Ok(said)
}

/// A server that scrapes a world's agent every second.
#[derive(Debug)]
pub struct Prometheus<'world> {
    world: &'world World,
    _process: Process,
}

impl<'world> Prometheus<'world> {
    /// Starts one in the gateway that shows this token, and keeps these rules.
    pub fn start(world: &'world World, token: &str, rules: &Path) -> Result<Self> {
        let folder = world.scratch().join("prometheus");
        fs::create_dir_all(&folder)?;
        let config = folder.join("prometheus.yml");
        let target = web::URL.trim_start_matches("http://");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\nscrape_configs:\n\
             - job_name: gatepost\n  authorization: {{ credentials: '{token}' }}\n  static_configs: [{{ targets: ['{target}'] }}]\n",
            rules.display()
        );
        fs::write(&config, text)?;
        let log = fs::File::create(folder.join("log"))?;
        let child = world.gateway.enter(|| {
            let mut command = Command::new(program("prometheus")?);
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
            command.arg(format!("--web.listen-address={LISTEN}"));
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.spawn().context("cannot start Prometheus")
        })?;
        let server = Self { world, _process: Process::new(child) };
        let ready = wait_until("a first scrape", Duration::from_secs(30), || {
            Ok(server.value("up{job=\"gatepost\"}").is_ok_and(|value| value == Some(1.0)))
        });
        ready.with_context(|| fs::read_to_string(folder.join("log")).unwrap_or_default())?;
        Ok(server)
    }

    /// The first value of an expression; none: it has none.
    pub fn value(&self, expression: &str) -> Result<Option<f64>> {
        let query = format!("query={expression}");
        let arguments = ["--get", "--data-urlencode", &query];
        let answer =
            web::ask_from(&self.world.gateway, &format!("http://{LISTEN}/api/v1/query"), &arguments)?;
        let answer: Value = serde_json::from_str(&answer.body)?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let value = answer["data"]["result"][0]["value"][1].as_str();
        Ok(value.map(str::parse).transpose()?)
    }
}

/// Where set-up has unpacked a program of the package: beside the programs that are built.
fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let places = own.ancestors().skip(1).take(4);
    let mut places = places.map(|folder| folder.join("lab/prometheus/usr/bin").join(name));
    let found = places.find(|place| place.exists());
    found.with_context(|| format!("{name} is not unpacked; run the tests with `cargo xtask test`"))
}
