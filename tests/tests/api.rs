//! Every route of the API over both sockets, as its own description says: good, bad, oversized, unauthenticated and of the wrong
//! role. A route that is described and has no example here fails.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use filter_tests::agent::{Agent, config_of};
use filter_tests::client::Client;
use filter_tests::in_world;
use filter_tests::web::{HURRIED, URL, token};
use filter_tests::world::World;
use serde_json::Value;

/// A request that succeeds: the name of its operation, its address and its body. In the order in which they do.
const EXAMPLES: [(&str, &str, &str); 38] = [
    ("get", "/api/v1", ""),
    ("get-openapi-json", "/api/v1/openapi.json", ""),
    ("get-status", "/api/v1/status", ""),
    ("get-nearest", "/api/v1/nearest", ""),
    ("get-statistics", "/api/v1/statistics", ""),
    ("get-sessions", "/api/v1/sessions?sort=age&descending=true&network=203.0.113.0/24&limit=5", ""),
    ("delete-sessions", "/api/v1/sessions?network=203.0.113.60", ""),
    ("post-blocks", "/api/v1/blocks", r#"{"network":"203.0.113.61","minutes":5}"#),
    ("patch-blocks", "/api/v1/blocks?network=203.0.113.61", r#"{"minutes":90,"comment":"longer"}"#),
    ("get-blocks", "/api/v1/blocks", ""),
    (
        "get-blocks-search",
        "/api/v1/blocks/search?q=LONGER&origin=manual&sort=until&limit=5&network=203.0.113.0/24",
        "",
    ),
    ("get-blocks-test", "/api/v1/blocks/test?address=203.0.113.61", ""),
    ("get-why", "/api/v1/why?address=203.0.113.61", ""),
    ("delete-blocks", "/api/v1/blocks?network=203.0.113.61", ""),
    (
        "post-blocks-import",
        "/api/v1/blocks/import",
        r#"{"entries":[{"network":"203.0.113.62"}],"dry_run":true}"#,
    ),
    ("post-never", "/api/v1/never", r#"{"network":"203.0.113.63"}"#),
    ("patch-never", "/api/v1/never?network=203.0.113.63", r#"{"comment":"ours"}"#),
    ("get-never", "/api/v1/never", ""),
    ("delete-never", "/api/v1/never?network=203.0.113.63", ""),
    ("post-never-import", "/api/v1/never/import", r#"{"entries":[]}"#),
    ("get-events", "/api/v1/events?limit=3&kind=blocked", ""),
    ("get-events-follow", "/api/v1/events/follow?after=0", ""),
    ("get-policy", "/api/v1/policy", ""),
    ("get-config", "/api/v1/config", ""),
    (
        "post-replay",
        "/api/v1/replay",
        r#"{"since":86400,"settings":{"client_error_block_threshold":500,"client_error_block_time":"2h"}}"#,
    ),
    ("post-reload", "/api/v1/reload", ""),
    ("post-users", "/api/v1/users", r#"{"name":"bert","role":"viewer","password":"five words in a row"}"#),
    (
        "post-users-password",
        "/api/v1/users/password",
        r#"{"name":"bert","password":"six other words in a row"}"#,
    ),
    ("get-users", "/api/v1/users", ""),
    ("delete-users", "/api/v1/users?name=bert", ""),
    ("post-tokens", "/api/v1/tokens", r#"{"name":"other","role":"viewer","minutes":5}"#),
    ("get-tokens", "/api/v1/tokens", ""),
    ("delete-tokens", "/api/v1/tokens?name=other", ""),
    ("get-audit", "/api/v1/audit", ""),
    ("get-metrics", "/metrics", ""),
    ("get-health-live", "/health/live", ""),
    ("get-health-ready", "/health/ready", ""),
    ("post-reports", "/api/v1/reports", r#"{"address":"203.0.113.77","service":"webmail","account":"x"}"#),
];

/// Which socket, and who.
#[derive(Clone, Copy)]
enum Way<'a> {
    Control,
    /// With this header, if any.
    Tcp(&'a str),
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

impl Answer {
    /// Whether it is a problem of this status, in the words of RFC 9457.
    fn is_problem(&self, status: u16) -> bool {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        self.status == status
            && self.kind == "application/problem+json"
            && body["status"] == status
            && body["detail"].as_str().is_some_and(|detail| !detail.is_empty())
    }
}

fn ask(world: &World, way: Way<'_>, method: &str, path: &str, arguments: &[&str]) -> Result<Answer> {
    let file = world.scratch().join("answer");
    let _ = fs::remove_file(&file);
    let output = world.gateway.enter(|| {
        let mut curl = Command::new("curl");
        // What is followed never ends by itself.
        let patience = if path.contains("/follow") { "2" } else { "60" };
        curl.args(["-s", "-X", method, "-w", "%{http_code} %{content_type}", "--max-time", patience, "-o"]);
        curl.arg(&file).args(arguments);
        match way {
            Way::Control => {
                let socket = config_of(world).with_file_name("state").join("control.sock");
                curl.arg("--unix-socket").arg(socket).arg(format!("http://gatepost{path}"))
            }
            Way::Tcp("") => curl.arg(format!("{URL}{path}")),
            Way::Tcp(header) => curl.args(["-H", header]).arg(format!("{URL}{path}")),
        };
        Ok(curl.output()?)
    })?;
    let said = String::from_utf8(output.stdout)?;
    let (status, kind) = said.split_once(' ').with_context(|| format!("curl said {said:?}"))?;
    let body = fs::read_to_string(&file).unwrap_or_default();
    Ok(Answer { status: status.parse()?, kind: kind.to_owned(), body })
}

const JSON: [&str; 2] = ["-H", "Content-Type: application/json"];

/// Sends a body as JSON, if there is one.
fn send(world: &World, way: Way<'_>, method: &str, path: &str, body: &str) -> Result<Answer> {
    if body.is_empty() {
        return ask(world, way, method, path, &[]);
    }
    ask(world, way, method, path, &[&JSON[..], &["-d", body]].concat())
}

/// Every operation of the document: its name, method, path and description.
fn operations(document: &Value) -> Result<Vec<(String, String, String, Value)>> {
    let paths = document["paths"].as_object().context("no paths")?;
    let all = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, operation)| {
            let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
            (name, method.to_uppercase(), path.clone(), operation.clone())
        })
    });
    Ok(all.collect())
}

fn document(world: &World) -> Result<Value> {
    let answer = ask(world, Way::Control, "GET", "/api/v1/openapi.json", &[])?;
    ensure!(answer.status == 200 && answer.kind == "application/json", "{answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

/// Whether an answer is of the form that its route has.
fn check_kind(name: &str, answer: &Answer) -> Result<()> {
    let (kind, word) = match name {
        "get-events-follow" => ("text/event-stream", "\"event\":\"blocked\""),
        "get-metrics" => ("text/plain", "gatepost_build_info"),
        _ => ("application/json", ""),
    };
    ensure!(answer.kind.split(';').next() == Some(kind), "{name}: {answer:?}");
    ensure!(answer.body.contains(word), "{name}: {answer:?}");
    let is_json = serde_json::from_str::<Value>(&answer.body).is_ok();
    ensure!(is_json == (kind == "application/json"), "{name}: {answer:?}");
    Ok(())
}

#[test]
fn every_described_route_does_what_it_says_and_refuses_what_it_must() {
    in_world(|world, _| {
        let _agent = Agent::start(world, HURRIED)?;
        let document = document(world)?;
        ensure!(document["openapi"] == "3.1.0", "{document}");
        let operations = operations(&document)?;
        let described: BTreeSet<&str> = operations.iter().map(|(name, ..)| name.as_str()).collect();
        let tried: BTreeSet<&str> = EXAMPLES.iter().map(|(name, ..)| *name).collect();
        ensure!(described == tried, "not the same: {:?}", described.symmetric_difference(&tried));
        let [viewer, operator, administrator] =
            ["viewer", "operator", "administrator"].map(|role| token(world, role, role));
        let (viewer, operator, administrator) = (viewer?, operator?, administrator?);
        let _open = Client::greeted(world, "203.0.113.60")?;

        for way in [Way::Control, Way::Tcp(&administrator)] {
            for (name, path, body) in EXAMPLES {
                let (_, method, ..) =
                    operations.iter().find(|(other, ..)| other == name).context("not described")?;
                let answer = send(world, way, method, path, body)?;
                ensure!(answer.status == 200, "{name}: {answer:?}");
                check_kind(name, &answer)?;
            }
        }
        let large = world.scratch().join("large");
        for (name, method, path, operation) in &operations {
            let example = EXAMPLES.iter().find(|(other, ..)| other == name).context("no example")?;
            let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
            let role = operation["x-role"].as_str().unwrap_or_default();
            ensure!(
                is_open != ["viewer", "operator", "administrator"].contains(&role),
                "{name}: {operation}"
            );
            ensure!(operation["responses"]["429"].is_object(), "{name}: {operation}");
            for (least, who) in [("operator", &viewer), ("administrator", &operator)] {
                if role == least {
                    let answer = send(world, Way::Tcp(who), method, example.1, example.2)?;
                    ensure!(answer.is_problem(403), "{name} for less than {role}: {answer:?}");
                }
            }
            let answer = send(world, Way::Tcp(""), method, example.1, example.2)?;
            let is_answered = if is_open { answer.status == 200 } else { answer.is_problem(401) };
            ensure!(is_answered, "{name} for nobody: {answer:?}");
            for way in [Way::Control, Way::Tcp(&administrator)] {
                let answer = ask(world, way, "PUT", path, &[])?;
                ensure!(answer.is_problem(405), "PUT {path}: {answer:?}");
                if operation["parameters"].is_array() {
                    let answer = send(world, way, method, &format!("{path}?nonsense=1"), example.2)?;
                    ensure!(answer.is_problem(400), "{name} with nonsense: {answer:?}");
                }
                if operation["requestBody"].is_object() {
                    let wrong = [("{", 400), ("{\"nonsense\":1}", 422), ("3", 422)];
                    for (body, status) in wrong {
                        let answer = send(world, way, method, example.1, body)?;
                        ensure!(answer.is_problem(status), "{name} with {body}: {answer:?}");
                    }
                    let answer =
                        ask(world, way, method, example.1, &["-H", "Content-Type: text/plain", "-d", "x"])?;
                    ensure!(answer.is_problem(415), "{name} as text: {answer:?}");
                    fs::write(&large, vec![b' '; 5 << 20])?;
                    let data = format!("@{}", large.display());
                    let answer =
                        ask(world, way, method, example.1, &[&JSON[..], &["--data-binary", &data]].concat())?;
                    ensure!(answer.is_problem(413), "{name} with 5 MiB: {answer:?}");
                }
            }
        }
        for way in [Way::Control, Way::Tcp(&administrator)] {
            let answer = ask(world, way, "GET", "/api/v1/nowhere", &[])?;
            ensure!(answer.is_problem(404), "{answer:?}");
            for (path, status) in [
                ("/api/v1/sessions?limit=0", 422),
                ("/api/v1/sessions?state=asleep", 400),
                ("/api/v1/why?address=nobody", 422),
                ("/api/v1/why", 400),
                ("/api/v1/events/follow?network=nobody", 422),
                ("/api/v1/blocks/test?address=203.0.113.0/24", 422),
            ] {
                let answer = ask(world, way, "GET", path, &[])?;
                ensure!(answer.is_problem(status), "{path}: {answer:?}");
            }
            for (path, body, status) in [
                ("/api/v1/blocks?network=203.0.113.99", r#"{"minutes":5}"#, 404),
                ("/api/v1/blocks?network=203.0.113.99", "{}", 422),
                ("/api/v1/never?network=127.0.0.0/8", r#"{"comment":"x"}"#, 409),
            ] {
                let answer = send(world, way, "PATCH", path, body)?;
                ensure!(answer.is_problem(status), "{path} {body}: {answer:?}");
            }
            let answer = ask(world, way, "DELETE", "/api/v1/sessions?id=999999", &[])?;
            ensure!(answer.is_problem(404), "{answer:?}");
            let answer = send(
                world,
                way,
                "POST",
                "/api/v1/replay",
                r#"{"settings":{"client_error_block_threshold":0}}"#,
            )?;
            ensure!(answer.is_problem(422), "{answer:?}");
        }
        Ok(())
    });
}

/// What schemathesis looks for. That only well-formed values are taken is for the test above: what makes a string an address is
/// no matter of a schema.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      unsupported_method";

#[test]
fn the_description_is_true_for_requests_that_nobody_thought_of() {
    in_world(|world, _| {
        let _agent = Agent::start(world, HURRIED)?;
        let administrator = token(world, "schemathesis", "administrator")?;
        let own = std::env::current_exe()?;
        let target = own.ancestors().nth(3).context("no target folder")?;
        let program = target.join("schemathesis/bin/schemathesis");
        ensure!(program.is_file(), "schemathesis is not installed; run `cargo xtask setup`");
        let started = Instant::now();
        let output = world.gateway.enter(|| {
            let mut command = Command::new(&program);
            command.args(["run", &format!("{URL}/api/v1/openapi.json"), "--header", &administrator]);
            command.args([
                "--checks",
                CHECKS,
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                "5",
            ]);
            command.args(["--max-time", "12", "--generation-deterministic", "--no-color", "--no-shrink"]);
            // It never ends, and is tried above; and its own token must not be revoked.
            command.args(["--exclude-path", "/api/v1/events/follow", "--exclude-path", "/api/v1/tokens"]);
            Ok(command.current_dir(world.scratch()).output()?)
        })?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let shots = target.join("web");
        fs::create_dir_all(&shots)?;
        fs::write(shots.join("schemathesis.txt"), &said)?;
        println!("schemathesis took {:?}", Duration::from_secs(started.elapsed().as_secs()));
        let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}\n{wrong}");
        Ok(())
    });
}
