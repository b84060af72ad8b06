//! A process on x86_64 Linux without libc: entry point, system calls, memory functions.
//!
//! All `unsafe` of this package is here: it is the machine under the core, not the core.

#![no_std]

use core::{
    arch::{asm, naked_asm},
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

// SAFETY: `entry!` defines `run` with this signature, once in a link. Nothing defines the other: it
// cannot be called, because an image that would call it is not linked.
unsafe extern "C" {
    safe fn run() -> !;
    safe fn a_panicking_path_is_left() -> !;
}

/// Names the function `fn() -> Option<()>` that the process is; `None` makes its exit code 1.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the entry point calls it; a binary has one.
        #[unsafe(no_mangle)]
        extern "C" fn run() -> ! {
            $crate::exit(u8::from($main().is_none()))
        }
    };
}

/// For a panic handler: keeps the image from being linked unless every panicking path is dead.
pub fn must_not_be_linked() -> ! {
    a_panicking_path_is_left()
}

/// Where the kernel enters. It leaves `rsp` at a multiple of 16, which is what `call` asks for.
#[unsafe(naked)]
// SAFETY: no other `_start` is linked; the linker makes it the entry point.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "call {run}", "ud2", run = sym run)
}

/// Reads from standard input; 0 at its end, `None` on an error.
pub fn read(buffer: &mut [u8]) -> Option<usize> {
    const READ: usize = 0;
    // SAFETY: the kernel writes at most `len` bytes to the buffer, which is lent exclusively.
    let n = unsafe { syscall(READ, 0, buffer.as_mut_ptr() as usize, buffer.len()) };
    usize::try_from(n).ok()
}

/// Writes all of `bytes` to standard output; `None` on an error.
pub fn write_all(mut bytes: &[u8]) -> Option<()> {
    const WRITE: usize = 1;
    while !bytes.is_empty() {
        // SAFETY: the kernel reads at most `len` bytes from the slice.
        let n = unsafe { syscall(WRITE, 1, bytes.as_ptr() as usize, bytes.len()) };
        bytes = bytes.get(usize::try_from(n).ok()?..)?;
    }
    Some(())
}

/// Ends the process.
pub fn exit(code: u8) -> ! {
    const EXIT_GROUP: usize = 231;
    loop {
        // SAFETY: it touches no memory of ours, and does not return.
        unsafe { syscall(EXIT_GROUP, usize::from(code), 0, 0) };
    }
}

/// # Safety
///
/// The arguments must be what the system call `number` may be given.
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result;
    // SAFETY: the kernel's convention: it changes rax, rcx and r11, and memory as the caller
    // vouches for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c,
            out("rcx") _, out("r11") _,
            options(nostack),
        );
    }
    result
}

/// Static memory that is lent once.
pub struct Memory<const N: usize> {
    bytes: UnsafeCell<[u8; N]>,
    lent: AtomicBool,
}

// SAFETY: `bytes` is reached only by the one caller of `lend` that finds `lent` unset.
unsafe impl<const N: usize> Sync for Memory<N> {}

impl<const N: usize> Memory<N> {
    /// `N` zeros.
    #[expect(clippy::new_without_default, reason = "made in statics only")]
    pub const fn new() -> Self {
        Self {
            bytes: UnsafeCell::new([0; N]),
            lent: AtomicBool::new(false),
        }
    }

    /// The memory, for ever; empty from the second call on.
    #[expect(clippy::mut_from_ref, reason = "the flag sees to it that there is one")]
    pub fn lend(&'static self) -> &'static mut [u8] {
        if self.lent.swap(true, Ordering::AcqRel) {
            return &mut [];
        }
        // SAFETY: the flag lets one caller pass, ever.
        unsafe { &mut *self.bytes.get() }
    }
}

// The compiler calls these five for copies and comparisons, and `core` for linux-gnu leaves them to
// libc. String instructions keep it from recognising a loop as the function that contains it.

/// # Safety
///
/// As in C.
// SAFETY: no libc defines it as well; so are the next four.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller vouches for `n` bytes on both sides; the direction flag is clear.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= n {
        // SAFETY: `to` is not inside `from..from + n`: copying upwards reads before it writes.
        return unsafe { memcpy(to, from, n) };
    }
    // SAFETY: the caller vouches for `n` bytes on both sides, n > 0 here; downwards, because `to`
    // is inside `from..from + n`. The direction flag is clear again at the end.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "cld",
            inout("rcx") n => _,
            inout("rdi") to.add(n - 1) => _,
            inout("rsi") from.add(n - 1) => _,
            options(nostack),
        );
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    // SAFETY: the caller vouches for `n` bytes; the direction flag is clear.
    unsafe {
        asm!(
            "rep stosb",
            inout("rcx") n => _, inout("rdi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags),
        );
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: the caller vouches for `n` bytes on both sides. Volatile, or the loop would be
        // recognised as a call of itself.
        let (a, b) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller vouches for the same.
    unsafe { memcmp(a, b, n) }
}

// `core` comes compiled for unwinding and names these two; with `panic = "abort"` nothing unwinds.

// SAFETY: nothing else defines it; so is the next.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    exit(102)
}
