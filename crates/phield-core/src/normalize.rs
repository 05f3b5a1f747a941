//! Normalizers of blind indexes: which values are found as equal. Each has a version that is part of the index key; a
//! normalizer never changes under its name. They are defined in `NORMALIZERS.md`; golden files in `vectors` freeze
//! them, over every character there is.
//!
//! Every normalizer is total (a value that is not of its kind is compared as text, not refused) and idempotent.

use caseless::Caseless as _;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::value_type::{ValueType, date_parts};
use crate::wipe::Wiped;

/// How a value is normalised before it is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Normalizer {
    /// `exact.v1`: the value as it is, byte for byte. For every value type.
    Exact,
    /// `digits.v1`: the ASCII digits left after NFKC. For phone numbers and other numbers with free punctuation.
    Digits,
    /// `ssn.v1`: nine ASCII digits, without the spaces, hyphens and dots between them. Anything else is compared as
    /// text (NFKC, white space at the ends removed), so that "unknown" is not found as an empty number.
    Ssn,
    /// `name.v1`: a person's name without case, accents, spaces, hyphens, apostrophes and other punctuation:
    /// `José-María O’Neill` is `josemariaoneill`. Letters of other scripts stay.
    Name,
    /// `date.v1`: `YYYY-MM-DD`, from a date, or from a text `YYYY-MM-DD` or `YYYYMMDD`. Other text is compared as it
    /// is, white space at the ends removed.
    Date,
}

impl Normalizer {
    /// The id with its version, part of the index key.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Exact => "exact.v1",
            Self::Digits => "digits.v1",
            Self::Ssn => "ssn.v1",
            Self::Name => "name.v1",
            Self::Date => "date.v1",
        }
    }

    /// Whether values of this type can be normalised.
    #[must_use]
    pub const fn accepts(self, value_type: ValueType) -> bool {
        match self {
            Self::Exact => true,
            Self::Digits | Self::Ssn | Self::Name => matches!(value_type, ValueType::Text),
            Self::Date => matches!(value_type, ValueType::Text | ValueType::Date),
        }
    }

    /// The normalised bytes of a value. Text normalizers replace what is not UTF-8.
    pub(crate) fn normalize(self, value: &[u8]) -> Normalized<'_> {
        let text = || std::str::from_utf8(value).unwrap_or("\u{fffd}");
        Normalized::Owned(match self {
            Self::Exact => return Normalized::Borrowed(value),
            Self::Digits => collect(value.len(), text().nfkc().filter(char::is_ascii_digit)),
            Self::Ssn => ssn(text()),
            Self::Name => name(text()),
            Self::Date => date(text().trim()),
        })
    }
}

/// A normalised value. Erased on drop where it is a copy.
pub(crate) enum Normalized<'a> {
    Borrowed(&'a [u8]),
    Owned(Wiped),
}

impl Normalized<'_> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => &bytes.0,
        }
    }
}

/// The characters as UTF-8. A buffer that has to grow is wiped, not just freed.
fn collect(expected: usize, chars: impl Iterator<Item = char>) -> Wiped {
    let mut out = Wiped(Vec::with_capacity(expected));
    for c in chars {
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).as_bytes();
        if out.0.capacity() - out.0.len() < bytes.len() {
            let grown = out.0.len();
            out.reserve(grown + 16);
        }
        out.0.extend_from_slice(bytes);
    }
    out
}

fn copy(text: &str) -> Wiped {
    Wiped(text.as_bytes().to_vec())
}

fn ssn(text: &str) -> Wiped {
    let text = collect(text.len(), text.nfkc());
    let text = std::str::from_utf8(&text.0).unwrap_or_default().trim();
    let compact = collect(text.len(), text.chars().filter(|c| !is_separator(*c)));
    if compact.0.len() == 9 && compact.0.iter().all(u8::is_ascii_digit) {
        compact
    } else {
        copy(text)
    }
}

/// What stands between the groups of a number: white space, dots, hyphens and dashes.
fn is_separator(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '.' | '-' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn name(text: &str) -> Wiped {
    // Folding can uncover new decompositions and the other way round: folded between two decompositions, then
    // filtered, then composed. The golden test over all characters shows that a second pass changes nothing.
    let folded = text.nfkd().filter(|c| !is_accent(*c)).default_case_fold();
    let spelled = folded
        .nfkd()
        .filter(|c| !is_accent(*c) && !is_punctuation(*c))
        .flat_map(letters);
    collect(text.len(), spelled.nfc())
}

/// Marks that are left out where names are written without them: the accents of Latin, Greek and Cyrillic, the points
/// of Hebrew, the vowel marks of Arabic. Marks of other scripts are letters of a name and stay.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Letters that carry a stroke or are ligatures without a decomposition, spelled in the way registries do.
fn letters(c: char) -> impl Iterator<Item = char> {
    let spelled = match c {
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ŧ' => "t",
        'ı' => "i",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        _ => "",
    };
    let keep = spelled.is_empty().then_some(c);
    spelled.chars().chain(keep)
}

/// ASCII other than letters and digits, the punctuation and symbols of Latin-1, general punctuation, ideographic space
/// and comma, the letter-like apostrophes, and the marks that steer writing direction.
fn is_punctuation(c: char) -> bool {
    match c {
        '\0'..='\x7f' => !c.is_ascii_alphanumeric(),
        '\u{80}'..='\u{bf}' => !matches!(c, 'ª' | 'µ' | 'º'),
        '\u{d7}' | '\u{f7}' => true,
        '\u{2b0}'..='\u{2ff}' => true,
        '\u{55a}'..='\u{55f}' | '\u{5be}' | '\u{5f3}' | '\u{5f4}' | '\u{60c}' | '\u{61b}' | '\u{640}' => true,
        '\u{1680}' | '\u{2000}'..='\u{206f}' | '\u{3000}'..='\u{3002}' | '\u{30fb}' | '\u{feff}' => true,
        _ => false,
    }
}

fn date(text: &str) -> Wiped {
    if let [y1, y2, y3, y4, m1, m2, d1, d2] = *text.as_bytes() {
        let dashed = Zeroizing::new([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]);
        if date_parts(&*dashed).is_some() {
            return Wiped(dashed.to_vec());
        }
    }
    copy(text)
}
