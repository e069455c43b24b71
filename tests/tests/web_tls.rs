//! The web admin with a certificate of its own: what browsers are told then, and how the certificate changes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask, cli, config_of};
use filter_tests::in_world;
use filter_tests::postfix::Postfix;
use filter_tests::process::wait_until;
use filter_tests::web::{Answer, SECTION, add_user, ask as ask_plainly, ask_from, token};
use filter_tests::world::{GATEWAY_V4, World};

const SIGN_IN: [&str; 4] = ["-d", "name=anna", "--data-urlencode", "password=four words in a row"];
/// The name in the first certificate, and in the one after it.
const NAMES: [&str; 2] = ["gate.example.test", "new.example.test"];

/// Section `[web]` on the internet side with a certificate of the Postfix's own authority.
fn section(postfix: &Postfix) -> Result<String> {
    let (certificate, key) = postfix.authority().sign("web", &NAMES[..1])?;
    Ok(format!(
        "[web]\nlisten = \"{GATEWAY_V4}:8025\"\nhost_names = [\"{}\", \"{}\"]\n\
         certificates = [{{ certificate = \"{}\", key = \"{}\" }}]\n",
        NAMES[0],
        NAMES[1],
        certificate.display(),
        key.display()
    ))
}

/// Asks from the internet by TLS, believing the authority, for the host of this name.
fn secured(world: &World, name: &str, path: &str, authority: &Path, arguments: &[&str]) -> Result<Answer> {
    let resolve = format!("{name}:8025:{GATEWAY_V4}");
    let authority = authority.to_string_lossy();
    let trust = ["--cacert", &authority, "--resolve", &resolve];
    ask_from(&world.internet, &format!("https://{name}:8025{path}"), &[&trust[..], arguments].concat())
}

#[test]
fn with_a_certificate_the_pages_are_read_by_tls_and_by_nothing_else() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, &section(postfix)?)?;
        add_user(world, "anna", "operator")?;
        let viewer = token(world, "grafana", "viewer")?;
        let ca = postfix.authority().file();
        let answer = secured(world, NAMES[0], "/api/v1/status", &ca, &["-H", &viewer])?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(answer.head.contains("strict-transport-security: max-age=2592000\r\n"), "{}", answer.head);
        ensure!(answer.body.contains(&format!("https://{GATEWAY_V4}:8025")), "{}", answer.body);
        let answer = secured(world, NAMES[0], "/sign-in", &ca, &SIGN_IN)?;
        ensure!(answer.status == 303 && answer.head.contains("; secure\r\n"), "{answer:?}");
        let cookie = format!("Cookie: {}", answer.cookie()?);
        for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
            let page = secured(world, NAMES[0], "/", &ca, &[&["-H", &cookie], version].concat())?;
            ensure!(page.status == 200 && page.body.contains("Sign out"), "{page:?}");
        }

        // More than fits into any buffer, both ways.
        let networks: Vec<_> = (0..1000)
            .map(|number| format!(r#"{{"network":"198.18.{}.{}"}}"#, number / 250, number % 250))
            .collect();
        let file = world.scratch().join("entries.json");
        fs::write(&file, format!(r#"{{"entries":[{}]}}"#, networks.join(",")))?;
        let operator = token(world, "importer", "operator")?;
        let data = format!("@{}", file.display());
        let import = ["-H", &operator, "-H", "Content-Type: application/json", "--data-binary", &data];
        let answer = secured(world, NAMES[0], "/api/v1/blocks/import", &ca, &import)?;
        ensure!(answer.status == 200, "{answer:?}");
        let answer = secured(world, NAMES[0], "/api/v1/blocks", &ca, &["-H", &viewer])?;
        ensure!(answer.body.len() > 100_000, "{} bytes", answer.body.len());
        let list: serde_json::Value = serde_json::from_str(&answer.body)?;
        ensure!(list.as_array().is_some_and(|list| list.len() == 1000), "the list is cut");

        let plain = ask_from(&world.internet, &format!("http://{GATEWAY_V4}:8025/"), &[])?;
        ensure!(plain.status == 400 && plain.body.contains("https://"), "{plain:?}");
        let distrust = world.internet.enter(|| {
            Ok(Command::new("curl").args(["-sS", &format!("https://{GATEWAY_V4}:8025/")]).output()?)
        })?;
        ensure!(!distrust.status.success(), "a certificate of nobody's authority is believed");
        let status = String::from_utf8(cli(world, &["status"])?.stdout)?;
        ensure!(status.contains("gate.example.test, until"), "{status}");
        Ok(())
    });
}

#[test]
fn new_certificates_are_presented_and_broken_ones_are_not() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, &section(postfix)?)?;
        let viewer = token(world, "grafana", "viewer")?;
        let ca = postfix.authority().file();
        let asks = |name: &str| Ok(secured(world, name, "/api/v1", &ca, &["-H", &viewer]).is_ok());
        ensure!(asks(NAMES[0])? && !asks(NAMES[1])?, "the first certificate is for another name");
        let (_, key) = postfix.authority().sign("web", &NAMES[1..])?;
        wait_until("the new certificate", Duration::from_secs(20), || asks(NAMES[1]))?;
        fs::write(&key, "no key")?;
        wait_until("the complaint", Duration::from_secs(20), || {
            Ok(ask(world, &["status"])?["web"]["certificate_problem"].is_string())
        })?;
        ensure!(asks(NAMES[1])?, "the certificate before is no longer presented");
        let reload = cli(world, &["reload"])?;
        let said = String::from_utf8(reload.stderr)?;
        ensure!(!reload.status.success() && said.contains("[web]: certificates: "), "{said}");
        postfix.authority().sign("web", &NAMES[1..])?;
        ensure!(cli(world, &["reload"])?.status.success(), "the mended files are refused");
        ensure!(ask(world, &["status"])?["web"]["certificate_problem"].is_null(), "it still complains");
        Ok(())
    });
}

#[test]
fn a_certificate_that_cannot_be_used_is_found_before_the_start() {
    in_world(|world, postfix| {
        let _agent = Agent::start(world, SECTION)?;
        let check = |sections: &str| -> Result<(Option<i32>, String)> {
            let file = config_of(world).with_file_name("other.toml");
            fs::write(&file, sections)?;
            let output = cli(world, &["check-config", &file.to_string_lossy()])?;
            let said = [output.stdout, output.stderr].concat();
            Ok((output.status.code(), String::from_utf8(said)?))
        };
        let good = section(postfix)?;
        let (code, said) = check(&good)?;
        ensure!(code == Some(0) && said.contains("TLS with our certificate"), "{said}");
        ensure!(said.contains("gate.example.test, until"), "{said}");
        postfix.authority().sign("other", &["other.example.test"])?;
        let (code, said) = check(&good.replace("web.key", "other.key"))?;
        ensure!(
            code == Some(2) && said.contains("[web]: certificates: ") && said.contains("does not fit"),
            "{said}"
        );
        let (code, said) = check(&good.replace("web.pem", "none.pem"))?;
        ensure!(code == Some(2) && said.contains("none.pem"), "{said}");
        let (code, said) = check(&format!("[web]\nlisten = \"{GATEWAY_V4}:8025\"\n"))?;
        ensure!(code == Some(2) && said.contains("in the clear") && said.contains("certificates"), "{said}");

        // Plain on loopback stays as it was, and promises nothing.
        add_user(world, "anna", "viewer")?;
        let answer = ask_plainly(world, "/sign-in", &SIGN_IN)?;
        ensure!(answer.status == 303, "{answer:?}");
        ensure!(!answer.head.contains("; secure") && !answer.head.contains("strict-transport"), "{answer:?}");
        Ok(())
    });
}
