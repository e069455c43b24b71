//! Who may ask over TCP, and what: users, tokens, roles, and what strangers hear.

use anyhow::{Result, ensure};
use filter_tests::agent::{Agent, ask as run, cli};
use filter_tests::client::{Attempt, Client};
use filter_tests::in_world;
use filter_tests::web::{PASSWORD, SECTION, add_user, ask, ask_from, cli_reading, token};

const SIGN_IN: [&str; 4] = ["-d", "name=anna", "--data-urlencode", "password=four words in a row"];

#[test]
fn nobody_is_answered_until_there_is_a_user_or_a_token() {
    in_world(|world, _| {
        let agent = Agent::start(world, SECTION)?;
        for path in ["/", "/sign-in", "/api/v1/status", "/nothing"] {
            let answer = ask(world, path, &[])?;
            ensure!(answer.status == 503 && answer.body.contains("gatepost user add"), "{path}: {answer:?}");
        }
        let viewer = token(world, "grafana", "viewer")?;
        ensure!(ask(world, "/api/v1/status", &["-H", &viewer])?.status == 200, "the token opens nothing");
        let answer = ask(world, "/api/v1/status", &[])?;
        ensure!(answer.status == 401 && answer.head.contains("application/problem+json"), "{answer:?}");
        ensure!(
            ask(world, "/api/v1/status", &["-H", "Authorization: Bearer x"])?.status == 401,
            "any token will do"
        );
        // It is still known after a restart, and not in the clear.
        agent.stop()?;
        let _agent = Agent::start_again(world)?;
        ensure!(ask(world, "/api/v1/status", &["-H", &viewer])?.status == 200, "the token is forgotten");
        let secret = viewer.rsplit(' ').next().unwrap_or_default();
        for file in std::fs::read_dir(world.scratch().join("state"))? {
            let path = file?.path();
            if path.is_file() {
                let bytes = std::fs::read(&path)?;
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                ensure!(!found, "the secret is in {}", path.display());
            }
        }
        run(world, &["token", "revoke", "grafana"])?;
        ensure!(ask(world, "/api/v1/status", &["-H", &viewer])?.status == 503, "a revoked token opens");
        Ok(())
    });
}

#[test]
fn each_role_may_do_what_it_may_and_no_more() {
    in_world(|world, _| {
        let _agent = Agent::start(world, SECTION)?;
        let roles = ["viewer", "operator", "administrator"];
        let tokens: Vec<_> = roles.iter().map(|role| token(world, role, role)).collect::<Result<_>>()?;
        let json = "Content-Type: application/json";
        let block = ["-H", json, "-d", r#"{"network":"203.0.113.50"}"#];
        let unblock = ["-X", "DELETE"];
        let user =
            ["-H", json, "-d", r#"{"name":"eve","role":"administrator","password":"four words in a row"}"#];
        let asks: [(&str, &[&str], [u16; 3]); 7] = [
            ("/api/v1/status", &[], [200, 200, 200]),
            ("/api/v1/why?address=203.0.113.50", &[], [200, 200, 200]),
            ("/api/v1/blocks", &block, [403, 200, 200]),
            ("/api/v1/blocks?network=203.0.113.50", &unblock, [403, 200, 404]),
            ("/api/v1/reload", &["-X", "POST"], [403, 403, 200]),
            ("/api/v1/users", &user, [403, 403, 200]),
            ("/api/v1/audit", &[], [403, 403, 200]),
        ];
        for (path, arguments, expected) in asks {
            for ((role, token), expected) in roles.iter().zip(&tokens).zip(expected) {
                let answer = ask(world, path, &[&["-H", token.as_str()], arguments].concat())?;
                // The block of the operator stands when the administrator makes it again.
                ensure!(answer.status == expected, "{role} {path}: {answer:?}");
            }
        }
        let trail = ask(world, "/api/v1/audit", &["-H", &tokens[2]])?.body;
        for part in [
            r#""author":"operator","origin":"127.0.0.1","what":"blocked 203.0.113.50 for 30m: "#,
            "made the user eve",
        ] {
            ensure!(trail.contains(part), "{part} is missing in {trail}");
        }
        ensure!(!trail.contains("four words"), "a password is in the audit trail");
        Ok(())
    });
}

#[test]
fn a_browser_is_let_in_by_a_password_and_changes_things_by_our_own_pages_only() {
    in_world(|world, _| {
        let _agent = Agent::start(world, SECTION)?;
        add_user(world, "anna", "operator")?;
        let sign_in = |more: &[&str]| ask(world, "/sign-in", &[&SIGN_IN, more].concat());
        ensure!(sign_in(&["-H", "Origin: http://evil.example"])?.status == 403, "a stranger's form signs in");
        ensure!(sign_in(&["-H", "Host: evil.example:8025"])?.status == 421, "a stranger's name is ours");
        let wrong = ask(world, "/sign-in", &["-d", "name=anna&password=wrong"])?;
        let nobody = ask(world, "/sign-in", &["-d", "name=nobody&password=wrong"])?;
        ensure!(wrong.status == 401 && nobody.status == 401, "{wrong:?} {nobody:?}");
        ensure!(wrong.body.replace("anna", "") == nobody.body.replace("nobody", ""), "it tells who exists");

        let answer = sign_in(&[])?;
        ensure!(answer.status == 303 && answer.head.contains("httponly; samesite=strict"), "{answer:?}");
        let cookie = format!("Cookie: {}", answer.cookie()?);
        let page = ask(world, "/", &["-H", &cookie])?;
        ensure!(page.status == 200, "{page:?}");
        for header in [
            "content-security-policy: default-src 'none'",
            "frame-ancestors 'none'",
            "nosniff",
            "no-store",
            "referrer-policy: same-origin",
        ] {
            ensure!(page.head.contains(header), "{header} is missing in {}", page.head);
        }
        ensure!(!page.head.contains("unsafe"), "{}", page.head);

        // Without what only our pages know, the cookie changes nothing.
        let csrf = format!("X-Gatepost-Csrf: {}", page.field("csrf")?);
        let json = "Content-Type: application/json";
        let block = ["-H", &cookie, "-H", json, "-d", r#"{"network":"203.0.113.50"}"#];
        ensure!(ask(world, "/api/v1/blocks", &block)?.status == 403, "a forged request changes something");
        let forged = ["-H", &csrf, "-H", "Sec-Fetch-Site: cross-site"];
        ensure!(ask(world, "/api/v1/blocks", &[&block[..], &forged].concat())?.status == 403, "cross-site");
        ensure!(ask(world, "/api/v1/blocks", &[&block[..], &["-H", &csrf]].concat())?.status == 200, "ours");
        let list = run(world, &["block", "list"])?;
        ensure!(list[0]["author"] == "anna", "{list}");

        // Signed out is signed out, also for who kept the cookie.
        let field = format!("csrf={}", page.field("csrf")?);
        ensure!(ask(world, "/sign-out", &["-H", &cookie, "-d", &field])?.status == 303, "sign-out");
        ensure!(ask(world, "/", &["-H", &cookie])?.status == 303, "the cookie still opens");
        Ok(())
    });
}

#[test]
fn whoever_tries_passwords_is_blocked_as_by_any_other_service() {
    in_world(|world, _| {
        let section = "[web]\nlisten = \"203.0.113.1:8025\"\ntrusted_proxies = \"198.51.100.2\"\n";
        let _agent = Agent::start(world, section)?;
        add_user(world, "anna", "viewer")?;
        let url = "http://203.0.113.1:8025/sign-in";
        let from = ["--interface", "203.0.113.21"];
        let attempt = |data: &[&str]| ask_from(&world.internet, url, &[&from, data].concat());
        let wrong = ["-d", "name=anna&password=wrong"];
        for number in 1..=9 {
            let expected = if number <= 5 { 401 } else { 429 };
            let answer = attempt(&wrong)?;
            ensure!(answer.status == expected, "attempt {number}: {answer:?}");
        }
        // Whom nobody has to wait for is not counted with him.
        let other =
            ask_from(&world.internet, url, &[&["--interface", "203.0.113.22"], &SIGN_IN[..]].concat())?;
        ensure!(other.status == 303, "{other:?}");
        attempt(&wrong)?;
        let answer = attempt(&SIGN_IN)?;
        ensure!(answer.status == 403 && answer.body.contains("Your address is blocked"), "{answer:?}");
        let silent = matches!(Client::attempt(world, "203.0.113.21")?, Attempt::Silence);
        ensure!(silent, "the block is not in the kernel");
        let why = run(world, &["why", "203.0.113.21"])?;
        ensure!(why["blocks"][0]["origin"] == "login", "{why}");
        Ok(())
    });
}

#[test]
fn bad_names_and_passwords_are_refused_in_a_sentence() {
    in_world(|world, _| {
        let _agent = Agent::start(world, SECTION)?;
        let check = |input: &str, arguments: &[&str], code: i32, word: &str| -> Result<()> {
            let output = cli_reading(world, input, arguments)?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(code), "{arguments:?}: {} {said}", output.status);
            ensure!(said.contains(word) && said.lines().count() == 1, "{arguments:?}: {said}");
            Ok(())
        };
        let add = ["user", "add", "anna", "--role", "viewer"];
        check("short\n", &add, 2, "at least 15")?;
        check("aaaaaaaaaaaaaaaaaaaa\n", &add, 2, "everybody tries")?;
        check("", &["user", "add", "an na", "--role", "viewer"], 2, "a name has")?;
        add_user(world, "anna", "viewer")?;
        check(PASSWORD, &add, 1, "already")?;
        check("", &["user", "remove", "bert"], 1, "no user `bert`")?;
        check("", &["token", "revoke", "none"], 1, "no token `none`")?;
        check("another four words here\n", &["user", "passwd", "bert"], 1, "no user `bert`")?;
        let sign_in = || ask(world, "/sign-in", &SIGN_IN);
        let cookie = format!("Cookie: {}", sign_in()?.cookie()?);
        let output = cli_reading(world, "another four words here\n", &["user", "passwd", "anna"])?;
        ensure!(output.status.success(), "{output:?}");
        ensure!(ask(world, "/", &["-H", &cookie])?.status == 303, "the old password still opens");
        ensure!(sign_in()?.status == 401, "the old password still signs in");
        ensure!(cli(world, &["user", "list"])?.status.success(), "no list");
        Ok(())
    });
}
