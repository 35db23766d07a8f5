//! A named thread that is joined by its owner.

use std::thread::JoinHandle;

/// A running thread. Dropping it joins.
#[derive(Debug)]
pub struct Worker {
    handle: Option<JoinHandle<()>>,
}

/// The thread panicked: a defect of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a thread of osync failed: {text}; please report this")]
pub struct Panicked {
    /// What it said last.
    pub text: String,
}

impl Worker {
    /// Starts `body` on a thread called `osync-<role>`.
    ///
    /// # Errors
    /// What the operating system says when it has no thread to give.
    pub fn start(role: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let handle = std::thread::Builder::new().name(format!("osync-{role}")).spawn(body)?;
        Ok(Self { handle: Some(handle) })
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the thread to end.
    ///
    /// # Errors
    /// [`Panicked`] if it did not end by itself.
    pub fn join(mut self) -> Result<(), Panicked> {
        self.handle.take().map_or(Ok(()), |handle| {
            handle.join().map_err(|panic| {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(ToString::to_string)
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_owned());
                Panicked { text }
            })
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("a thread of osync failed");
        }
    }
}
