//! What Dovecot says of a login: any JSON, and a login of an account that a client chose.

use filter_core::client::ClientAddr;
use filter_core::offence::{ACCOUNT_LIMIT, DETAIL_LIMIT, Offence};
use filter_core::report::dovecot::{Login, Outcome};
use filter_core::smtp::login::LoginKey;
use serde_json::json;

const KEY: LoginKey = LoginKey(1, 2);

/// Whatever is read comes to printable text of bounded length; whatever account a client chooses, the client is the one that Dovecot names, and
/// the same wrong password is the same.
pub(crate) fn auth_policy(data: &[u8]) {
    if let Ok(login) = serde_json::from_slice::<Login>(data) {
        let _ = login.client();
        failure(&login);
    }
    let account = String::from_utf8_lossy(data);
    let login = |hash: &str| {
        let text = json!({ "login": account, "remote": "203.0.113.7", "protocol": account, "pwhash": hash })
            .to_string();
        let login: Login = serde_json::from_str(&text).expect("what was written is read");
        assert_eq!(login.client(), Some(ClientAddr::new([203, 0, 113, 7].into())));
        failure(&login).expect("it neither says that it went well nor why it did not").credentials
    };
    let credentials = login("00a1");
    assert!(credentials.is_some());
    assert_eq!(credentials, login("00a1"));
    assert_ne!(credentials, login("00a2"));
}

fn failure(login: &Login) -> Option<Offence> {
    let Some(Outcome::Failure(offence)) = login.outcome(KEY) else { return None };
    assert!(offence.detail.is_ascii() && offence.detail.len() <= DETAIL_LIMIT);
    assert!(
        offence.account.as_ref().is_none_or(|account| account.is_ascii() && account.len() <= ACCOUNT_LIMIT)
    );
    Some(offence)
}
