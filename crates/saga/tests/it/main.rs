//! Sagas on a real store.

mod changed_code;
mod compensation;
mod forward;
mod operator;
mod sigkill;
mod support;
mod waiting;
