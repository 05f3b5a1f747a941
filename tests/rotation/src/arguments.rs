//! Arguments of the processes: `name=value`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::Failed;

/// What a process was started with.
#[derive(Debug)]
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Those of this process.
    pub fn of_process() -> Result<Self, Failed> {
        let pair = |argument: String| {
            let pair = argument
                .split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Failed::from(format!("`{argument}` is not `name=value`")))
        };
        Ok(Self(
            std::env::args().skip(1).map(pair).collect::<Result<_, _>>()?,
        ))
    }

    /// One that must be there.
    pub fn text(&self, name: &str) -> Result<&str, Failed> {
        let value = self.0.get(name).map(String::as_str);
        value.ok_or_else(|| Failed::from(format!("`{name}=…` is missing")))
    }

    /// One that may be missing.
    pub fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Failed> {
        Ok(self.0.get(name).map(|value| value.parse()).transpose()?)
    }

    /// Whether it was given as `yes`.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "yes")
    }
}
