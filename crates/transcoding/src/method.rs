//! The methods of a contract and what their options say.

use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, MethodDescriptor, ReflectMessage,
    Value,
};
use std::fmt;

/// A method of an exposed service.
#[derive(Clone)]
pub struct Method {
    /// Full name of the service, for example `shop.orders.v1.OrderService`.
    pub service: String,
    /// Name of the method, for example `PlaceOrder`.
    pub name: String,
    /// The path of the method on gRPC, for example `/shop.orders.v1.OrderService/PlaceOrder`.
    pub path: String,
    pub client_streaming: bool,
    pub server_streaming: bool,
    pub access: Access,
    pub idempotency: Idempotency,
    pub(crate) descriptor: MethodDescriptor,
    pub(crate) input: MessageDescriptor,
    pub(crate) output: MessageDescriptor,
    /// The field of the response that is the HTTP body; all of it if `None`.
    pub(crate) response_body: Option<FieldDescriptor>,
}

/// Who may call a method from outside the system: the option `banyan.v1.access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody; also what a method without the option gets.
    Internal,
    /// Anybody, without signing in.
    Public,
    /// A person who is signed in.
    User,
    /// A signed-in person with the role `admin`.
    Admin,
}

/// What a repeated call does: the option `idempotency_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    Unknown,
    NoSideEffects,
    Idempotent,
}

impl Method {
    /// Reads what the contract says; the access is `unsaid` if it says nothing.
    pub(crate) fn new(descriptor: &MethodDescriptor, unsaid: Access) -> Self {
        let (service, name) = (descriptor.parent_service().full_name(), descriptor.name());
        let options = descriptor.method_descriptor_proto().options.as_ref();
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            path: format!("/{service}/{name}"),
            client_streaming: descriptor.is_client_streaming(),
            server_streaming: descriptor.is_server_streaming(),
            access: read_access(descriptor).unwrap_or(unsaid),
            idempotency: match options.map(|options| options.idempotency_level()) {
                Some(IdempotencyLevel::NoSideEffects) => Idempotency::NoSideEffects,
                Some(IdempotencyLevel::Idempotent) => Idempotency::Idempotent,
                Some(IdempotencyLevel::IdempotencyUnknown) | None => Idempotency::Unknown,
            },
            input: descriptor.input(),
            output: descriptor.output(),
            response_body: None,
            descriptor: descriptor.clone(),
        }
    }

    /// Returns the full name, for example `shop.orders.v1.OrderService.PlaceOrder`.
    pub fn full_name(&self) -> &str {
        self.descriptor.full_name()
    }

    /// Returns the full name of the request message.
    pub fn input(&self) -> &str {
        self.input.full_name()
    }

    /// Returns the full name of the response message.
    pub fn output(&self) -> &str {
        self.output.full_name()
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("path", &self.path)
            .field("access", &self.access)
            .field("idempotency", &self.idempotency)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Returns the name in lower case, for example `user`.
    pub fn name(self) -> &'static str {
        match self {
            Access::Internal => "internal",
            Access::Public => "public",
            Access::User => "user",
            Access::Admin => "admin",
        }
    }
}

/// Reads the option, if the method has it; a value this build does not know is [`Access::Internal`].
fn read_access(method: &MethodDescriptor) -> Option<Access> {
    Some(match read_option(method.parent_pool(), &method.options(), "banyan.v1.access")? {
        Value::EnumNumber(1) => Access::Public,
        Value::EnumNumber(2) => Access::User,
        Value::EnumNumber(3) => Access::Admin,
        _ => Access::Internal,
    })
}

/// Reads the option `google.api.http`.
pub(crate) fn read_http_rule(method: &MethodDescriptor) -> Option<DynamicMessage> {
    match read_option(method.parent_pool(), &method.options(), "google.api.http") {
        Some(Value::Message(rule)) => Some(rule),
        _ => None,
    }
}

/// Reads an option that is not protobuf's own, if it is set.
pub(crate) fn read_option(pool: &DescriptorPool, options: &DynamicMessage, extension: &str) -> Option<Value> {
    let extension = pool.get_extension_by_name(extension)?;
    if extension.containing_message() != options.descriptor() || !options.has_extension(&extension) {
        return None;
    }
    Some(options.get_extension(&extension).into_owned())
}
