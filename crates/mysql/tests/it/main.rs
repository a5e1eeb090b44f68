//! Stores on a real MariaDB.

mod conformance;
mod examine;
mod faults;
mod mariadb;
