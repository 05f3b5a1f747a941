//! The values that are looked for.

use std::fmt;
use std::path::Path;

use phield_testkit::{Encoding, Hit, Scanner};

/// How many bytes of a value are still one: shorter pieces turn up by chance.
const FRAGMENT: usize = 8;

/// One person who exists in one run alone.
#[derive(Clone)]
#[non_exhaustive]
pub struct Markers {
    /// Random words.
    pub text: String,
    /// `123-45-6789`
    pub ssn: String,
    /// A name with letters that are not ASCII.
    pub name: String,
    /// An address at example.org.
    pub email: String,
    /// What was random: the longest run of each, in lower case.
    random: [String; 3],
}

impl fmt::Debug for Markers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Markers").finish_non_exhaustive()
    }
}

impl Markers {
    /// A person whom nothing on any disk knows.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    pub fn random() -> Self {
        let [text, name, email] = [20, 12, 12].map(|len| pick(len, b"abcdefghijklmnopqrstuvwxyz"));
        let ssn = [3, 2, 4].map(|len| pick(len, b"0123456789")).join("-");
        Self::of(&[&text, &ssn, &name, &email])
    }

    fn of([text, ssn, name, email]: &[&str; 4]) -> Self {
        let (first, rest) = name.split_at(1);
        Self {
            text: format!("canary {text}"),
            ssn: (*ssn).to_owned(),
            name: format!("Zoë {}{rest}-Ærøsund", first.to_uppercase()),
            email: format!("{email}@example.org"),
            random: [text, name, email].map(|random| (*random).to_owned()),
        }
    }

    /// Lines for the standard input of a child process, ended by an empty one.
    #[must_use]
    pub fn to_lines(&self) -> String {
        let [text, name, email] = &self.random;
        format!("{text}\n{}\n{name}\n{email}\n\n", self.ssn)
    }

    /// What [`to_lines`](Self::to_lines) wrote.
    #[must_use]
    pub fn from_lines(lines: &str) -> Option<Self> {
        let lines: Vec<_> = lines.lines().take(4).collect();
        lines.as_slice().try_into().ok().map(Self::of)
    }

    /// The values and their normalised forms, with what to call them.
    fn whole(&self) -> Vec<(&'static str, String)> {
        let [text, name, email] = &self.random;
        let rest = name.get(1..).unwrap_or_default();
        vec![
            ("text", text.clone()),
            ("ssn", self.ssn.clone()),
            ("ssn, digits alone", digits(&self.ssn)),
            ("name", self.name.clone()),
            ("name, normalised", format!("zoe{name}aerosund")),
            ("name, its random part", rest.to_owned()), // as written and as normalised
            ("email", self.email.clone()),
            ("email, its random part", email.clone()),
        ]
    }

    /// The four values as they are written down.
    #[must_use]
    pub fn as_written(&self) -> [(&'static str, &str); 4] {
        [
            ("text", &self.text),
            ("ssn", &self.ssn),
            ("name", &self.name),
            ("email", &self.email),
        ]
    }

    /// Pieces of eight bytes of everything that was random.
    fn fragments(&self) -> Vec<(&'static str, String)> {
        let pieces = |label, value: &str| -> Vec<_> {
            let windows = value.as_bytes().windows(FRAGMENT);
            windows
                .filter_map(|piece| Some((label, std::str::from_utf8(piece).ok()?.to_owned())))
                .collect()
        };
        let [text, name, email] = &self.random;
        [
            pieces("a piece of the text", text),
            pieces("a piece of the name", name.get(1..).unwrap_or_default()),
            pieces("a piece of the email", email),
            pieces("a piece of the ssn", &self.ssn),
            pieces("a piece of the ssn, digits alone", &digits(&self.ssn)),
        ]
        .concat()
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn pick(len: usize, from: &[u8]) -> String {
    let mut random = vec![0; len];
    getrandom::fill(&mut random).expect("the operating system gives randomness");
    let pick = |byte: &u8| from.get(usize::from(*byte) % from.len()).copied().map(char::from);
    random.iter().filter_map(pick).collect()
}

/// A search for the values of one person.
#[derive(Debug)]
pub struct Search {
    scanner: Scanner,
    labels: Vec<&'static str>,
}

impl Search {
    /// For the values and their normalised forms.
    #[must_use]
    pub fn whole(markers: &Markers) -> Self {
        Self::new(markers.whole())
    }

    /// For every piece of eight bytes of them, too.
    #[must_use]
    pub fn pieces(markers: &Markers) -> Self {
        Self::new([markers.whole(), markers.fragments()].concat())
    }

    /// For the four values as they were written down.
    #[must_use]
    pub fn as_written(markers: &Markers) -> Self {
        Self::new(
            markers
                .as_written()
                .map(|(label, value)| (label, value.to_owned())),
        )
    }

    fn new(needles: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let (labels, values): (Vec<_>, Vec<_>) = needles.into_iter().unzip();
        let scanner = Scanner::new(values).expect("a few values fit into a scanner");
        Self { scanner, labels }
    }

    /// What stands in a folder or a file, one line each: which value, how encoded, where.
    ///
    /// # Panics
    /// When nothing was there to read, or something could not be read.
    #[must_use]
    pub fn folder(&self, path: &Path) -> Vec<String> {
        let scan = self.scanner.scan_folder(path);
        assert!(scan.files > 0, "{}: there is nothing to search", path.display());
        assert!(scan.unread.is_empty(), "not read: {:?}", scan.unread);
        let line = |found: &phield_testkit::FileHit| self.line(&found.path.display(), &found.hit);
        scan.hits.iter().map(line).collect()
    }

    /// The same in bytes.
    #[must_use]
    pub fn bytes(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let hits = self.scanner.scan(bytes);
        hits.iter().map(|hit| self.line(&place, hit)).collect()
    }

    /// The same in what a reader gives.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reader(&self, place: &str, reader: impl std::io::Read) -> std::io::Result<Vec<String>> {
        let hits = self.scanner.scan_reader(reader)?;
        Ok(hits.iter().map(|hit| self.line(&place, hit)).collect())
    }

    /// Asserts that every value stands in these bytes, as it is or in another encoding: the control.
    ///
    /// # Panics
    /// When one does not.
    pub fn assert_all_found(&self, place: &str, found: &[String]) {
        for label in &self.labels {
            let start = format!("{label}: ");
            assert!(
                found.iter().any(|line| line.starts_with(&start)),
                "{place}: the control did not find the {label} there"
            );
        }
    }

    fn line(&self, place: &dyn fmt::Display, hit: &Hit) -> String {
        let label = self.labels.get(hit.needle).copied().unwrap_or_default();
        let encoding: Encoding = hit.encoding;
        format!("{label}: {encoding:?} in {place} at {:#x}", hit.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_runs_have_a_marker_in_common() {
        let (one, other) = (Markers::random(), Markers::random());
        for ((label, a), (_, b)) in one.as_written().iter().zip(other.as_written()) {
            assert!(*a != b, "{label}");
        }
        let read = Markers::from_lines(&one.to_lines()).unwrap();
        assert!(read.whole() == one.whole());
        assert_eq!(format!("{one:?}"), "Markers { .. }");
    }

    /// The forms that an index makes of a value are looked for.
    #[test]
    fn normalised_forms_are_those_of_the_indexes() {
        let markers = Markers::random();
        let search = Search::whole(&markers);
        let written = format!(
            "{}|{}|{}|{}",
            markers.text, markers.ssn, markers.name, markers.email
        );
        let found = search.bytes("here", written.as_bytes());
        assert_eq!(found.len(), 6, "all but the two normalised forms");
        let normalised = format!("zoe{}aerosund|{}", markers.random[1], digits(&markers.ssn));
        assert_eq!(search.bytes("here", normalised.as_bytes()).len(), 3);
        let pieces = Search::pieces(&markers).bytes("here", markers.ssn.as_bytes());
        assert_eq!(pieces.len(), 1 + 4, "the ssn, and its pieces");
    }
}
