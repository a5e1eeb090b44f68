//! What is measured of calls.

use crate::MethodInfo;
use banyan_core::{Code, Result};
use metrics::Histogram;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The histogram `rpc.client.call.duration` in seconds, by service, method and code.
///
/// Its handles are made at the first call with each outcome: a recorder must be installed before that.
#[derive(Default)]
pub(crate) struct CallMetrics(RwLock<HashMap<usize, Arc<Outcomes>>>);

/// One handle for success and one for each code.
type Outcomes = [OnceLock<Histogram>; 17];

impl CallMetrics {
    pub(crate) fn record<T>(&self, method: &'static MethodInfo, duration: Duration, outcome: &Result<T>) {
        let code = outcome.as_ref().err().map(banyan_core::Error::code);
        // By its address: that costs less than its path, and a method described twice still counts as one.
        let key = std::ptr::from_ref(method) as usize;
        let known = self.0.read().get(&key).cloned();
        let outcomes = known.unwrap_or_else(|| self.0.write().entry(key).or_default().clone());
        let handle = outcomes[code.map_or(0, |code| code as usize)].get_or_init(|| {
            let labels = [
                ("service", method.service),
                ("method", method.name),
                ("code", code.map_or("OK", Code::name)),
            ];
            metrics::histogram!("rpc.client.call.duration", &labels)
        });
        handle.record(duration);
    }
}
