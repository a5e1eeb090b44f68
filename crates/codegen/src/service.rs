//! What is generated for a service: its methods, its trait, its handler table and its client.

use crate::ident;
use crate::scope::Scope;
use heck::ToShoutySnakeCase;
use prost_build::{Method, Service};
use prost_types::method_options::IdempotencyLevel;
use std::fmt::Write;

const CORE: &str = "::banyan_core";
const RPC: &str = "::banyan_rpc";

/// Writes all of a service.
pub(crate) fn render(service: &Service, scope: &Scope) -> String {
    let mut out = String::new();
    write_methods(&mut out, service);
    write_trait(&mut out, service, scope);
    write_table(&mut out, service, scope);
    write_client(&mut out, service, scope);
    out
}

/// What a method takes and returns, as it is written in Rust.
struct Shape {
    request: String,
    response: String,
}

impl Shape {
    fn of(method: &Method, scope: &Scope) -> Self {
        let stream = |streaming: bool, message: &str| {
            if streaming {
                format!("{}<{message}>", scope.import(RPC, "Streaming"))
            } else {
                message.to_owned()
            }
        };
        Self {
            request: stream(method.client_streaming, &method.input_type),
            response: stream(method.server_streaming, &method.output_type),
        }
    }
}

/// Returns the variant of `Kind`, and the function of `ServiceBuilder` and `Channel`.
fn kind(method: &Method) -> (&'static str, &'static str) {
    match (method.client_streaming, method.server_streaming) {
        (false, false) => ("Unary", "unary"),
        (false, true) => ("ServerStreaming", "server_streaming"),
        (true, false) => ("ClientStreaming", "client_streaming"),
        (true, true) => ("Bidirectional", "bidirectional"),
    }
}

/// Returns the full protobuf name of the service.
fn full_name(service: &Service) -> String {
    if service.package.is_empty() {
        service.proto_name.clone()
    } else {
        format!("{}.{}", service.package, service.proto_name)
    }
}

/// Returns the name of the constant that holds the service's full name.
fn name_constant(service: &Service) -> String {
    service.proto_name.to_shouty_snake_case()
}

/// Returns the name of the service's module and of the function that makes its handler table.
fn function_name(service: &Service) -> String {
    ident::snake(&service.proto_name)
}

fn info_name(method: &Method) -> String {
    method.proto_name.to_shouty_snake_case()
}

fn write_methods(out: &mut String, service: &Service) {
    let (full, constant, module) = (full_name(service), name_constant(service), function_name(service));
    let _ = write!(
        out,
        "/// The full name of [`{trait_name}`].\npub const {constant}: &str = {full:?};\n\n\
         /// The methods of [`{trait_name}`].\npub mod {module} {{\n",
        trait_name = service.name,
    );
    if !service.methods.is_empty() {
        let _ = writeln!(out, "use {RPC}::{{Idempotency, Kind, MethodInfo}};\n");
    }
    for method in &service.methods {
        let idempotency = match method.options.idempotency_level() {
            IdempotencyLevel::IdempotencyUnknown => "Unknown",
            IdempotencyLevel::NoSideEffects => "NoSideEffects",
            IdempotencyLevel::Idempotent => "Idempotent",
        };
        let _ = writeln!(
            out,
            "pub static {info}: MethodInfo = MethodInfo {{ service: super::{constant}, name: {name:?}, \
             path: \"/{full}/{name}\", kind: Kind::{kind}, idempotency: Idempotency::{idempotency} }};",
            info = info_name(method),
            name = method.proto_name,
            kind = kind(method).0,
        );
    }
    out.push_str("}\n\n");
}

fn write_trait(out: &mut String, service: &Service, scope: &Scope) {
    let (send, sync) = (scope.prelude("::core::marker", "Send"), scope.prelude("::core::marker", "Sync"));
    if service.comments.leading.is_empty() {
        let _ = writeln!(out, "/// What a service does that serves `{}`.", full_name(service));
    }
    service.comments.append_with_indent(0, out);
    let _ = writeln!(out, "pub trait {}: {send} + {sync} + 'static {{", service.name);
    for method in &service.methods {
        let shape = Shape::of(method, scope);
        method.comments.append_with_indent(1, out);
        let _ = writeln!(
            out,
            "    fn {name}(&self, cx: &{cx}, req: {req}) -> impl {future}<Output = {result}<{res}>> + {send};",
            name = method.name,
            cx = scope.import(CORE, "Context"),
            result = scope.import(CORE, "Result"),
            future = scope.prelude("::core::future", "Future"),
            req = shape.request,
            res = shape.response,
        );
    }
    out.push_str("}\n\n");
}

fn write_table(out: &mut String, service: &Service, scope: &Scope) {
    let function = function_name(service);
    let generic = scope.generic("S");
    let _ = write!(
        out,
        "/// Makes the handler table that serves `service`.\n\
         pub fn {function}<{generic}: {trait_name}>(service: {arc}<{generic}>) -> {table} {{\n",
        trait_name = service.name,
        arc = scope.import("::std::sync", "Arc"),
        table = scope.import(RPC, "Service"),
    );
    let binding = if service.methods.is_empty() { "let _ = service;\nlet table" } else { "let mut table" };
    let _ = writeln!(
        out,
        "{binding} = {table}::builder({constant}, DESCRIPTORS);",
        table = scope.import(RPC, "Service"),
        constant = name_constant(service)
    );
    let last = service.methods.len().saturating_sub(1);
    for (index, method) in service.methods.iter().enumerate() {
        let shape = Shape::of(method, scope);
        let _ = write!(
            out,
            "let s = service{clone};\n\
             table = table.{call}(&{function}::{info}, move |cx: {cx}, req: {req}| {{\n\
             let s = s.clone();\n\
             async move {{ s.{name}(&cx, req).await }}\n}});\n",
            clone = if index == last { "" } else { ".clone()" },
            call = kind(method).1,
            info = info_name(method),
            cx = scope.import(CORE, "Context"),
            req = shape.request,
            name = method.name,
        );
    }
    out.push_str("table.build()\n}\n\n");
}

fn write_client(out: &mut String, service: &Service, scope: &Scope) {
    let _ = write!(
        out,
        "/// Calls [`{trait_name}`], wherever it lives.\n#[derive(Clone)]\npub struct {trait_name}Client({channel});\n\n\
         impl {client} for {trait_name}Client {{\n\
         const SERVICE: &'static str = {constant};\n\n\
         fn new(channel: {channel}) -> Self {{ Self(channel) }}\n}}\n\n\
         impl {trait_name}Client {{\n",
        trait_name = service.name,
        constant = name_constant(service),
        channel = scope.import(RPC, "Channel"),
        client = scope.import(RPC, "Client"),
    );
    for method in &service.methods {
        let shape = Shape::of(method, scope);
        method.comments.append_with_indent(1, out);
        let _ = writeln!(
            out,
            "pub async fn {name}(&self, cx: &{cx}, req: {req}) -> {result}<{res}> \
             {{ self.0.{call}(cx, &{module}::{info}, req).await }}",
            name = method.name,
            cx = scope.import(CORE, "Context"),
            result = scope.import(CORE, "Result"),
            req = shape.request,
            res = shape.response,
            call = kind(method).1,
            module = function_name(service),
            info = info_name(method),
        );
    }
    out.push_str("}\n\n");
}
