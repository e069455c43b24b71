//! Certificates out of files, and two layers that talk to each other without a socket.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use bytes::BufMut;
use filter_core::time::Timestamp;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use super::*;

const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Writes a certificate that signed itself, and its key.
fn certificate(folder: &Path, file: &str, names: &[&str]) -> CertificateFiles {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let files = CertificateFiles {
        certificate: folder.join(format!("{file}.pem")),
        key: folder.join(format!("{file}.key")),
    };
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

/// Lets two layers say what they have to, until neither has any more; what each of them fails with.
fn exchange(one: &mut Layer, other: &mut Layer) -> Result<(), TlsError> {
    while !one.outgoing().is_empty() || !other.outgoing().is_empty() {
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut *one, &mut *other) } else { (&mut *other, &mut *one) };
            let records = from.outgoing().to_vec();
            from.sent(records.len());
            if !records.is_empty() {
                to.incoming().put_slice(&records);
                to.shake()?;
            }
        }
    }
    Ok(())
}

/// A client that trusts what a front presents, if its name fits, and the front's own side.
fn pair(front: &Front, trust: &Trust) -> Result<(Layer, Layer), TlsError> {
    let (mut client, mut server) = (trust.connect(SOMEWHERE)?, front.accept()?);
    client.shake()?;
    exchange(&mut client, &mut server)?;
    Ok((client, server))
}

fn front(files: &[CertificateFiles], oldest: OldestVersion) -> Front {
    Front::load(files, oldest).unwrap()
}

fn opened(layer: &mut Layer, records: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in records.chunks(10_000) {
        layer.incoming().put_slice(piece);
        layer.open(|bytes| all.extend_from_slice(bytes)).unwrap();
    }
    all
}

#[test]
fn bytes_go_through_and_nothing_is_held_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a", &["mx.example"]);
    let trust = Trust::by_roots(Some(&files.certificate), Some("mx.example")).unwrap();
    let (mut client, mut server) = pair(&front(&[files], OldestVersion::Tls12), &trust).unwrap();
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let protection = server.protection().unwrap();
    assert_eq!((protection.version, client.protection()), ("TLSv1.3", Some(protection)));
    assert!(protection.cipher.starts_with("TLS13_"), "{protection:?}");
    let message: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut left = &message[..];
    let mut arrived = Vec::new();
    while !left.is_empty() {
        let count = client.seal(left).unwrap();
        left = &left[count..];
        let records = client.outgoing().to_vec();
        client.sent(records.len());
        arrived.extend(opened(&mut server, &records));
    }
    assert!(arrived == message);
    client.close().unwrap();
    let last = client.outgoing().to_vec();
    client.sent(last.len());
    assert!(opened(&mut server, &last).is_empty() && server.has_ended());
    for layer in [&mut client, &mut server] {
        assert_eq!(layer.held(), 0);
    }
    // Who has heard the end may still answer.
    server.seal(b"221 bye\r\n").unwrap();
    let answer = server.outgoing().to_vec();
    assert_eq!(opened(&mut client, &answer), b"221 bye\r\n");
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path(), "a", &["mx.example"]);
    let second = certificate(folder.path(), "b", &["other.example", "*.wild.example"]);
    let front = front(&[first.clone(), second.clone()], OldestVersion::Tls13);
    let accepts = |ca: &CertificateFiles, name: &str| {
        pair(&front, &Trust::by_roots(Some(&ca.certificate), Some(name)).unwrap()).is_ok()
    };
    assert!(accepts(&first, "mx.example"));
    assert!(accepts(&second, "OTHER.example") && accepts(&second, "a.wild.example"));
    assert!(!accepts(&second, "a.b.wild.example"), "a star is one label");
    assert!(!accepts(&second, "mx.example") && !accepts(&first, "other.example"));
    assert!(pair(&front, &Trust::blind(None).unwrap()).is_ok(), "nobody's name gets the first");
}

#[test]
fn a_mail_server_must_prove_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a", &["mail.example"]);
    let stranger = certificate(folder.path(), "b", &["mail.example"]);
    let front = front(std::slice::from_ref(&files), OldestVersion::Tls12);
    let error = |trust: Trust| pair(&front, &trust).unwrap_err().to_string();
    let strange = error(Trust::by_roots(Some(&stranger.certificate), Some("mail.example")).unwrap());
    assert!(strange.contains("certificate"), "{strange}");
    let named = error(Trust::by_roots(Some(&files.certificate), Some("evil.example")).unwrap());
    assert!(named.contains("evil.example"), "{named}");
    let unnamed = error(Trust::by_roots(Some(&files.certificate), None).unwrap());
    assert!(unnamed.contains("127.0.0.1"), "{unnamed}");
    assert!(pair(&front, &Trust::blind(Some("mail.example")).unwrap()).is_ok());
    assert!(matches!(
        Trust::by_roots(Some(&files.key), None),
        Err(TrustError::File(PairError::Empty { .. }))
    ));
}

#[test]
fn new_certificates_are_for_the_next_connection_and_bad_ones_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a", &["mx.example"]);
    let front = front(std::slice::from_ref(&files), OldestVersion::Tls12);
    let trust =
        |files: &CertificateFiles| Trust::by_roots(Some(&files.certificate), Some("mx.example")).unwrap();
    let before = trust(&files);
    let (mut client, mut server) = pair(&front, &before).unwrap();
    // Who has been here may come again by its ticket, and sees no certificate then.
    let newcomer = trust(&files);
    let stamp = front.stamp();

    let whole = fs::read(&files.key).unwrap();
    fs::write(&files.key, "half a k").unwrap();
    assert_ne!(front.stamp(), stamp);
    assert!(front.reload().is_err());
    assert!(front.problem().unwrap().contains("a.key"));
    assert!(pair(&front, &before).is_ok());
    fs::write(&files.key, whole).unwrap();

    certificate(folder.path(), "a", &["mx.example", "new.example"]);
    front.reload().unwrap();
    assert_eq!(front.problem(), None);
    assert_eq!(front.view(Timestamp::from_millis(0))[0].names, ["mx.example", "new.example"]);
    assert!(pair(&front, &newcomer).is_err() && pair(&front, &trust(&files)).is_ok());
    client.seal(b"still here").unwrap();
    let records = client.outgoing().to_vec();
    assert_eq!(opened(&mut server, &records), b"still here");
}

#[test]
fn files_that_are_no_certificate_are_answered_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let one = certificate(folder.path(), "a", &["mx.example"]);
    let other = certificate(folder.path(), "b", &["mx.example"]);
    let error = |certificate: &Path, key: &Path| {
        let files = CertificateFiles { certificate: certificate.to_owned(), key: key.to_owned() };
        Certificates::load(&[files]).unwrap_err().to_string()
    };
    assert!(error(&one.certificate, &other.key).contains("b.key does not fit"));
    assert!(error(&one.key, &one.key).contains("holds no certificate in PEM"));
    assert!(error(&one.certificate, &one.certificate).contains("openssl pkey"));
    assert!(error(Path::new("/no/such"), &one.key).contains("cannot read /no/such"));
    let ended = folder.path().join("ended.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&ended, broken).unwrap();
    assert!(error(&ended, &one.key).contains("from your CA"));
}

#[test]
fn a_certificate_is_warned_of_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path(), "a", &["mx.example"]);
    let front = front(&[files], OldestVersion::Tls12);
    let until = front.view(Timestamp::from_millis(0))[0].until;
    let soon = |days: u64| front.view(until.before(Duration::from_hours(24 * days)))[0].ends_soon;
    assert!(!soon(15) && soon(14) && soon(0));
}

#[test]
fn a_handshake_that_cannot_succeed_says_why_and_leaves_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let front = front(&[certificate(folder.path(), "a", &["mx.example"])], OldestVersion::Tls12);
    for garbage in
        [&b"EHLO client.example\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x04\x01\x00\x00\x00"]
    {
        let mut server = front.accept().unwrap();
        server.incoming().put_slice(garbage);
        let error = server.shake().unwrap_err();
        assert!(!error.is_distrust() && !error.to_string().is_empty());
        assert_eq!(server.outgoing().first(), Some(&21), "an alert after {garbage:?}");
    }
    // Who does not believe us is no attacker.
    let stranger =
        Trust::by_roots(Some(&certificate(folder.path(), "b", &["mx.example"]).certificate), None).unwrap();
    let (mut client, mut server) = (stranger.connect(SOMEWHERE).unwrap(), front.accept().unwrap());
    client.shake().unwrap();
    assert!(exchange(&mut client, &mut server).is_err());
    server.incoming().put_slice(client.outgoing());
    assert!(server.shake().unwrap_err().is_distrust());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_bytes_are_more_than_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600), hello in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let front = front(&[certificate(folder.path(), "a", &["mx.example"])], OldestVersion::Tls12);
        let mut server = front.accept().unwrap();
        if hello {
            server.incoming().put_slice(b"\x16\x03\x01");
        }
        server.incoming().put_slice(&bytes);
        let _ = server.shake();
        prop_assert!(server.is_handshaking() && server.seal(b"x").is_err());
    }
}
