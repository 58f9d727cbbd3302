use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::{Directory, Error, Options};

/// The directories under which shared state may name a directory to serve; none by default.
///
/// A record in the store must not open the machine's files: what it names is opened through one of these, so that
/// neither `..` nor a symbolic link leads out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots(Vec<PathBuf>);

impl Roots {
    /// # Errors
    /// [`Error::NotAbsolute`] when one is no absolute path without `..`.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Result<Self, Error> {
        roots.into_iter().map(checked).collect::<Result<_, _>>().map(Self)
    }

    /// Opens a directory that is one of the roots or lies under one, also after symbolic links were followed.
    ///
    /// # Errors
    /// [`Error::NotAbsolute`]; [`Error::Outside`]; [`Error::Open`] when it can't be opened; [`Error::Name`];
    /// [`Error::Unsupported`].
    pub fn open(&self, path: &Path, options: Options) -> Result<Directory, Error> {
        let path = checked(path.to_owned())?;
        let within = self.0.iter().filter(|root| path.starts_with(root));
        let Some(root) = within.max_by_key(|root| root.as_os_str().len()) else {
            return Err(Error::Outside { path });
        };
        Directory::at(Place { path, within: Some(root.clone()) }, options)
    }
}

/// Where a directory is, so that it can be looked up again.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// What it must lie under.
    pub(crate) within: Option<PathBuf>,
}

impl Place {
    /// Opens what is there now.
    pub(crate) fn open(&self) -> Result<OwnedFd, Error> {
        let failed = |source| Error::Open { path: self.path.clone(), source };
        let handle = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(within) = &self.within else {
            return openat(CWD, &self.path, handle, Mode::empty())
                .map_err(|errno| failed(errno.into()));
        };
        // Absolute links are fine as long as they end inside, so the real paths are compared. Should one change
        // meanwhile, `BENEATH` still holds.
        let real = self.path.canonicalize().map_err(failed)?;
        let root = within.canonicalize().map_err(failed)?;
        let outside = || Error::Outside { path: self.path.clone() };
        let relative = real.strip_prefix(&root).map_err(|_| outside())?;
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let root = openat(CWD, &root, handle, Mode::empty()).map_err(|e| failed(e.into()))?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(&root, relative, handle, Mode::empty(), resolve) {
            Ok(directory) => Ok(directory),
            Err(Errno::XDEV) => Err(outside()),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    /// Whether files can be opened beneath it: the kernel must have `openat2`, and the process may list it.
    pub(crate) fn check(&self, directory: &OwnedFd) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat2(directory, ".", flags, Mode::empty(), ResolveFlags::BENEATH) {
            Ok(_) => Ok(()),
            // Filters of containers answer EPERM to calls that they don't know.
            Err(Errno::NOSYS | Errno::PERM) => Err(Error::Unsupported),
            Err(errno) => {
                let source = io::Error::from(errno);
                Err(Error::Open { path: self.path.clone(), source })
            }
        }
    }
}

fn checked(path: PathBuf) -> Result<PathBuf, Error> {
    let plain = path.components().all(|part| !matches!(part, Component::ParentDir));
    if path.is_absolute() && plain { Ok(path) } else { Err(Error::NotAbsolute { path }) }
}
