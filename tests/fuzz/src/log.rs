//! Lines of logs: any bytes, and real lines with a client's own words in them.

use std::sync::{Arc, LazyLock};

use filter_core::logs::{Book, Line, Reader, Rule, Sample};

use crate::shipped;

static BOOK: LazyLock<Arc<Book>> = LazyLock::new(|| {
    let rules = shipped::rules().expect("the shipped rules are TOML");
    Arc::new(Book::new(rules).expect("the shipped rules are rules"))
});

/// The samples that name an address, each with its rule.
static SAMPLES: LazyLock<Vec<(&Rule, &Sample)>> = LazyLock::new(|| {
    let samples = |rule: &'static Rule| rule.text().samples.iter().map(move |sample| (rule, sample));
    BOOK.rules().iter().flat_map(samples).filter(|(_, sample)| sample.address.is_some()).collect()
});

/// Somebody else's address.
const FOREIGN: &str = "198.51.100.99";

/// The first byte says what the rest is. Of a whole log of any bytes, nothing is promised but that it is read. In a place of a sample that a
/// client fills may stand whatever it likes: nobody else is named.
pub(crate) fn log(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    match usize::from(*choice).checked_sub(shipped::OWN_FILES.len() + 1) {
        None => whole(usize::from(*choice), rest),
        Some(pick) => words(pick, rest),
    }
}

fn whole(choice: usize, log: &[u8]) {
    let mut reader = Reader::new(Arc::clone(&BOOK));
    for line in log.split(|byte| *byte == b'\n') {
        let line = match shipped::OWN_FILES.get(choice) {
            Some(program) => Some(Line::of_program(line, program.as_bytes())),
            None => Line::of_syslog(line),
        };
        let Some(line) = line else { continue };
        if let Some(found) = reader.read(&line) {
            assert!(found.count > 0 && found.detail.is_ascii());
            assert!(found.account.is_none_or(|account| account.is_ascii()));
        }
        if let Some(stamp) = line.stamp {
            stamp.resolve(filter_core::time::Timestamp::from_millis(1_795_533_747_000), |local| local);
        }
    }
}

fn words(pick: usize, rest: &[u8]) {
    let (Some((place, words)), Some((rule, sample))) =
        (rest.split_first(), SAMPLES.get(pick % SAMPLES.len().max(1)))
    else {
        return;
    };
    let own = sample.address.expect("samples without an address are left out");
    let line = parsed(sample.then.as_ref().unwrap_or(&sample.line), sample);
    let places = rule.words(line.message);
    let Some(place) = places.get(usize::from(*place) % places.len().max(1)) else { return };
    let foreign = String::from_utf8_lossy(line.message).replace(&own.to_string(), FOREIGN).into_bytes();
    let words = spoken(words, &foreign);
    let message = [&line.message[..place.start], &words, &line.message[place.end..]].concat();
    let mut reader = Reader::new(Arc::clone(&BOOK));
    if sample.then.is_some() {
        reader.read(&parsed(&sample.line, sample));
    }
    if let Some(found) = reader.read(&Line { message: &message, ..line }) {
        assert_eq!(found.address, own, "{}", String::from_utf8_lossy(&message));
    }
}

/// What a client says: bytes as they are, and behind a byte that is no ASCII a piece of the line itself, with somebody else's address in it.
/// No end of a line: that ends it, and a log says in which program that matters.
fn spoken(mut words: &[u8], foreign: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    while let [first, rest @ ..] = words {
        words = rest;
        if first.is_ascii() {
            said.extend(Some(*first).filter(|byte| *byte != b'\n'));
            continue;
        }
        let [from, length, rest @ ..] = words else { break };
        words = rest;
        let from = (usize::from(*first & 1) << 8 | usize::from(*from)).min(foreign.len());
        let to = (from + usize::from(*length) * 2).min(foreign.len());
        said.extend_from_slice(&foreign[from..to]);
    }
    said
}

fn parsed<'a>(text: &'a str, sample: &'a Sample) -> Line<'a> {
    match &sample.program {
        Some(program) => Line::of_program(text.as_bytes(), program.as_bytes()),
        None => Line::of_syslog(text.as_bytes()).expect("a sample is a line of a syslog"),
    }
}
