//! A library for `LD_PRELOAD` that counts the writes of a process, of all its threads, and kills it (SIGKILL) at one of them.
//!
//! A write is a call that changes a file or a directory, or that sends to a server: `write`, `pwrite`, `writev`, `pwritev`,
//! `send`, `sendto`, `sendmsg`, `fsync`, `fdatasync`, `ftruncate`, `rename`, `link`, `unlink` and their kin, on regular files,
//! directories and sockets of the internet protocols. Standard output, pipes and the event descriptors of a runtime are not
//! counted.
//!
//! * `PHIELD_KILL_AT=17 PHIELD_KILL_WHEN=before` (or `after`): the process ends there.
//! * `PHIELD_KILL_TOTAL=<file>`: at its orderly end it writes how many writes there were, by name: `total 412`, `pwrite 120`, …
//!
//! Unsafe by its nature: it takes the place of functions of the C library. It is no part of phield.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use libc::{iovec, mmsghdr, msghdr, off_t, size_t, sockaddr, socklen_t, ssize_t};

/// Which write ends the process; 0 for none.
static KILL_AT: AtomicU64 = AtomicU64::new(0);
/// 1: once it is done, not before.
static KILL_AFTER: AtomicU64 = AtomicU64::new(0);
/// Where the numbers go: a string of the environment, which stays.
static TOTAL_FILE: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());
/// All writes of all threads so far.
static WRITES: AtomicU64 = AtomicU64::new(0);
/// The same by name.
static BY_NAME: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

const NAMES: [&str; 14] = [
    "write",
    "pwrite",
    "writev",
    "pwritev",
    "send",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "link",
    "unlink",
];

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let variable = |name: &CStr| unsafe { libc::getenv(name.as_ptr()) };
    let at = variable(c"PHIELD_KILL_AT");
    if !at.is_null() {
        let at = unsafe { libc::strtoull(at, ptr::null_mut(), 10) };
        KILL_AT.store(at, Ordering::SeqCst);
    }
    let when = variable(c"PHIELD_KILL_WHEN");
    if !when.is_null() && unsafe { CStr::from_ptr(when) } == c"after" {
        KILL_AFTER.store(1, Ordering::SeqCst);
    }
    let total = variable(c"PHIELD_KILL_TOTAL");
    if !total.is_null() {
        TOTAL_FILE.store(total, Ordering::SeqCst);
        unsafe { libc::atexit(end) };
    }
}

extern "C" fn end() {
    let mut text = format!("total {}\n", WRITES.load(Ordering::SeqCst));
    for (name, count) in NAMES.iter().zip(&BY_NAME) {
        let count = count.load(Ordering::SeqCst);
        if count > 0 {
            text += &format!("{name} {count}\n");
        }
    }
    let path = TOTAL_FILE.load(Ordering::SeqCst);
    unsafe {
        let file = libc::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o600);
        libc::syscall(libc::SYS_write, file, text.as_ptr(), text.len());
        libc::close(file);
    }
}

fn kill() -> ! {
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        // Not reached: the signal is delivered before the call returns, or to another thread, which ends all of them.
        loop {
            libc::pause();
        }
    }
}

/// Whether a descriptor is of a file, a directory, or a connection to a server.
fn is_counted(descriptor: c_int) -> bool {
    if (0..=2).contains(&descriptor) {
        return false;
    }
    let mut status = MaybeUninit::<libc::stat>::uninit();
    if unsafe { libc::fstat(descriptor, status.as_mut_ptr()) } != 0 {
        return false;
    }
    match unsafe { status.assume_init() }.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR => true,
        libc::S_IFSOCK => is_internet(descriptor),
        _ => false,
    }
}

fn is_internet(socket: c_int) -> bool {
    let mut address = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut size = size_of::<libc::sockaddr_storage>() as socklen_t;
    let got = unsafe { libc::getsockname(socket, address.as_mut_ptr().cast(), &mut size) };
    let family = c_int::from(unsafe { address.assume_init() }.ss_family);
    got == 0 && (family == libc::AF_INET || family == libc::AF_INET6)
}

/// A call that is counted: the process ends before it, or after it, if it is the one.
fn counted(name: &str, call: impl FnOnce() -> c_long) -> c_long {
    let number = WRITES.fetch_add(1, Ordering::SeqCst) + 1;
    if let Some(i) = NAMES.iter().position(|other| *other == name) {
        BY_NAME[i].fetch_add(1, Ordering::SeqCst);
    }
    let is_the_one = number == KILL_AT.load(Ordering::SeqCst);
    let after = KILL_AFTER.load(Ordering::SeqCst) == 1;
    if is_the_one && !after {
        kill();
    }
    let result = call();
    if is_the_one {
        kill();
    }
    result
}

fn on(descriptor: c_int, name: &str, call: impl FnOnce() -> c_long) -> c_long {
    if is_counted(descriptor) {
        counted(name, call)
    } else {
        call()
    }
}

/// Functions that begin with a descriptor, each the system call of its name.
macro_rules! of_descriptors {
    ($($function:ident $name:literal = $call:ident ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(
            /// As in the C library.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $function(descriptor: c_int, $($argument: $type),*) -> $result {
                on(descriptor, $name, || unsafe { libc::syscall(libc::$call, descriptor, $($argument),*) }) as $result
            }
        )*
    };
}

of_descriptors! {
    write "write" = SYS_write (data: *const c_void, size: size_t) -> ssize_t;
    pwrite "pwrite" = SYS_pwrite64 (data: *const c_void, size: size_t, place: off_t) -> ssize_t;
    pwrite64 "pwrite" = SYS_pwrite64 (data: *const c_void, size: size_t, place: off_t) -> ssize_t;
    writev "writev" = SYS_writev (parts: *const iovec, count: c_int) -> ssize_t;
    sendmsg "sendmsg" = SYS_sendmsg (message: *const msghdr, flags: c_int) -> ssize_t;
    sendmmsg "sendmmsg" = SYS_sendmmsg (messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
    fsync "fsync" = SYS_fsync () -> c_int;
    fdatasync "fdatasync" = SYS_fdatasync () -> c_int;
    ftruncate "ftruncate" = SYS_ftruncate (size: off_t) -> c_int;
    ftruncate64 "ftruncate" = SYS_ftruncate (size: off_t) -> c_int;
}

/// As in the C library; the kernel wants the offset in two parts, of which the second counts on 32 bits alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwritev(file: c_int, parts: *const iovec, count: c_int, place: off_t) -> ssize_t {
    on(file, "pwritev", || unsafe {
        libc::syscall(libc::SYS_pwritev, file, parts, count, place, 0_i64)
    }) as ssize_t
}

/// As [`pwritev`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwritev64(file: c_int, parts: *const iovec, count: c_int, place: off_t) -> ssize_t {
    unsafe { pwritev(file, parts, count, place) }
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(socket: c_int, data: *const c_void, size: size_t, flags: c_int) -> ssize_t {
    let nowhere = ptr::null::<sockaddr>();
    on(socket, "send", || unsafe {
        libc::syscall(libc::SYS_sendto, socket, data, size, flags, nowhere, 0)
    }) as ssize_t
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendto(
    socket: c_int,
    data: *const c_void,
    size: size_t,
    flags: c_int,
    to: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    on(socket, "sendto", || unsafe {
        libc::syscall(libc::SYS_sendto, socket, data, size, flags, to, length)
    }) as ssize_t
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    unsafe { renameat2(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) }
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(old: c_int, from: *const c_char, new: c_int, to: *const c_char) -> c_int {
    unsafe { renameat2(old, from, new, to, 0) }
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(
    old: c_int,
    from: *const c_char,
    new: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    counted("rename", || unsafe {
        libc::syscall(libc::SYS_renameat2, old, from, new, to, flags)
    }) as c_int
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    unsafe { linkat(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) }
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(
    old: c_int,
    from: *const c_char,
    new: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    counted("link", || unsafe {
        libc::syscall(libc::SYS_linkat, old, from, new, to, flags)
    }) as c_int
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    unsafe { unlinkat(libc::AT_FDCWD, path, 0) }
}

/// As in the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    counted("unlink", || unsafe {
        libc::syscall(libc::SYS_unlinkat, folder, path, flags)
    }) as c_int
}
