//! A service's settings that change while it runs.

use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// A service's settings as they are at each moment; see [`crate::Host::live_settings`]. Cheap to clone.
pub struct Live<T>(watch::Receiver<Arc<T>>);

impl<T> Live<T> {
    pub(crate) fn new(settings: watch::Receiver<Arc<T>>) -> Self {
        Self(settings)
    }

    /// Returns the settings that hold now. Read once for a piece of work that needs several of one time.
    pub fn get(&self) -> Arc<T> {
        self.0.borrow().clone()
    }

    /// Waits until the settings are other ones than when this was called or made the last time, and returns them. Safe to
    /// drop; never ends if the process does.
    pub async fn changed(&mut self) -> Arc<T> {
        match self.0.changed().await {
            Ok(()) => self.0.borrow_and_update().clone(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&*self.0.borrow()).finish()
    }
}
