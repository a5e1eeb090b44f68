//! From descriptors to the Rust code of each package.

use crate::compile::Contracts;
use crate::scope::Scope;
use crate::{Error, Options, Result, impls, service};
use prost_build::Module;
use prost_reflect::{FileDescriptor, Kind, MessageDescriptor};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The code of one package.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) module: Module,
    /// The contracts it comes from, relative to their root.
    pub(crate) sources: Vec<String>,
    /// Formatted, without header.
    pub(crate) code: String,
}

/// Writes every package of `contracts`, by name.
///
/// # Errors
/// When a contract asks for something that cannot be generated.
pub(crate) fn render(options: &Options, contracts: &Contracts) -> Result<BTreeMap<String, Package>> {
    let files: Vec<FileDescriptor> = contracts
        .files
        .iter()
        .map(|file| contracts.pool.get_file_by_name(file.name()).expect("the pool holds every compiled file"))
        .collect();
    check_references(options, &files)?;
    let redacting = files.iter().flat_map(messages).filter(impls::redacts).collect::<Vec<_>>();
    let services = Services::new(contracts);
    let structs = prost_messages(options, contracts, &redacting, &services);

    let mut packages = BTreeMap::new();
    for (name, scope) in services.scopes.iter() {
        let own: Vec<&FileDescriptor> = files.iter().filter(|file| file.package_name() == name).collect();
        let module = Module::from_protobuf_package_name(name);
        let mut implementations = String::new();
        for message in own.iter().flat_map(|file| self::messages(file)) {
            implementations.push_str(&impls::render(&message, scope)?);
        }
        if !implementations.is_empty() {
            implementations.push_str(&impls::decoder(scope));
        }
        let code = [
            scope.uses().as_str(),
            descriptors(&module).as_str(),
            services.code.borrow().get(name).map_or("", String::as_str),
            structs.get(&module).map_or("", String::as_str),
            &implementations,
        ]
        .concat();
        let parsed =
            syn::parse_file(&code).map_err(|source| Error::Unparsable { package: name.clone(), source })?;
        let sources = own.iter().map(|file| file.name().to_owned()).collect();
        let code = format(parsed);
        packages.insert(name.clone(), Package { module, sources, code });
    }
    Ok(packages)
}

/// Returns all messages of a file, nested ones after the one they are nested in; without map entries.
pub(crate) fn messages(file: &FileDescriptor) -> Vec<MessageDescriptor> {
    fn add(message: MessageDescriptor, found: &mut Vec<MessageDescriptor>) {
        if !message.is_map_entry() {
            found.push(message.clone());
            message.child_messages().for_each(|child| add(child, found));
        }
    }
    let mut found = Vec::new();
    file.messages().for_each(|message| add(message, &mut found));
    found
}

/// Formats code, with a blank line between items that are not imports.
fn format(file: syn::File) -> String {
    let mut code = String::new();
    let mut after_import = true;
    for item in file.items {
        let import = matches!(item, syn::Item::Use(_));
        if !(import && after_import) {
            code.push('\n');
        }
        after_import = import;
        code.push_str(&prettyplease::unparse(&syn::File {
            shebang: None,
            attrs: Vec::new(),
            items: vec![item],
        }));
    }
    code
}

/// Returns how a package sees the constant that the root module defines.
fn descriptors(module: &Module) -> String {
    if module.is_empty() {
        return String::new();
    }
    format!("pub use {}DESCRIPTORS;\n", "super::".repeat(module.len()))
}

/// Writes services while prost-build walks the files; it keeps its comments to itself otherwise.
#[derive(Clone)]
struct Services {
    scopes: Rc<BTreeMap<String, Scope>>,
    code: Rc<RefCell<BTreeMap<String, String>>>,
}

impl Services {
    fn new(contracts: &Contracts) -> Self {
        let names: BTreeSet<&str> = contracts.files.iter().map(|file| file.package()).collect();
        let scopes = names.into_iter().map(|name| {
            (name.to_owned(), Scope::new(contracts.files.iter().filter(|file| file.package() == name)))
        });
        Self { scopes: Rc::new(scopes.collect()), code: Rc::default() }
    }
}

impl prost_build::ServiceGenerator for Services {
    fn generate(&mut self, service: prost_build::Service, buf: &mut String) {
        let code = service::render(&service, &self.scopes[&service.package]);
        self.code.borrow_mut().entry(service.package).or_default().push_str(&code);
        // prost-build drops a package without text, and then misses it.
        buf.push('\n');
    }
}

/// Lets prost-build write messages and enums, by module.
fn prost_messages(
    options: &Options,
    contracts: &Contracts,
    redacting: &[MessageDescriptor],
    services: &Services,
) -> BTreeMap<Module, String> {
    let mut config = prost_build::Config::new();
    config
        // Maps in key order, so that equal messages have equal bytes.
        .btree_map(["."])
        .bytes(["."])
        .skip_debug(redacting.iter().map(|message| format!(".{}", message.full_name())))
        .service_generator(Box::new(services.clone()))
        .format(false);
    for (package, module) in &options.externs {
        config.extern_path(format!(".{package}"), module);
    }
    // prost-build must see the messages of imports too; what it makes of them is not used.
    let mut imports = contracts.imports.clone();
    imports.iter_mut().for_each(|file| file.service.clear());
    let files = imports.into_iter().chain(contracts.files.iter().cloned());
    let requests = files.map(|file| (Module::from_protobuf_package_name(file.package()), file)).collect();
    let generated = config.generate(requests).expect("the configured paths are well formed");
    generated.into_iter().collect()
}

/// Fails on what would be Rust that does not compile.
fn check_references(options: &Options, files: &[FileDescriptor]) -> Result<()> {
    let generated: BTreeSet<&str> = files.iter().map(FileDescriptor::package_name).collect();
    let known = |package: &str| {
        generated.contains(package)
            || package == "google.protobuf"
            || options.externs.iter().any(|(external, _)| external == package)
    };
    for file in files {
        let check = |user: &str, used: &str, package: &str| {
            if known(package) {
                return Ok(());
            }
            Err(Error::NotGenerated {
                file: file.name().to_owned(),
                user: user.to_owned(),
                used: used.to_owned(),
                package: package.to_owned(),
            })
        };
        for message in all_messages(file) {
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(used) => check(field.full_name(), used.full_name(), used.package_name())?,
                    Kind::Enum(used) => check(field.full_name(), used.full_name(), used.package_name())?,
                    _ => {}
                }
            }
        }
        for method in file.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            for used in [method.input(), method.output()] {
                check(method.full_name(), used.full_name(), used.package_name())?;
                if used.package_name() == "google.protobuf" && used.name() != "Empty" {
                    return Err(Error::WellKnownType {
                        file: file.name().to_owned(),
                        method: method.full_name().to_owned(),
                        used: used.full_name().to_owned(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// Returns all messages of a file, map entries included.
fn all_messages(file: &FileDescriptor) -> Vec<MessageDescriptor> {
    let messages = messages(file);
    let entries = messages.iter().flat_map(|m| m.child_messages().filter(MessageDescriptor::is_map_entry));
    let entries: Vec<_> = entries.collect();
    messages.into_iter().chain(entries).collect()
}
