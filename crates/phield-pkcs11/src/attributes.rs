//! What a key in the HSM has to be: a secret of 32 bytes that signs, does nothing else, and never comes out.

use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;

use crate::Pkcs11Error;
use crate::provider::KeyReport;
use crate::reference::KeyLabel;

/// What a key has to say of itself, and the rule that another answer breaks.
fn rules() -> [(Attribute, &'static str); 11] {
    [
        (
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            "it is no generic secret (CKK_GENERIC_SECRET)",
        ),
        (
            Attribute::Private(true),
            "it can be used without a login (CKA_PRIVATE is false)",
        ),
        (
            Attribute::Sensitive(true),
            "it can be read in the clear (CKA_SENSITIVE is false)",
        ),
        (
            Attribute::Extractable(false),
            "it can be taken out of the HSM (CKA_EXTRACTABLE is true)",
        ),
        (Attribute::Sign(true), "it may not sign (CKA_SIGN is false)"),
        (
            Attribute::Encrypt(false),
            "it may encrypt (CKA_ENCRYPT is true), and has to sign alone",
        ),
        (
            Attribute::Decrypt(false),
            "it may decrypt (CKA_DECRYPT is true), and has to sign alone",
        ),
        (
            Attribute::Wrap(false),
            "it may wrap (CKA_WRAP is true), and has to sign alone",
        ),
        (
            Attribute::Unwrap(false),
            "it may unwrap (CKA_UNWRAP is true), and has to sign alone",
        ),
        (
            Attribute::Derive(false),
            "keys may be derived from it (CKA_DERIVE is true), and it has to sign alone",
        ),
        (
            Attribute::ValueLen(Ulong::new(32)),
            "it has not 32 bytes (CKA_VALUE_LEN)",
        ),
    ]
}

/// Refuses a key that breaks a rule, and one that does not answer.
pub(crate) fn check(session: &Session, handle: ObjectHandle, key: &KeyLabel) -> Result<(), Pkcs11Error> {
    let rules = rules();
    let types: Vec<_> = rules.iter().map(|(wanted, _)| wanted.attribute_type()).collect();
    for ((wanted, rule), answer) in rules.iter().zip(answers(session, handle, &types)?) {
        match answer {
            Some(answer) if answer == *wanted => {}
            Some(_) => return Err(refused(key, rule)),
            None => return Err(refused(key, SILENT)),
        }
    }
    Ok(())
}

/// What a key says of itself, in the order of `types`; `None` where it says nothing.
fn answers(
    session: &Session,
    handle: ObjectHandle,
    types: &[AttributeType],
) -> Result<Vec<Option<Attribute>>, Pkcs11Error> {
    // Whether each is there is asked first: a value that a token leaves out may come as zeros, which look like "no".
    let infos = session.get_attribute_info(handle, types)?;
    let answers = session.get_attributes(handle, types)?;
    let answer = |(at, wanted): (usize, &AttributeType)| {
        let there = matches!(infos.get(at), Some(AttributeInfo::Available(len)) if *len > 0);
        let mut of_type = answers.iter().filter(|answer| answer.attribute_type() == *wanted);
        of_type.next().filter(|_| there).cloned()
    };
    Ok(types.iter().enumerate().map(answer).collect())
}

fn refused(key: &KeyLabel, rule: &'static str) -> Pkcs11Error {
    Pkcs11Error::Attribute {
        key: key.clone(),
        rule,
    }
}

/// The error of a key that was to be made unchangeable, and is not.
pub(crate) fn not_fixed(key: &KeyLabel) -> Pkcs11Error {
    refused(
        key,
        "the HSM made it so that it can be changed or copied, though it took the wish that it cannot",
    )
}

const SILENT: &str = "the HSM does not say of it what it may do and whether it can be taken out";

/// What finds a key.
pub(crate) fn search(key: &KeyLabel) -> [Attribute; 3] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
        Attribute::Label(key.object.as_bytes().to_vec()),
    ]
}

/// What keeps a key as it is: nobody can change what it may do, nor copy it to one that may do more. Not every token knows
/// all of it.
pub(crate) const OPTIONAL: [&[Attribute]; 3] = [
    &[Attribute::Modifiable(false), Attribute::Copyable(false)],
    &[Attribute::Modifiable(false)],
    &[],
];

/// What makes a key that [`check`] takes.
pub(crate) fn template(key: &KeyLabel, optional: &[Attribute]) -> Vec<Attribute> {
    let rules = rules().into_iter().map(|(attribute, _)| attribute);
    // Whether it may verify is no rule: who has such a key to verify with has it to sign with, and learns no more.
    let verify = [Attribute::Verify(false)];
    let all = search(key).into_iter().chain(rules).chain(verify);
    all.chain(optional.iter().cloned()).collect()
}

/// What a key says of itself beyond the rules.
pub(crate) fn report(
    session: &Session,
    handle: ObjectHandle,
    key: &KeyLabel,
) -> Result<KeyReport, Pkcs11Error> {
    let all = |types: &[AttributeType], wanted: &[Attribute]| {
        let answers = answers(session, handle, types)?;
        let wrong = |answer: &Attribute| !wanted.contains(answer);
        Ok::<_, Pkcs11Error>(match answers.iter().flatten().any(wrong) {
            true => Some(false),
            false => answers.iter().all(Option::is_some).then_some(true),
        })
    };
    // What an imported one cannot say.
    let born = [
        Attribute::Local(true),
        Attribute::NeverExtractable(true),
        Attribute::AlwaysSensitive(true),
    ];
    let types = |wanted: &[Attribute]| wanted.iter().map(Attribute::attribute_type).collect::<Vec<_>>();
    Ok(KeyReport {
        key: key.clone(),
        born_inside: all(&types(&born), &born)?,
        fixed: all(&types(OPTIONAL[0]), OPTIONAL[0])?,
    })
}
