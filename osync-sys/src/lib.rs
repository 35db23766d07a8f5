//! System calls that osync needs and no safe crate wraps: the only place of the workspace with `unsafe`.
//!
//! Here: extended attributes of what lies at a name of a directory, no symbolic link followed (Linux 6.13).
//! Where the kernel does not know them, each call fails with [`std::io::ErrorKind::Unsupported`].
//! [`handle`] opens files by handle, [`mapping`] tells what a process has mapped.

pub mod handle;
pub mod mapping;

use std::ffi::{CStr, c_int, c_long, c_uint};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

// Newer than the C library: one number for all of these architectures.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "powerpc64",
    target_arch = "s390x",
    target_arch = "loongarch64",
))]
const CALLS: Option<Calls> = Some(Calls { getxattrat: 464, listxattrat: 465 });
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "powerpc64",
    target_arch = "s390x",
    target_arch = "loongarch64",
)))]
const CALLS: Option<Calls> = None;

struct Calls {
    getxattrat: c_long,
    listxattrat: c_long,
}

/// `struct xattr_args` of the kernel.
#[repr(C, align(8))]
struct XattrArguments {
    value: u64,
    size: u32,
    flags: u32,
}

const FLAGS: c_uint = libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();

/// Writes the names of the extended attributes of `name` in `directory` to `names`, each with its final
/// NUL; returns how many bytes. An empty `names` asks for the length alone.
///
/// # Errors
/// What the operating system says: `ERANGE` if there is more than fits, `ENOSYS` before Linux 6.13.
pub fn listxattrat(directory: BorrowedFd<'_>, name: &CStr, names: &mut [u8]) -> Result<usize> {
    let Some(calls) = CALLS else { return Err(unsupported()) };
    // SAFETY: the descriptor is open and the name ends with NUL, both for the length of the call; the kernel
    // writes no more than `names.len()` bytes at `names`, which is borrowed for us alone.
    let result = unsafe {
        libc::syscall(
            calls.listxattrat,
            c_int::from(directory.as_raw_fd()),
            name.as_ptr(),
            FLAGS,
            names.as_mut_ptr(),
            names.len(),
        )
    };
    length(result)
}

/// Writes the value of `attribute` of `name` in `directory` to `value`; returns how many bytes. An empty
/// `value` asks for the length alone.
///
/// # Errors
/// As [`listxattrat`], and `ENODATA` if there is no such attribute.
pub fn getxattrat(
    directory: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    value: &mut [u8],
) -> Result<usize> {
    let Some(calls) = CALLS else { return Err(unsupported()) };
    let mut arguments = XattrArguments {
        value: value.as_mut_ptr().expose_provenance() as u64,
        size: u32::try_from(value.len()).unwrap_or(u32::MAX),
        flags: 0,
    };
    // SAFETY: the descriptor is open and the names end with NUL, all for the length of the call; `arguments` has
    // the size that is given, and the kernel writes no more than its `size` bytes at its `value`, which is
    // borrowed for us alone and at least that long.
    let result = unsafe {
        libc::syscall(
            calls.getxattrat,
            c_int::from(directory.as_raw_fd()),
            name.as_ptr(),
            FLAGS,
            attribute.as_ptr(),
            &raw mut arguments,
            size_of::<XattrArguments>(),
        )
    };
    length(result)
}

fn unsupported() -> Error {
    Error::from_raw_os_error(libc::ENOSYS)
}

/// A length, or the error that the C library has noted.
fn length(result: c_long) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_not_there_is_told_by_the_system() {
        let directory = File::open("/").expect("the root can be opened");

        let listed = listxattrat(directory.as_fd(), c"no such name", &mut [0; 16]);
        let read = getxattrat(directory.as_fd(), c"no such name", c"user.x", &mut [0; 16]);

        for result in [listed, read] {
            let code = result.expect_err("nothing lies there").raw_os_error();
            assert!(matches!(code, Some(libc::ENOENT | libc::ENOSYS | libc::EPERM)), "{code:?}");
        }
    }

    #[test]
    fn names_end_with_nul_and_values_have_their_length() {
        let directory = File::open("/").expect("the root can be opened");
        let mut names = [0; 4_096];

        match listxattrat(directory.as_fd(), c"etc", &mut names) {
            Ok(length) => assert!(length == 0 || names[length - 1] == 0),
            Err(error) => println!("SKIP: {error}"),
        }
    }
}
