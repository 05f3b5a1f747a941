//! A PKCS#11 module that hands everything to another one, named by the variable `PHIELD_CLOSE_ALL_OF`; but where the folder of
//! `SOFTHSM2_CONF` has a file `hang-once`, a search for objects removes it and never comes back, and while there is a file
//! `hang`, none does. While there is a file `knows-no-copyable` or `knows-no-modifiable`, it makes no key whose template has
//! that attribute, like a module that does not know it.
//!
//! Unsafe by its nature: it speaks to C in both directions. It is no part of phield.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, mem, ptr, slice, thread};

use cryptoki_sys::{
    CK_ATTRIBUTE_PTR, CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR_PTR, CK_MECHANISM_PTR, CK_OBJECT_HANDLE_PTR,
    CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKA_COPYABLE, CKA_MODIFIABLE, CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_FUNCTION_FAILED, CKR_OK, Pkcs11,
};

/// The functions of the other module, and the same with one of our own.
struct Lists {
    theirs: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
}

// Nobody writes to them.
unsafe impl Sync for Lists {}
unsafe impl Send for Lists {}

static LISTS: OnceLock<Option<Lists>> = OnceLock::new();

fn lists() -> Option<&'static Lists> {
    let load = || {
        let path = std::env::var_os("PHIELD_CLOSE_ALL_OF")?;
        let module = unsafe { Pkcs11::new(path) }.ok()?;
        let mut list = ptr::null_mut();
        if unsafe { module.C_GetFunctionList(&mut list) } != CKR_OK {
            return None;
        }
        // It stays loaded.
        mem::forget(module);
        let theirs = unsafe { *list };
        let mut ours = theirs;
        ours.C_FindObjectsInit = Some(C_FindObjectsInit);
        ours.C_GenerateKey = Some(C_GenerateKey);
        Some(Lists { theirs, ours })
    };
    LISTS.get_or_init(load).as_ref()
}

/// The list.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    let Some(lists) = lists() else {
        return CKR_FUNCTION_FAILED;
    };
    unsafe { *list = ptr::from_ref(&lists.ours).cast_mut() };
    CKR_OK
}

/// Hangs, or searches.
///
/// # Safety
/// That of the other module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_FindObjectsInit(
    session: CK_SESSION_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> CK_RV {
    if fs::remove_file(file("hang-once")).is_ok() {
        loop {
            thread::park();
        }
    }
    while file("hang").exists() {
        thread::sleep(Duration::from_millis(10));
    }
    match lists().and_then(|lists| lists.theirs.C_FindObjectsInit) {
        Some(search) => unsafe { search(session, template, count) },
        None => CKR_FUNCTION_FAILED,
    }
}

/// Refuses a template, or makes a key.
///
/// # Safety
/// That of the other module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GenerateKey(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let Ok(len) = usize::try_from(count) else {
        return CKR_FUNCTION_FAILED;
    };
    let attributes = unsafe { slice::from_raw_parts(template, len) };
    for (unknown, name) in [
        (CKA_COPYABLE, "knows-no-copyable"),
        (CKA_MODIFIABLE, "knows-no-modifiable"),
    ] {
        if file(name).exists() && attributes.iter().any(|attribute| attribute.type_ == unknown) {
            return CKR_ATTRIBUTE_TYPE_INVALID;
        }
    }
    match lists().and_then(|lists| lists.theirs.C_GenerateKey) {
        Some(generate) => unsafe { generate(session, mechanism, template, count, key) },
        None => CKR_FUNCTION_FAILED,
    }
}

fn file(name: &str) -> PathBuf {
    let conf = std::env::var_os("SOFTHSM2_CONF").unwrap_or_default();
    PathBuf::from(conf).with_file_name(name)
}
