//! What may stand in no error and no `Debug`.

use std::error::Error;
use std::fmt;

use crate::Scanner;

/// Looks for secrets.
pub(super) struct Hygiene(Scanner);

impl Hygiene {
    pub(super) fn new(secrets: &[String]) -> Self {
        assert!(
            secrets.iter().all(|secret| secret.len() >= 5),
            "secrets of fewer than 5 bytes are found by chance"
        );
        Self(Scanner::new(secrets).expect("secrets are few and short"))
    }

    pub(super) fn debug(&self, what: &str, shown: &(impl fmt::Debug + ?Sized)) {
        for text in [format!("{shown:?}"), format!("{shown:#?}")] {
            self.text(what, &text);
        }
    }

    pub(super) fn error(&self, what: &str, error: &(dyn Error + 'static)) {
        self.text(what, &chain(error));
        let mut cause = Some(error);
        while let Some(error) = cause {
            self.debug(what, error);
            cause = error.source();
        }
    }

    fn text(&self, what: &str, text: &str) {
        assert!(
            self.0.scan(text.as_bytes()).is_empty(),
            "{what}: a secret is shown by Debug or an error"
        );
        // 32 bytes of a key, as Debug shows bytes.
        let numbers = text.split(|c: char| !c.is_ascii_digit() && c != ',' && !c.is_whitespace());
        let longest = numbers.map(|list| list.split(',').count()).max();
        assert!(
            longest < Some(32),
            "{what}: Debug shows as many bytes as a key has"
        );
    }
}

/// An error and its causes.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
