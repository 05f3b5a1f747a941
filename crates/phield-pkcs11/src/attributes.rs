//! What a key in the HSM has to be: a secret of 32 bytes that signs, does nothing else, and never comes out.

use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;

use crate::Pkcs11Error;
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
    // Whether each is there is asked first: a value that a token leaves out may come as zeros, which look like "no".
    let infos = session.get_attribute_info(handle, &types)?;
    let answers = session.get_attributes(handle, &types)?;
    let refused = |rule| Pkcs11Error::Attribute {
        key: key.clone(),
        rule,
    };
    if infos.len() != types.len() {
        return Err(refused(SILENT));
    }
    for ((wanted, rule), info) in rules.iter().zip(infos) {
        let of_type = |answer: &&Attribute| answer.attribute_type() == wanted.attribute_type();
        let there = matches!(info, AttributeInfo::Available(len) if len > 0);
        match answers.iter().find(of_type).filter(|_| there) {
            Some(answer) if answer == wanted => {}
            Some(_) => return Err(refused(rule)),
            None => return Err(refused(SILENT)),
        }
    }
    Ok(())
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

/// What makes a key that [`check`] takes.
pub(crate) fn template(key: &KeyLabel) -> Vec<Attribute> {
    let rules = rules().into_iter().map(|(attribute, _)| attribute);
    search(key)
        .into_iter()
        .chain(rules)
        .chain([Attribute::Verify(false)])
        .collect()
}

/// Whether a key says of itself that it was made in the HSM and could never be taken out: what an imported one cannot.
/// `None` where the HSM does not say.
pub(crate) fn born_inside(session: &Session, handle: ObjectHandle) -> Result<Option<bool>, Pkcs11Error> {
    let types = [
        AttributeType::Local,
        AttributeType::NeverExtractable,
        AttributeType::AlwaysSensitive,
    ];
    let answers = session.get_attributes(handle, &types)?;
    let yes = |answer: &Attribute| {
        matches!(
            answer,
            Attribute::Local(true) | Attribute::NeverExtractable(true) | Attribute::AlwaysSensitive(true)
        )
    };
    Ok((answers.len() == types.len()).then(|| answers.iter().all(yes)))
}
