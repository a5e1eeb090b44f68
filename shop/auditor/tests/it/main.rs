//! The auditor over real files and a real card processor: books that balance, books that do not, books that are gone.

mod books;
mod shop;
