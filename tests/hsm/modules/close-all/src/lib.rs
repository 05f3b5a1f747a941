//! A PKCS#11 module whose `C_Initialize` closes every session that the process has at another module, named by the variable
//! `PHIELD_CLOSE_ALL_OF`: `cryptoki` has no call for that, and tests that forbid unsafe code can initialise a module.
//!
//! Unsafe by its nature: it speaks to C in both directions. It is no part of phield.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR_PTR, CK_RV, CK_SLOT_ID, CK_TRUE, CK_ULONG, CKR_FUNCTION_FAILED,
    CKR_OK, Pkcs11,
};

/// A list with one function.
struct List(CK_FUNCTION_LIST);

// Nobody writes to it.
unsafe impl Sync for List {}

static LIST: List = {
    let mut list: CK_FUNCTION_LIST = unsafe { std::mem::zeroed() };
    list.version.major = 2;
    list.version.minor = 40;
    list.C_Initialize = Some(C_Initialize);
    List(list)
};

/// The list.
#[unsafe(no_mangle)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    unsafe { *list = ptr::from_ref(&LIST.0).cast_mut() };
    CKR_OK
}

/// Closes the sessions.
///
/// # Safety
/// None is asked of the caller: the argument is not used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_Initialize(_: *mut c_void) -> CK_RV {
    close_all().unwrap_or(CKR_FUNCTION_FAILED)
}

fn close_all() -> Option<CK_RV> {
    let path = std::env::var_os("PHIELD_CLOSE_ALL_OF")?;
    // The same library that the process has loaded: the system gives it out once more.
    let module = unsafe { Pkcs11::new(path) }.ok()?;
    let mut list = ptr::null_mut();
    if unsafe { module.C_GetFunctionList(&mut list) } != CKR_OK {
        return None;
    }
    let list = unsafe { *list };
    let (mut slots, mut count): ([CK_SLOT_ID; 16], CK_ULONG) = ([0; 16], 16);
    if unsafe { (list.C_GetSlotList?)(CK_TRUE, slots.as_mut_ptr(), &mut count) } != CKR_OK {
        return None;
    }
    for slot in slots.iter().take(usize::try_from(count).ok()?) {
        unsafe { (list.C_CloseAllSessions?)(*slot) };
    }
    Some(CKR_OK)
}
