//! The program as it is called: a process with arguments, an environment and a folder.

mod config;
mod load;
mod remembered;
