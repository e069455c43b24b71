//! Reports of other programs: lines and JSON.

use filter_core::client::ClientAddr;
use filter_core::report::{Request, Source};
use filter_core::smtp::login::LoginKey;

const KEY: LoginKey = LoginKey(1, 2);

/// What is taken as a line is taken as JSON and comes to the same; and whatever stands in a value, quoted as it must be or not, names nobody else.
pub(crate) fn report(data: &[u8]) {
    if let Ok(request) = Request::from_line(data) {
        let json = serde_json::to_vec(&request).expect("a request is JSON");
        let again: Request = serde_json::from_slice(&json).expect("what was written is read");
        assert_eq!(again, request);
        assert_eq!(again.read(Source::Program, KEY), request.read(Source::Program, KEY));
    }
    if let Ok(request) = serde_json::from_slice::<Request>(data)
        && let Ok(report) = request.read(Source::Program, KEY)
    {
        assert!(report.offence.detail.is_ascii() && report.told.count > 0);
    }
    let own = ClientAddr::new([203, 0, 113, 7].into());
    let line = |account: &[u8]| [b"address=203.0.113.7 service=webmail account=\"", account, b"\""].concat();
    let quoted = data.iter().flat_map(|byte| match byte {
        b'"' | b'\\' => vec![b'\\', *byte],
        byte => vec![*byte],
    });
    let quoted: Vec<u8> = quoted.collect();
    for account in [data, &quoted] {
        if let Ok(report) =
            Request::from_line(&line(account)).and_then(|request| request.read(Source::Program, KEY))
        {
            assert_eq!(report.who, own);
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && text.len() <= 500
        && !text.chars().any(char::is_control)
        && let Ok(request) = Request::from_line(&line(&quoted))
    {
        assert_eq!(request.account, text, "what is quoted comes back");
    }
}
