//! Messages with attachments, as honest programs write them and as others do.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn read_in(message: &[u8], cut: usize, stuffed: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut reader = MimeReader::new(stuffed);
    for part in message.chunks(cut.max(1)) {
        reader.read(part, &mut |finding| found.push(finding));
    }
    reader.finish(&mut |finding| found.push(finding));
    found
}

/// The names in a message, each once.
fn names(message: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for finding in read_in(message.replace('\n', "\r\n").as_bytes(), usize::MAX, true) {
        if let Finding::Name(name) = finding {
            let name = String::from_utf8_lossy(&name).into_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

fn multipart(part: &str) -> String {
    format!(
        "From: a@b\nContent-Type: multipart/mixed;\n boundary=\"b1\"\n\npreamble\n--b1\nContent-Type: text/plain\n\nHello\n--b1\n{part}\n\nTVqQ\n--b1--\nepilogue\n"
    )
}

#[test]
fn a_name_is_found_however_it_is_written() {
    for header in [
        "Content-Disposition: attachment; filename=evil.exe",
        "Content-Disposition: attachment; filename=\"evil.exe\"",
        "content-disposition : ATTACHMENT ; FileName = \"evil.exe\" ; size=1",
        "Content-Type: application/octet-stream; name=\"evil.exe\"",
        "Content-Type: application/octet-stream;\n\tname=\"evil.exe\"",
        "Content-Type: application/octet-stream;\n name\n =\n evil.exe",
        "Content-Type: application/octet-stream (a; name=\"b\") ; name=(x)evil.exe",
        "Content-Type: application/octet-stream name=evil.exe",
        "Content-Disposition: filename=evil.exe",
        "Content-Disposition: attachment; filename=\"=?utf-8?B?ZXZpbC5leGU=?=\"",
        "Content-Disposition: attachment; filename==?utf-8?Q?evil=2Eexe?=",
        "Content-Disposition: attachment; filename=\"=?utf-8?Q?evil?=\n =?utf-8?Q?=2Eexe?=\"",
        "Content-Disposition: attachment; filename*=utf-8''evil%2Eexe",
        "Content-Disposition: attachment; filename*0=ev; filename*1=\"il.exe\"",
        "Content-Disposition: attachment; filename*1=.exe; filename*0=evil",
        "Content-Disposition: attachment; filename*0*=utf-8''ev; filename*1*=il%2E; filename*2=exe",
        "Content-Disposition: attachment; filename=\"ev\\il.exe\"",
        "Content-Disposition: attachment; filename=\"evil.exe",
        "Content-Disposition: attachment; filename=\"evil.exe; x=y",
        "Content-Disposition: attachment; filename=evil.exe foo",
        "Content-Disposition: attachment; filename=\"evil.exe\" (a comment)",
        "Content-Type: text/plain\nContent-Disposition: inline; filename=a.txt; filename=evil.exe",
        "Content-Type: text/plain; name=a.txt\nContent-Type: text/plain; name=evil.exe",
        "this line is no field\nContent-Type: text/plain; name=evil.exe",
        ".Content-Type: text/plain; name=evil.exe",
    ] {
        assert!(
            names(&multipart(header)).contains(&"evil.exe".into()),
            "{header}: {:?}",
            names(&multipart(header))
        );
    }
}

#[test]
fn padding_hides_nothing() {
    let padding = "x".repeat(100_000);
    let header = format!(
        "X-Long: {padding}\nContent-Type: a/b; pad=\"{padding}\";\n{} name=evil.exe",
        " y;\n".repeat(1000)
    );
    assert_eq!(names(&multipart(&header)), ["evil.exe"]);
    let long = format!("Content-Type: a/b; name=\"{padding}.exe\"");
    assert!(read_in(multipart(&long).as_bytes(), 7, true).contains(&Finding::Unreadable));
    let parts = (0..100).map(|part| format!("; name*{part}=a")).collect::<Vec<_>>().concat();
    assert!(
        read_in(format!("Content-Type: a/b{parts}\r\n\r\n").as_bytes(), 7, true)
            .contains(&Finding::Unreadable)
    );
}

#[test]
fn parts_are_found_in_parts_and_in_messages() {
    let inner = "Content-Type: multipart/alternative; boundary=b2\n\n--b2\nContent-Type: message/rfc822\n\nSubject: x\nContent-Type: multipart/mixed; boundary*0=b; boundary*1=3\n\n--b3\nContent-Disposition: attachment; filename=evil.exe\n\nx\n--b3--\n--b2--";
    assert_eq!(names(&multipart(inner)), ["evil.exe"]);
    let digest = "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: x\nContent-Type: a/b; name=evil.exe\n\nx\n--d--\n";
    assert_eq!(names(digest), ["evil.exe"]);
    assert_eq!(names("Subject: x\nContent-Type: a/b; name=evil.exe\n\nname=other.exe\n"), ["evil.exe"]);
    assert_eq!(
        names("Content-Type: a/b;\n name=evil.exe"),
        ["evil.exe"],
        "a message that ends in its headers"
    );
}

#[test]
fn broken_boundaries_hide_nothing() {
    for message in [
        "Content-Type: multipart/mixed\n\n--x\nContent-Type: a/b; name=evil.exe\n\n--x--\n",
        "Content-Type: multipart/mixed; boundary=x\nContent-Type: multipart/mixed; boundary=y\n\n--x\nContent-Type: a/b; name=evil.exe\n\n",
        "Content-Type: multipart/mixed; boundary=x\n\n--x--\n--x\nContent-Type: a/b; name=evil.exe\n\n",
        "Content-Type: multipart/mixed; boundary=x\n\n--xyz\nContent-Type: a/b; name=evil.exe\n\n",
        "Content-Type: multipart/mixed; boundary=x\n--x  \nContent-Type: a/b; name=evil.exe\n\n",
        "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: a/b; name=evil.exe\n\n",
        "Content-Type: multipart / mixed; boundary=x\n\n.--x\nContent-Type: a/b; name=evil.exe\n\n",
    ] {
        assert_eq!(names(message), ["evil.exe"], "{message}");
    }
    let long = "y".repeat(500);
    let message = format!(
        "Content-Type: multipart/mixed; boundary={long}\n\n--{long}\nContent-Type: a/b; name=evil.exe\n\n"
    );
    assert_eq!(names(&message), ["evil.exe"]);
}

#[test]
fn what_only_looks_like_a_part_is_none() {
    for message in [
        "Subject: name=evil.exe\n\nContent-Type: a/b; name=evil.exe\n",
        "Content-Type: text/plain\n\n--b1\nContent-Type: a/b; name=evil.exe\n",
        "Content-Type: multipart/mixed; boundary=x\n\n--y\nContent-Type: a/b; name=evil.exe\n\n",
        "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nContent-Disposition: a; filename=evil.exe\n",
        "X-Content-Type: a/b; name=evil.exe\n\n",
    ] {
        assert!(names(message).is_empty(), "{message}");
    }
}

#[test]
fn a_part_of_a_cut_message_is_told_of() {
    let message = b"Content-Type: Message/Partial; number=1; total=2; id=x\r\n\r\nx";
    assert_eq!(read_in(message, 3, true), [Finding::Partial]);
}

#[test]
fn a_nesting_beyond_all_bounds_is_told_of() {
    let open = |number| format!("Content-Type: multipart/mixed; boundary=b{number}\r\n\r\n--b{number}\r\n");
    let nested = |depth: u32| (0..depth).map(open).collect::<String>();
    assert!(read_in(nested(90).as_bytes(), usize::MAX, true).is_empty());
    assert!(read_in(nested(110).as_bytes(), usize::MAX, true).contains(&Finding::Unreadable));
}

#[test]
fn only_stuffed_lines_lose_their_dot() {
    let message = b".Content-Type: a/b; name=evil.exe\r\n\r\n";
    assert_eq!(read_in(message, 5, false), []);
    assert_eq!(read_in(message, 5, true), [Finding::Name(b"evil.exe".to_vec())]);
}

proptest! {
    /// However a message is cut, the same is found.
    #[test]
    fn cuts_do_not_matter(parts in proptest::collection::vec(prop::sample::select(alloc::vec![
        "Content-Type: ", "multipart/mixed; boundary=b\r\n", "a/b; name=\"x.exe\"", "; filename*0=a; filename*1*=%2e", "\r\n", "\r\n\r\n",
        "--b", "--b--", "--", "-", "\r", "\n", ".", " ", "\t", ";", "\"", "\\", "(", ")", "message/rfc822", "Content-Disposition: x; ", "filename=", "=?utf-8?B?ZXZpbA==?=",
    ]), 0..40), cut in 1_usize..7, stuffed: bool) {
        let message = parts.concat();
        prop_assert_eq!(read_in(message.as_bytes(), usize::MAX, stuffed), read_in(message.as_bytes(), cut, stuffed));
    }

    /// No bytes bring the reader down or make it keep more than its bounds.
    #[test]
    fn noise_is_survived(message in proptest::collection::vec(any::<u8>(), 0..2000), cut in 1_usize..100) {
        let found = read_in(&[&b"Content-Type: multipart/x; boundary="[..], &message].concat(), cut, true);
        prop_assert!(found.iter().all(|finding| !matches!(finding, Finding::Name(name) if name.len() > VALUE_LIMIT * 2)));
    }
}
