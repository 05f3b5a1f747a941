//! What a newtype is sealed as, and what parses it, has the right type.
use phield::PhiValue;

// A newtype is of something that can be sealed.
#[derive(Debug, Clone, PhiValue)]
struct OfNoValue(std::time::Duration);

// A function takes what was sealed, and gives the newtype or nothing.
#[derive(Debug, Clone, PhiValue)]
#[phi(parse = "ParseOfOtherType::parse")]
struct ParseOfOtherType(String);

impl ParseOfOtherType {
    fn parse(text: &str) -> Result<Self, ()> {
        Ok(Self(text.to_owned()))
    }
}

fn main() {}
