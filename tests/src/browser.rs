//! A real browser in a world's gateway: headless Chromium, driven as a person would.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::agent::Agent;
use crate::in_world;
use crate::process::{Process, wait_until};
use crate::web::{PASSWORD, SECTION, URL, add_user};
use crate::world::World;

/// Where the driver listens; each world has a loopback of its own.
const DRIVER: &str = "http://127.0.0.1:9515";
/// How long a page may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);
/// What finds mistakes of pages that keep people out; axe-core, as it was published.
const AXE: &str = include_str!("../axe/axe.min.js");

/// Runs a test with a browser in the gateway, in which anna is signed in.
pub fn in_browser(role: &str, test: impl FnOnce(&World, &Browser) -> Result<()> + Send) {
    in_world(|world, _| {
        let _agent = Agent::start(world, SECTION)?;
        add_user(world, "anna", role)?;
        world.gateway.enter(|| {
            let browser = Browser::start(world)?;
            browser.sign_in("anna")?;
            test(world, &browser)?;
            browser.close()
        })
    });
}

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    session: String,
    runtime: Runtime,
    shots: PathBuf,
    _driver: Process,
}

impl Browser {
    /// Starts one; to be called inside the gateway's name space.
    pub fn start(world: &World) -> Result<Self> {
        let log = File::create(world.scratch().join("chromedriver.log"))?;
        let mut command = Command::new("chromedriver");
        command.args(["--port=9515"]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let driver = Process::new(command.spawn().context("cannot start chromedriver")?);
        wait_until("chromedriver answering", PATIENCE, || {
            Ok(curl(&format!("{DRIVER}/status"), None).is_ok())
        })?;
        let profile = world.scratch().join("chromium");
        let arguments = [
            "--headless=new",
            // The sandbox of Chromium does not start as root, which the lab needs.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--lang=en-GB",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let mut wanted = serde_json::Map::new();
        wanted.insert("goog:chromeOptions".to_owned(), json!({ "args": arguments }));
        wanted.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (client, session) = runtime.block_on(async {
            let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
                .capabilities(wanted)
                .connect(DRIVER)
                .await?;
            let session = client.session_id().await?.context("no session")?;
            anyhow::Ok((client, session))
        })?;
        let shots = shots()?;
        let browser = Self { client, session, runtime, shots, _driver: driver };
        browser.resize(1280, 900, false)?;
        Ok(browser)
    }

    /// Opens a page.
    pub fn open(&self, path: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.client.goto(&format!("{URL}{path}")))?)
    }

    /// Signs in.
    pub fn sign_in(&self, name: &str) -> Result<()> {
        self.open("/sign-in")?;
        self.fill("#name", name)?;
        self.fill("#password", PASSWORD)?;
        self.click("main button")?;
        self.wait("nav.main", "Overview")
    }

    /// Clicks on the first thing that a selector names, when it is there.
    pub fn click(&self, css: &str) -> Result<()> {
        // What is there may be brought up to date between the look and the click.
        wait_until(&format!("a click on {css}"), PATIENCE, || {
            let click = async { self.client.find(Locator::Css(css)).await?.click().await };
            Ok(self.runtime.block_on(click).is_ok())
        })
    }

    /// Types into a field, in the place of what is there.
    pub fn fill(&self, css: &str, text: &str) -> Result<()> {
        let fill = async {
            let element = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await?;
            element.clear().await?;
            element.send_keys(text).await
        };
        self.runtime.block_on(fill).with_context(|| format!("cannot type into {css}"))
    }

    /// The text that a reader sees there.
    pub fn text(&self, css: &str) -> Result<String> {
        let script = "return (document.querySelector(arguments[0]) || {}).innerText || ''";
        let text = self.runtime.block_on(self.client.execute(script, vec![json!(css)]))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until a text is there.
    pub fn wait(&self, css: &str, text: &str) -> Result<()> {
        let so = wait_until(text, PATIENCE, || Ok(self.text(css)?.contains(text)));
        so.with_context(|| format!("in {css}: {}", self.text("body").unwrap_or_default()))
    }

    /// Gives the page the size of a window or of a phone.
    pub fn resize(&self, width: u32, height: u32, is_phone: bool) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
    }

    /// What the reader's system prefers.
    pub fn prefer(&self, scheme: &str) -> Result<()> {
        // Colours that are on their way from one scheme to the other are neither's.
        let still = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }, still] });
        self.devtools("Emulation.setEmulatedMedia", &features)
    }

    /// Keeps a picture of the page.
    pub fn shot(&self, name: &str) -> Result<()> {
        let picture = self.runtime.block_on(self.client.screenshot())?;
        Ok(fs::write(self.shots.join(format!("{name}.png")), picture)?)
    }

    /// Keeps pictures of the page in light, in dark, and on a phone.
    pub fn shots(&self, name: &str) -> Result<()> {
        self.shot(&format!("{name}-light"))?;
        self.prefer("dark")?;
        self.shot(&format!("{name}-dark"))?;
        self.prefer("light")?;
        self.resize(360, 1400, true)?;
        self.shot(&format!("{name}-phone"))?;
        let script = "return document.documentElement.scrollWidth";
        let width = self.runtime.block_on(self.client.execute(script, Vec::new()))?;
        ensure!(width.as_u64().is_some_and(|width| width <= 360), "{name} is {width} wide on a phone");
        self.resize(1280, 900, false)
    }

    /// Whether the page keeps what we promise: no script error, nothing from elsewhere, nothing that keeps people out.
    pub fn check(&self, name: &str) -> Result<()> {
        for scheme in ["light", "dark"] {
            self.prefer(scheme)?;
            let script = format!(
                "{AXE}; const done = arguments[arguments.length - 1];
                axe.run().then((found) => done(found.violations
                    .filter((one) => ['serious', 'critical'].includes(one.impact))
                    .map((one) => one.id + ': ' + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | '))),
                    (error) => done([String(error)]));"
            );
            let found = self.runtime.block_on(self.client.execute_async(&script, Vec::new()))?;
            ensure!(found == json!([]), "{name} in {scheme}: {found:#}");
        }
        self.prefer("light")?;
        let script = "return performance.getEntriesByType('resource').map((entry) => entry.name)";
        let loaded = self.runtime.block_on(self.client.execute(script, Vec::new()))?;
        let loaded: Vec<_> = loaded.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        ensure!(!loaded.is_empty(), "{name} has loaded nothing, not even its style sheet");
        ensure!(loaded.iter().all(|url| url.starts_with(URL)), "{name} loads {loaded:?}");
        let log =
            curl(&format!("{DRIVER}/session/{}/se/log", self.session), Some(&json!({ "type": "browser" })))?;
        // A page that refuses has a status that says so, which the browser notes as well; that is no mistake.
        let entries = log["value"].as_array().context("no log")?.iter();
        let complaints: Vec<_> = entries.filter(|entry| entry["source"] != "network").collect();
        ensure!(complaints.is_empty(), "{name} complains: {complaints:#?}");
        Ok(())
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Result<()> {
        let url = format!("{DRIVER}/session/{}/goog/cdp/execute", self.session);
        let answer = curl(&url, Some(&json!({ "cmd": command, "params": parameters })))?;
        ensure!(answer["value"].get("error").is_none(), "{command}: {answer}");
        Ok(())
    }

    /// Closes it.
    pub fn close(self) -> Result<()> {
        Ok(self.runtime.block_on(self.client.clone().close())?)
    }
}

/// Asks the driver what its protocol's standard does not know.
fn curl(url: &str, body: Option<&Value>) -> Result<Value> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30"]);
    if let Some(body) = body {
        command.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
    }
    let output = command.arg(url).output()?;
    ensure!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where pictures are kept: in the target folder that the test was built in.
fn shots() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().find(|path| path.ends_with("target"));
    let shots = target.map_or_else(std::env::temp_dir, PathBuf::from).join("web");
    fs::create_dir_all(&shots)?;
    Ok(shots)
}
