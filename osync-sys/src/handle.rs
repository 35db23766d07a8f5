//! Files by handle: what `open_by_handle_at` opens.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// The longest handle the kernel knows, in bytes.
pub const HANDLE_BYTES_MAX: usize = 128;

/// `struct file_handle` with room for the longest handle.
#[repr(C)]
struct RawHandle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    handle: [u8; HANDLE_BYTES_MAX],
}

/// Opens, as a place to work relative to (`O_PATH`), what `handle` of type `kind` stands for.
///
/// `mount` is any open file on the file system that the handle is of, not itself opened with `O_PATH`. Needs the
/// capability `CAP_DAC_READ_SEARCH`.
///
/// # Errors
/// `ESTALE` if the file system has no such file any more, `EINVAL` for a handle that is too long or not one of its
/// own, `EPERM` without the capability.
pub fn open_by_handle(mount: impl AsFd, kind: i32, handle: &[u8]) -> io::Result<OwnedFd> {
    let mut raw = RawHandle { bytes: 0, kind, handle: [0; HANDLE_BYTES_MAX] };
    let Some(room) = raw.handle.get_mut(..handle.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    room.copy_from_slice(handle);
    raw.bytes = u32::try_from(handle.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: `raw` begins as `struct file_handle` does and has `raw.bytes` bytes behind that; the kernel only reads
    // it, during the call. Handles are checked by the kernel, so any bytes are allowed.
    let opened =
        unsafe { libc::open_by_handle_at(mount.as_fd().as_raw_fd(), (&raw mut raw).cast(), flags) };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// Type and bytes of the handle of the open file `file`, which may be opened with `O_PATH`.
///
/// # Errors
/// `EOPNOTSUPP` if the file system has no handles.
pub fn handle_of(file: impl AsFd) -> io::Result<(i32, Vec<u8>)> {
    let room = u32::try_from(HANDLE_BYTES_MAX).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut raw = RawHandle { bytes: room, kind: 0, handle: [0; HANDLE_BYTES_MAX] };
    let mut mount = 0;
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: `raw` begins as `struct file_handle` does and has the `raw.bytes` bytes of room behind that which it
    // says; the path is an empty string that ends in NUL; `mount` is a number to write to.
    let result = unsafe {
        libc::name_to_handle_at(
            descriptor,
            c"".as_ptr(),
            (&raw mut raw).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let length = HANDLE_BYTES_MAX.min(raw.bytes as usize);
    Ok((raw.kind, raw.handle[..length].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_that_are_none_are_refused() {
        let directory = std::fs::File::open(".").expect("the working directory can be read");

        assert!(open_by_handle(&directory, 1, &[0; HANDLE_BYTES_MAX + 1]).is_err());
        assert!(open_by_handle(&directory, 255, &[0xff; 8]).is_err());
    }
}
