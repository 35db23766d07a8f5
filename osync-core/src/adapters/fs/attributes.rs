//! Extended attributes and access lists, as the operating system keeps them.
//!
//! What has no descriptor is asked for by its name in its directory, which never follows a link: by the
//! system calls made for that, and on older kernels by way of `/proc`, which costs twice as much.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{self, XattrFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;
use rustix::process::geteuid;

use crate::adapters::fs::unlock::proc_path;
use crate::model::attributes::{Attribute, Attributes, Class, Classes};

/// For lists and values that are short, in bytes.
const SHORT_BYTES: usize = 256;

/// The longest list and the longest value of the kernel, in bytes.
const LONG_BYTES: usize = 64 * 1024;

/// What attributes belong to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder<'a> {
    /// A descriptor opened for reading or writing.
    Open(BorrowedFd<'a>),
    /// A descriptor of `O_PATH`.
    Path(BorrowedFd<'a>),
    /// What lies at a name in a directory.
    At(BorrowedFd<'a>, &'a [u8]),
}

/// Reads attributes of one file system, and knows what it and the kernel can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttributeReader {
    is_supported: bool,
    /// Linux 6.13.
    has_calls_by_name: bool,
}

impl AttributeReader {
    /// Finds nothing, for what is known to have none.
    pub(super) const NONE: Self = Self { is_supported: false, has_calls_by_name: false };

    /// Tries on `root`, the directory of a tree.
    pub(super) fn probe(root: BorrowedFd<'_>) -> Self {
        let calls = listxattrat(root, b".", &mut []);
        let reader = Self {
            is_supported: true,
            // Some sandboxes forbid what they do not know.
            has_calls_by_name: !matches!(calls, Err(Errno::NOSYS | Errno::PERM)),
        };
        let is_supported = !matches!(reader.names(Holder::At(root, b".")), Err(Errno::OPNOTSUPP));
        Self { is_supported, ..reader }
    }

    /// As on a kernel before 6.13.
    #[cfg(feature = "testing")]
    pub(super) fn without_calls_by_name(self) -> Self {
        Self { has_calls_by_name: false, ..self }
    }

    /// The classes of attributes that can be told.
    pub(super) fn classes(self) -> Classes {
        if !self.is_supported {
            Classes::NONE
        } else if geteuid().is_root() {
            Classes::ALL
        } else {
            // The kernel hides them from everybody else.
            Classes::ALL.without(Class::Trusted)
        }
    }

    /// All attributes of `holder`, in full; [`Errno::TOOBIG`] if they are more than can be kept.
    pub(super) fn read(self, holder: Holder<'_>) -> Result<Attributes> {
        if !self.is_supported {
            return Ok(Attributes::None);
        }
        // Most entries have none, and asking for the length alone is the cheapest way to know.
        match self.names_bytes(holder) {
            // One kind of entry may have none where others do.
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Attributes::None),
            length => length?,
        };
        let names = self.names(holder)?;
        let mut attributes = Vec::new();
        let mut bytes = 0;
        for name in names.split(|&byte| byte == 0).filter(|name| Class::of(name).is_some()) {
            let value = match self.value(holder, name) {
                // It was removed since.
                Err(Errno::NODATA) => continue,
                value => value?,
            };
            bytes += name.len() + value.len();
            if bytes > Attributes::BYTES_MAX {
                return Err(Errno::TOOBIG);
            }
            attributes.push(Attribute { name: name.into(), value: value.into() });
        }
        Ok(Attributes::new(attributes))
    }

    /// The digests of all attributes of `holder`; of what cannot be read, those that equal nothing.
    pub(super) fn digests(self, holder: Holder<'_>) -> Result<Attributes> {
        Self::digested(self.read(holder))
    }

    /// The digests of what was read.
    pub(super) fn digested(read: Result<Attributes>) -> Result<Attributes> {
        match read {
            Ok(attributes) => Ok(attributes.digested()),
            Err(Errno::NOENT) => Err(Errno::NOENT),
            Err(_) => Ok(Attributes::unreadable()),
        }
    }

    /// How many bytes the names of the attributes of `holder` are.
    fn names_bytes(self, holder: Holder<'_>) -> Result<usize> {
        match holder {
            Holder::Open(open) => fs::flistxattr_query(open),
            Holder::Path(path) => fs::listxattr_query(proc_path(path)),
            Holder::At(directory, name) if self.has_calls_by_name => {
                listxattrat(directory, name, &mut [])
            }
            Holder::At(directory, name) => fs::llistxattr_query(path_of(directory, name)),
        }
    }

    /// The names of the attributes of `holder`, each with a final NUL.
    fn names(self, holder: Holder<'_>) -> Result<Vec<u8>> {
        fill(|buffer| match holder {
            Holder::Open(open) => fs::flistxattr(open, buffer),
            Holder::Path(path) => fs::listxattr(proc_path(path), buffer),
            Holder::At(directory, name) if self.has_calls_by_name => {
                listxattrat(directory, name, buffer)
            }
            Holder::At(directory, name) => fs::llistxattr(path_of(directory, name), buffer),
        })
    }

    fn value(self, holder: Holder<'_>, attribute: &[u8]) -> Result<Vec<u8>> {
        fill(|buffer| match holder {
            Holder::Open(open) => fs::fgetxattr(open, attribute, buffer),
            Holder::Path(path) => fs::getxattr(proc_path(path), attribute, buffer),
            Holder::At(directory, name) if self.has_calls_by_name => name.into_with_c_str(|name| {
                attribute.into_with_c_str(|attribute| {
                    errno(osync_sys::getxattrat(directory, name, attribute, buffer))
                })
            }),
            Holder::At(directory, name) => {
                fs::lgetxattr(path_of(directory, name), attribute, buffer)
            }
        })
    }
}

impl Holder<'_> {
    /// Sets `attribute`, whether or not there is one of its name.
    pub(super) fn set(self, Attribute { name, value }: &Attribute) -> Result<()> {
        let (name, flags) = (&name[..], XattrFlags::empty());
        match self {
            Self::Open(open) => fs::fsetxattr(open, name, value, flags),
            Self::Path(path) => fs::setxattr(proc_path(path), name, value, flags),
            Self::At(directory, entry) => {
                fs::lsetxattr(path_of(directory, entry), name, value, flags)
            }
        }
    }

    /// Removes the attribute called `name`; one that is not there is no error.
    fn remove(self, name: &[u8]) -> Result<()> {
        let removed = match self {
            Self::Open(open) => fs::fremovexattr(open, name),
            Self::Path(path) => fs::removexattr(proc_path(path), name),
            Self::At(directory, entry) => fs::lremovexattr(path_of(directory, entry), name),
        };
        if removed == Err(Errno::NODATA) { Ok(()) } else { removed }
    }
}

/// What is to be done to the attributes of one entry.
///
/// In two steps, because a change of the mode rewrites an access list: [`Changes::before_mode`] and
/// [`Changes::after_mode`].
#[derive(Debug)]
pub(super) struct Changes<'w> {
    removed: Vec<Box<[u8]>>,
    set: Vec<&'w Attribute>,
    access: Vec<&'w Attribute>,
    differs_in_access: bool,
}

impl<'w> Changes<'w> {
    /// What makes `wanted` of `present`, among `classes`. Where of `wanted` only digests are known, nothing
    /// is to be done.
    pub(super) fn between(present: &Attributes, wanted: &'w Attributes, classes: Classes) -> Self {
        let classes = if let Attributes::Digests(_) = wanted { Classes::NONE } else { classes };
        let class = |attribute: &Attribute| {
            Class::of(&attribute.name).filter(|class| classes.contains(*class))
        };
        let has_name = |all: &[Attribute], name: &[u8]| {
            all.binary_search_by(|attribute| attribute.name[..].cmp(name)).is_ok()
        };
        let gone = present.full().iter().filter(|attribute| {
            class(attribute).is_some() && !has_name(wanted.full(), &attribute.name)
        });
        let removed: Vec<Box<[u8]>> = gone.map(|attribute| attribute.name.clone()).collect();
        let of_access = |attribute: &&Attribute| class(attribute) == Some(Class::Access);
        let access: Vec<&Attribute> = wanted.full().iter().filter(of_access).collect();
        let differs = |wanted: &&Attribute| !present.full().contains(wanted);
        let is_other = |attribute: &&Attribute| {
            class(attribute).is_some_and(|class| class != Class::Access) && differs(attribute)
        };
        Self {
            removed,
            set: wanted.full().iter().filter(is_other).collect(),
            differs_in_access: access.iter().any(differs),
            access,
        }
    }

    /// Whether anything is done before the mode is set.
    pub(super) fn is_early(&self) -> bool {
        !self.removed.is_empty() || !self.set.is_empty()
    }

    /// Removes what is too much, and sets everything but access lists.
    pub(super) fn before_mode(&self, holder: Holder<'_>) -> Result<()> {
        self.removed.iter().try_for_each(|name| holder.remove(name))?;
        self.set.iter().try_for_each(|attribute| holder.set(attribute))
    }

    /// Sets access lists, if they differ or the mode has been set since.
    pub(super) fn after_mode(&self, holder: Holder<'_>, is_mode_set: bool) -> Result<()> {
        if !self.differs_in_access && !is_mode_set {
            return Ok(());
        }
        self.access.iter().try_for_each(|attribute| holder.set(attribute))
    }
}

fn listxattrat(directory: BorrowedFd<'_>, name: &[u8], buffer: &mut [u8]) -> Result<usize> {
    name.into_with_c_str(|name| errno(osync_sys::listxattrat(directory, name, buffer)))
}

fn errno<T>(result: std::io::Result<T>) -> Result<T> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// What `read` writes, into a short buffer first.
fn fill(mut read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut short = [0; SHORT_BYTES];
    match read(&mut short) {
        Err(Errno::RANGE) => {
            let mut long = vec![0; LONG_BYTES];
            let length = read(&mut long)?;
            long.truncate(length);
            Ok(long)
        }
        read => Ok(short[..read?].to_vec()),
    }
}

fn path_of(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}
