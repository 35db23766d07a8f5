//! What may be said of a [`DirectorySink`] before it is used.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::adapters::fs::owners::Owners;
use crate::adapters::fs::probe;
use crate::adapters::fs::sink::DirectorySink;
use crate::adapters::fs::trash::Trash;
use crate::adapters::fs::tree::Tree;
use crate::model::fidelity::Owner;
use crate::ports::accounts::Accounts;
use crate::ports::sink::SinkError;

impl DirectorySink {
    /// This sink, removing nothing: what the source has not stays, and a directory that is to make way for something
    /// else is a problem. What is overwritten or renamed is as without it.
    #[must_use]
    pub fn without_removals(self) -> Self {
        self.changed(|tree| tree.versions.keeps_all = true)
    }

    /// This sink, making sockets and device nodes if the source has some, as far as the target can hold them. Without
    /// this leave it makes none, whatever a source sends.
    #[must_use]
    pub fn with_devices(self) -> Self {
        self.changed(|tree| {
            tree.fidelity.nodes = probe::nodes(&tree.versions);
            tree.versions.fidelity = tree.fidelity;
            tree.versions.aside.tidy();
        })
    }

    /// This sink, keeping owners by name, where it keeps them: `accounts` says who has the names that the source
    /// tells. By default they are kept by number.
    #[must_use]
    pub fn with_accounts(self, accounts: Arc<dyn Accounts>) -> Self {
        self.changed(|tree| {
            if tree.fidelity.owner == Owner::Numbered {
                tree.fidelity.owner = Owner::Named;
                tree.versions.fidelity = tree.fidelity;
                tree.owners = Some(Owners::new(accounts));
            }
        })
    }

    /// This sink, keeping the set-id bits or not. By default it does if it keeps owners, as the superuser's does; else
    /// what runs as its owner would run as the sink's user.
    #[must_use]
    pub fn with_set_id(self, are_kept: bool) -> Self {
        self.changed(|tree| {
            tree.fidelity.set_id = are_kept;
            tree.versions.fidelity = tree.fidelity;
        })
    }

    /// This sink, moving what it removes or replaces to the directory at `trash`, by date and with its path, instead of
    /// deleting it. The directory is made if it is not there.
    ///
    /// # Errors
    /// [`SinkError::Trash`] if it lies in the target or on another file system, or cannot be used.
    pub fn with_trash(self, trash: &Path) -> Result<Self, SinkError> {
        let tree = &self.tree;
        let opened = Trash::open(trash, &tree.root, &tree.versions.aside);
        tree.versions.aside.tidy();
        let trash = opened.map_err(|reason| {
            let directory = trash.as_os_str().as_bytes().escape_ascii().to_string();
            SinkError::Trash { directory, reason }
        })?;
        Ok(self.changed(|tree| tree.versions.trash = Some(trash)))
    }

    fn changed(mut self, change: impl FnOnce(&mut Tree)) -> Self {
        match Arc::get_mut(&mut self.tree) {
            Some(tree) => change(tree),
            // Called while files are being written, which is not what it is for.
            None => log::error!("a sink that is in use cannot be changed"),
        }
        self
    }
}
