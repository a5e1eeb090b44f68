//! Orders with all the services that take part in one, a real card processor, and the auditor as the judge. What must
//! hold of both flows is tested with both.

mod ends;
mod placing;
mod shop;
mod trouble;
mod watching;
