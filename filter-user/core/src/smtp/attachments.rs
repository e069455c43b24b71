//! Which names of attachments are not wanted.
//!
//! Programs that open attachments forgive much, so a name is judged as they would read it: without folders, without what nobody sees, without
//! the dots and blanks at its end, whatever its case.

use alloc::string::String;
use alloc::vec::Vec;

use crate::detect::{Pattern, PatternError};

/// Types that programs and systems run, or that carry what they run; as Outlook and Gmail block them.
pub const PROGRAMS: [&str; 66] = [
    "ade", "adp", "apk", "app", "appx", "asx", "bas", "bat", "chm", "cmd", "com", "cpl", "crt", "dll", "dmg",
    "exe", "gadget", "hlp", "hta", "img", "inf", "ins", "iso", "isp", "jar", "js", "jse", "lnk", "mda",
    "mde", "msc", "msh", "msi", "msix", "msp", "mst", "ocx", "ops", "pcd", "pif", "prf", "prg", "ps1",
    "ps1xml", "ps2", "psc1", "psm1", "reg", "scf", "scr", "sct", "shb", "shs", "sys", "url", "vb", "vbe",
    "vbs", "vhd", "vhdx", "vxd", "wim", "wsc", "wsf", "wsh", "xll",
];
/// Types that people open, behind or before which another type is a disguise. Archives and signatures may stand behind any.
const DOCUMENTS: [&str; 37] = [
    "doc", "docx", "docm", "dot", "dotm", "rtf", "xls", "xlsx", "xlsm", "xlsb", "ppt", "pptx", "pptm", "pps",
    "pdf", "txt", "htm", "html", "odt", "ods", "odp", "jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff",
    "mp3", "mp4", "avi", "mov", "wav", "csv", "xml", "eml", "svg",
];
/// Types that hide nothing when they stand before a document's: `example.com.pdf`, `node.js.pdf`, `norm.iso.pdf`.
const HARMLESS_INSIDE: [&str; 5] = ["com", "js", "iso", "app", "url"];

/// What becomes of a message with such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// An offence, and the message passes.
    Score,
    /// An offence, and the message is refused.
    Refuse,
}

/// What an administrator has decided about attachments.
#[derive(Debug, Clone)]
pub struct Attachments {
    /// What becomes of a message with a blocked name, and of a part of a cut message.
    pub action: Action,
    /// Names that are blocked.
    pub names: Pattern,
    /// Whether names with two types are blocked, as in `document.xls.pdf`.
    pub double_extensions: bool,
}

impl Attachments {
    /// With these names, in which `*` stands for anything and `?` for one character.
    pub fn new<'a>(
        action: Action,
        names: impl IntoIterator<Item = &'a str>,
        double_extensions: bool,
    ) -> Result<Self, PatternError> {
        let alternatives: Vec<String> = names.into_iter().map(expression).collect();
        // Nothing is not the empty name.
        let all = if alternatives.is_empty() { "[^\\x00-\\xff]".into() } else { alternatives.join("|") };
        let names = Pattern::new(&alloc::format!("^(?s:{all})$"))?;
        Ok(Self { action, names, double_extensions })
    }

    /// Whether a decoded name is blocked.
    pub fn is_blocked(&self, name: &[u8]) -> bool {
        let shown = shown(name);
        // What is behind a NUL does not exist for some programs, and what is behind a colon names a stream of the file.
        let mut readings = shown.split('\0').chain(shown.split(':')).map(|part| {
            part.trim_end_matches(|sign: char| sign == '.' || sign.is_whitespace() || sign.is_control())
        });
        readings.any(|name| self.names.is_in(name.as_bytes()) || self.double_extensions && is_double(name))
    }
}

/// A name as programs show it: the file without its folders, in lower case, without signs that are not seen.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let end = text.trim_end_matches(['/', '\\', ' ', '"']);
    let file = end.rsplit(['/', '\\']).next().unwrap_or_default();
    let sign = |sign: char| match sign {
        '"'
        | '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => None,
        // Systems take what looks like a dot or a wide letter for the plain one.
        '\u{2024}' | '\u{3002}' | '\u{ff61}' => Some('.'),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(sign) - 0xfee0),
        _ => Some(sign),
    };
    file.chars().filter_map(sign).flat_map(char::to_lowercase).collect()
}

/// Whether a name ends with two types, of which the second only disguises the first or the first the second.
fn is_double(name: &str) -> bool {
    let mut parts = name.rsplit('.').map(str::trim);
    let (Some(outer), Some(inner), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_type = |part| DOCUMENTS.contains(&part) || PROGRAMS.contains(&part);
    // The same type twice is a slip.
    let same = inner == outer
        || [inner, outer].iter().all(|part| ["jpg", "jpeg", "tif", "tiff", "htm", "html"].contains(part));
    is_type(outer) && is_type(inner) && !same && !HARMLESS_INSIDE.contains(&inner)
}

/// A name with wildcards as a regular expression.
fn expression(wildcard: &str) -> String {
    let mut expression = String::new();
    for sign in wildcard.chars() {
        match sign {
            '*' => expression.push_str(".*"),
            '?' => expression.push_str("(?:[\\x00-\\x7f]|[\\xc0-\\xff][\\x80-\\xbf]*)"),
            _ if sign.is_ascii_punctuation() => expression.extend(['\\', sign]),
            _ => expression.extend(sign.to_lowercase()),
        }
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard() -> Attachments {
        let names: Vec<String> = PROGRAMS.iter().map(|kind| alloc::format!("*.{kind}")).collect();
        Attachments::new(Action::Refuse, names.iter().map(String::as_str), true).unwrap()
    }

    #[test]
    fn programs_and_disguises_are_blocked() {
        for name in [
            "evil.exe",
            "EVIL.EXE",
            "evil.exe.",
            "evil.exe . .",
            "evil.exe\0.pdf",
            "a/b\\evil.scr",
            "evil.exe::$DATA",
            "invoice\u{202e}fdp.exe",
            "evil.e\u{200b}xe",
            "evil\u{ff0e}ｅｘｅ",
            "invoice.pdf      .exe",
            "document.xls.pdf",
            "setup.exe.txt",
            "photo.jpg.js",
            ".lnk",
            "evil.exe/",
            "\"evil.exe\"",
        ] {
            assert!(standard().is_blocked(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn honest_names_pass() {
        for name in [
            "report.v1.2.pdf",
            "archive.tar.gz",
            "Rechnung 12.03.2024.pdf",
            "www.example.com.pdf",
            "node.js.pdf",
            "photo.jpg.jpg",
            "scan.jpeg.jpg",
            "contract.pdf.p7m",
            "report.xlsx.zip",
            "letter.doc.asc",
            "exe",
            "my.exercise.pdf",
            "Re: mail.eml",
            "",
            "pdf.pdf",
            "README",
            "executable.exe.zip",
            "\u{fc}ber.pdf",
        ] {
            assert!(!standard().is_blocked(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn an_administrator_chooses_the_names() {
        let chosen = Attachments::new(Action::Score, ["*.pdf", "r?chnung*.html", "a+b"], false).unwrap();
        assert!(
            chosen.is_blocked(b"x.PDF")
                && chosen.is_blocked("R\u{e4}chnung 7.html".as_bytes())
                && chosen.is_blocked(b"A+B")
        );
        assert!(
            !chosen.is_blocked(b"x.pdf.zip") && !chosen.is_blocked(b"aab") && !chosen.is_blocked(b"evil.exe")
        );
        assert!(!chosen.is_blocked(b"document.xls.pdf.txt"));
        assert!(!Attachments::new(Action::Score, [], false).unwrap().is_blocked(b""));
    }
}
