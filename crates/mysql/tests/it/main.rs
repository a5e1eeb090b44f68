//! Stores on a real MariaDB.

mod conformance;
mod faults;
mod mariadb;
