//! The gRPC reflection protocol (<https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>), v1 and v1alpha.

use crate::proto::Proto;
use crate::server::table::{Table, Tables};
use crate::{Idempotency, Kind, MethodInfo, Service, Streaming};
use banyan_core::{Code, Context};
use bytes::Bytes;
use futures::StreamExt;
use prost::{Message, Oneof};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

static V1: MethodInfo = MethodInfo {
    service: "grpc.reflection.v1.ServerReflection",
    name: "ServerReflectionInfo",
    path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    kind: Kind::Bidirectional,
    idempotency: Idempotency::NoSideEffects,
};

static V1_ALPHA: MethodInfo = MethodInfo {
    service: "grpc.reflection.v1alpha.ServerReflection",
    path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ..V1
};

#[derive(Clone, PartialEq, Message)]
struct ReflectionRequest {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(oneof = "Question", tags = "3, 4, 5, 6, 7")]
    question: Option<Question>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Question {
    #[prost(string, tag = "3")]
    FileByFilename(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
    #[prost(message, tag = "5")]
    FileContainingExtension(ExtensionRequest),
    #[prost(string, tag = "6")]
    AllExtensionNumbersOfType(String),
    #[prost(string, tag = "7")]
    ListServices(String),
}

#[derive(Clone, PartialEq, Message)]
struct ExtensionRequest {
    #[prost(string, tag = "1")]
    containing_type: String,
    #[prost(int32, tag = "2")]
    extension_number: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ReflectionResponse {
    #[prost(string, tag = "1")]
    valid_host: String,
    #[prost(message, optional, tag = "2")]
    original_request: Option<ReflectionRequest>,
    #[prost(oneof = "Answer", tags = "4, 5, 6, 7")]
    answer: Option<Answer>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Answer {
    #[prost(message, tag = "4")]
    Files(Files),
    #[prost(message, tag = "5")]
    ExtensionNumbers(ExtensionNumbers),
    #[prost(message, tag = "6")]
    Services(Services),
    #[prost(message, tag = "7")]
    Error(Refusal),
}

/// An encoded file keeps the options that this build does not know.
#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file_descriptor_proto: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct ExtensionNumbers {
    #[prost(string, tag = "1")]
    base_type_name: String,
    #[prost(int32, repeated, tag = "2")]
    extension_number: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    service: Vec<NamedService>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedService {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(int32, tag = "1")]
    error_code: i32,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// A `FileDescriptorSet` whose files are left encoded.
#[derive(Clone, PartialEq, Message)]
struct EncodedSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

/// Makes the reflection services of a server, which answer from the descriptors of what it serves.
pub(crate) fn services(tables: &Arc<Tables>) -> Vec<Service> {
    [&V1, &V1_ALPHA].map(|method| service(method, tables.clone())).into()
}

fn service(method: &'static MethodInfo, tables: Arc<Tables>) -> Service {
    let handler = move |_: Context, requests: Streaming<Proto<ReflectionRequest>>| {
        let index = Index::new(&tables.current());
        let answers = requests.map(move |item| item.map(|Proto(request)| Proto(index.answer(request))));
        std::future::ready(Ok(Streaming::new(answers)))
    };
    Service::builder(method.service, &[]).bidirectional(method, handler).build()
}

/// The files of all contracts of a server, by what they declare.
struct Index {
    services: Vec<String>,
    /// The encoded file and its imports, by name.
    files: HashMap<String, (Bytes, Vec<String>)>,
    /// Name of the file that declares a symbol.
    symbols: HashMap<String, String>,
    /// Name of the file that declares an extension, by extended type and number.
    extensions: HashMap<String, BTreeMap<i32, String>>,
}

impl Index {
    fn new(table: &Table) -> Self {
        let mut services: Vec<String> = table.mounts.keys().cloned().collect();
        services.extend([super::health::NAME, V1.service, V1_ALPHA.service].map(str::to_owned));
        services.sort();
        let (files, symbols, extensions) = Default::default();
        let mut index = Self { services, files, symbols, extensions };
        for mount in table.mounts.values() {
            // What cannot be read is not described; that is all reflection can say of it.
            for file in EncodedSet::decode(mount.descriptors.clone()).unwrap_or_default().file {
                if let Ok(descriptor) = FileDescriptorProto::decode(file.clone()) {
                    index.add(file, descriptor);
                }
            }
        }
        index
    }

    fn add(&mut self, encoded: Bytes, file: FileDescriptorProto) {
        let name = file.name().to_owned();
        let scope = file.package().to_owned();
        for service in &file.service {
            let service_name = self.declare(&scope, service.name(), &name);
            for method in &service.method {
                self.declare(&service_name, method.name(), &name);
            }
        }
        file.message_type.iter().for_each(|message| self.add_message(&scope, message, &name));
        file.enum_type.iter().for_each(|declared| self.add_enum(&scope, declared, &name));
        for extension in &file.extension {
            self.declare(&scope, extension.name(), &name);
            let extended = extension.extendee().trim_start_matches('.').to_owned();
            self.extensions.entry(extended).or_default().insert(extension.number(), name.clone());
        }
        self.files.insert(name, (encoded, file.dependency));
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, file: &str) {
        let name = self.declare(scope, message.name(), file);
        for field in &message.field {
            self.declare(&name, field.name(), file);
        }
        message.nested_type.iter().for_each(|nested| self.add_message(&name, nested, file));
        message.enum_type.iter().for_each(|nested| self.add_enum(&name, nested, file));
    }

    fn add_enum(&mut self, scope: &str, declared: &EnumDescriptorProto, file: &str) {
        self.declare(scope, declared.name(), file);
        for value in &declared.value {
            self.declare(scope, value.name(), file);
        }
    }

    fn declare(&mut self, scope: &str, name: &str, file: &str) -> String {
        let full = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.insert(full.clone(), file.to_owned());
        full
    }

    fn answer(&self, request: ReflectionRequest) -> ReflectionResponse {
        let answer = match &request.question {
            Some(Question::FileByFilename(name)) => self.file(Some(name), name),
            Some(Question::FileContainingSymbol(symbol)) => {
                self.file(self.symbols.get(symbol.trim_start_matches('.')), symbol)
            }
            Some(Question::FileContainingExtension(wanted)) => {
                let numbers = self.extensions.get(&wanted.containing_type);
                self.file(numbers.and_then(|n| n.get(&wanted.extension_number)), &wanted.containing_type)
            }
            Some(Question::AllExtensionNumbersOfType(name)) => match self.extensions.get(name) {
                None if !self.symbols.contains_key(name) => refusal(Code::NotFound, name),
                numbers => Answer::ExtensionNumbers(ExtensionNumbers {
                    base_type_name: name.clone(),
                    extension_number: numbers.map(|n| n.keys().copied().collect()).unwrap_or_default(),
                }),
            },
            Some(Question::ListServices(_)) => {
                let service = self.services.iter().map(|name| NamedService { name: name.clone() }).collect();
                Answer::Services(Services { service })
            }
            None => refusal(Code::InvalidArgument, "an empty question"),
        };
        let valid_host = request.host.clone();
        ReflectionResponse { valid_host, original_request: Some(request), answer: Some(answer) }
    }

    /// Answers with a file and everything it imports.
    fn file(&self, name: Option<&String>, asked: &str) -> Answer {
        let Some(name) = name.filter(|name| self.files.contains_key(*name)) else {
            return refusal(Code::NotFound, asked);
        };
        let (mut names, mut next) = (vec![name], 0);
        while let Some(name) = names.get(next) {
            let imports = self.files.get(*name).map(|(_, imports)| imports.as_slice()).unwrap_or_default();
            for import in imports {
                if !names.contains(&import) {
                    names.push(import);
                }
            }
            next += 1;
        }
        let files = names.into_iter().filter_map(|name| self.files.get(name)).map(|(file, _)| file.clone());
        Answer::Files(Files { file_descriptor_proto: files.collect() })
    }
}

fn refusal(code: Code, asked: &str) -> Answer {
    Answer::Error(Refusal { error_code: code as i32, error_message: format!("cannot answer about {asked}") })
}
