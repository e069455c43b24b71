//! Lines, commands, replies, bodies and MIME.

use bytes::BytesMut;
use filter_core::detect::{self, Stage};
use filter_core::smtp::body::{BodyScanner, StrayEnds};
use filter_core::smtp::bounds::{Bounds, LineEnds};
use filter_core::smtp::command::{Verb, announced_size};
use filter_core::smtp::ehlo::{Auth, Offer, StartTls};
use filter_core::smtp::mender::Mender;
use filter_core::smtp::mime::{Finding, MimeReader};
use filter_core::smtp::{ehlo, line, reply};

/// A line ends where it says, is no longer than the limit, and holds no other end.
pub(crate) fn line(data: &[u8]) {
    let Some((limit, bytes)) = data.split_first() else { return };
    let limit = usize::from(*limit) + 2;
    for ends in [LineEnds::Reject, LineEnds::Normalize] {
        if let line::Front::Line(size) = line::front_ended(bytes, limit, ends) {
            let line = &bytes[..size];
            let strict = line.ends_with(b"\r\n");
            assert!(size <= limit && line.ends_with(b"\n") && (strict || ends == LineEnds::Normalize));
            let inner = &line[..size - if strict { 2 } else { 1 }];
            assert!(!inner.iter().any(|byte| b"\r\n\0".contains(byte)));
        }
    }
}

/// A verb that is passed on stands at the beginning of a line without control characters.
pub(crate) fn command(data: &[u8]) {
    let verb = Verb::of(data);
    let text = data.strip_suffix(b"\r\n").unwrap_or(data);
    if verb != Verb::Malformed {
        assert!(!text.iter().any(u8::is_ascii_control) && text[0].is_ascii_alphabetic());
    }
    let _ = announced_size(data);
    assert!(detect::memorable(verb, data).len() <= data.len());
    let _ = detect::gist(data);
}

/// A reply is a prefix of what came; what is made of a reply to EHLO is a reply, and narrowing it once more changes nothing.
pub(crate) fn reply(data: &[u8]) {
    let Ok(Some(found)) = reply::front(data) else { return };
    assert!(data.starts_with(found.bytes) && found.bytes.ends_with(b"\r\n"));
    for stage in
        [Stage::Connect, Stage::Helo, Stage::Auth, Stage::Mail, Stage::Rcpt, Stage::Message, Stage::Other]
    {
        let kind = detect::offence(stage, &found, &[]);
        assert!(found.is_refusal() || kind.is_none());
    }
    let bounds = Bounds { message_size: 1000, recipients: 100, ..Bounds::default() };
    let offer = Offer { starttls: StartTls::Nobodys, auth: Auth::Unbound };
    let narrowed = ehlo::narrow(found.bytes, offer, &bounds);
    let again = reply::front(&narrowed).ok().flatten();
    assert!(again.is_some_and(|again| again.bytes == narrowed && again.code == found.code));
    assert_eq!(ehlo::narrow(&narrowed, offer, &bounds), narrowed);
}

/// What is mended is clean, and has the one end that the message has, however it is cut.
pub(crate) fn body(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let cut = usize::from(*cut).max(1);
    let mut whole = BytesMut::new();
    let mended = Mender::new(0).mend(bytes, &mut whole);
    let scanned = BodyScanner::new(0).scan(&whole).expect("what was mended has no fault");
    assert_eq!((scanned.length, scanned.ended), (whole.len(), mended.ended));
    let (mut mender, mut pieces, mut taken) = (Mender::new(0), BytesMut::new(), 0);
    for part in bytes.chunks(cut) {
        let mended = mender.mend(part, &mut pieces);
        taken += mended.taken;
        if mended.ended {
            break;
        }
    }
    assert_eq!((pieces, taken), (whole.clone(), mended.taken));
    if let Ok(scanned) = BodyScanner::new(0).scan(bytes) {
        // What needs no mending is not touched, but for what is held back at its end.
        assert_eq!(scanned.ended, mended.ended);
        assert!(bytes.starts_with(&whole) && scanned.length - whole.len() <= 2);
    }
    let mut folded = BytesMut::new();
    Mender::new(100).mend(bytes, &mut folded);
    BodyScanner::new(100).scan(&folded).expect("what was folded has no long line");
    let mut ends = StrayEnds::default();
    let in_pieces = bytes.chunks(cut).try_for_each(|part| ends.check(part));
    assert_eq!(in_pieces, StrayEnds::default().check(bytes));
}

/// The same names are found, however a message is cut.
pub(crate) fn mime(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let find = |cut: usize| {
        let (mut found, mut reader) = (Vec::new(), MimeReader::new(cut.is_multiple_of(2)));
        let mut note = |finding: Finding| found.push(format!("{finding:?}"));
        for part in bytes.chunks(cut.max(1)) {
            reader.read(part, &mut note);
        }
        reader.finish(&mut note);
        found
    };
    // Whether dots are stuffed is told by the parity, which the two sizes share.
    let parity = usize::from(*cut) % 2;
    assert_eq!(find(usize::from(*cut)), find((1 << 20) | parity));
}
