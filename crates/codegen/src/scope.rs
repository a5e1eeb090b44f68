//! Which names generated code can import, when a contract may define a `Result` or a `Context` of its own.

use crate::ident;
use prost_types::FileDescriptorProto;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The names of one package's module.
pub(crate) struct Scope {
    taken: BTreeSet<String>,
    imports: RefCell<BTreeMap<&'static str, BTreeSet<&'static str>>>,
}

impl Scope {
    /// Reserves what the `files` of the package define.
    pub(crate) fn new<'a>(files: impl Iterator<Item = &'a FileDescriptorProto>) -> Self {
        let mut taken = BTreeSet::new();
        for file in files {
            taken.extend(file.message_type.iter().map(|m| ident::camel(m.name())));
            taken.extend(file.enum_type.iter().map(|e| ident::camel(e.name())));
            for service in &file.service {
                taken.insert(ident::camel(service.name()));
                taken.insert(format!("{}Client", ident::camel(service.name())));
            }
        }
        Self { taken, imports: RefCell::default() }
    }

    /// Returns how to write `module::name`: imported if the package leaves the name free, else in full.
    pub(crate) fn import(&self, module: &'static str, name: &'static str) -> String {
        if self.taken.contains(name) {
            return format!("{module}::{name}");
        }
        self.imports.borrow_mut().entry(module).or_default().insert(name);
        name.to_owned()
    }

    /// Returns how to write `module::name`, which is in Rust's prelude.
    pub(crate) fn prelude(&self, module: &str, name: &str) -> String {
        if self.taken.contains(name) { format!("{module}::{name}") } else { name.to_owned() }
    }

    /// Returns `name`, or something like it if the package defines it.
    pub(crate) fn generic(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.taken.contains(&name) {
            name.push('T');
        }
        name
    }

    /// Writes the `use` declarations for all that was imported.
    pub(crate) fn uses(&self) -> String {
        let imports = self.imports.borrow();
        let lines = imports.iter().map(|(module, names)| {
            let names: Vec<_> = names.iter().copied().collect();
            match names.as_slice() {
                [name] => format!("use {module}::{name};\n"),
                names => format!("use {module}::{{{}}};\n", names.join(", ")),
            }
        });
        lines.collect()
    }
}
