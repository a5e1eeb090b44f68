//! Which method a request leads to.

use crate::contracts::{found, library};
use banyan_transcoding::{Access, Idempotency, RouteMatch};

fn route(http_method: &str, path: &str) -> String {
    match library().route(http_method, path) {
        RouteMatch::Found(matched) => {
            let variables: Vec<String> =
                matched.path_variables().map(|(field, value)| format!("{field}={value}")).collect();
            format!("{} {}", matched.method().name, variables.join(" ")).trim_end().to_owned()
        }
        RouteMatch::MethodNotAllowed { allowed } => allowed.join(","),
        RouteMatch::NotFound => "-".to_owned(),
    }
}

#[test]
fn a_path_leads_to_its_method() {
    for (http_method, path, expected) in [
        ("GET", "/v1/shelves/1/books/2", "GetBook name=shelves/1/books/2"),
        ("GET", "/v1/shelves/a%2Fb/books/x%20y", "GetBook name=shelves/a%2Fb/books/x y"),
        ("GET", "/v1/books/a%2Fb%20c", "GetBook name=a/b c"),
        ("GET", "/v1/b%6Foks/1", "GetBook name=1"),
        ("GET", "/v1/books", "ListBooks"),
        ("GET", "/v1/books:count", "ListBooks"),
        ("GET", "/v1/books:nothing", "-"),
        ("PUT", "/v1/books/7", "PutBook book.name=7"),
        ("PATCH", "/v1/books/7/tags", "PatchTags book.name=7"),
        ("POST", "/v1/books/7:borrow", "Borrow name=7"),
        ("POST", "/v1/books/a:b:borrow", "Borrow name=a:b"),
        ("GET", "/v1/books/7:borrow", "POST"),
        ("GET", "/v1/books/7%3Aborrow", "GetBook name=7:borrow"),
        ("GET", "/v1/books/7:other", "GetBook name=7:other"),
        ("GET", "/v1/books/:borrow", "GetBook name=:borrow"),
        ("DELETE", "/v1/books/7", "Remove name=7"),
        ("HEAD", "/v1/books/7", "Check name=7"),
        ("OPTIONS", "/v1/books/7", "DELETE,GET,HEAD,PUT"),
        ("GET", "/v1/files/a/b%2Fc/d", "Download name=a/b%2Fc/d"),
        ("GET", "/v1/files", "Download name="),
        ("PURGE", "/v1/any/x", "Download name=x"),
        ("GET", "/v1/books/", "-"),
        ("GET", "/v1/books/7/", "-"),
        ("GET", "//v1/books", "-"),
        ("GET", "v1/books", "-"),
        ("GET", "", "-"),
        ("GET", "/", "-"),
        ("get", "/v1/books", "GET"),
    ] {
        assert_eq!(route(http_method, path), expected, "{http_method} {path}");
    }
}

#[test]
fn a_method_says_what_its_options_say() {
    let methods: Vec<_> = library().methods().collect();
    assert_eq!(methods.len(), 11);
    let get = methods.iter().find(|method| method.name == "GetBook").unwrap();
    assert_eq!(get.path, "/test.v1.Library/GetBook");
    assert_eq!((get.access, get.idempotency), (Access::Public, Idempotency::NoSideEffects));
    assert_eq!((get.input(), get.output()), ("test.v1.GetBookRequest", "test.v1.Book"));
    let audit = methods.iter().find(|method| method.name == "Audit").unwrap();
    assert!(audit.client_streaming && audit.server_streaming);
    assert_eq!((audit.access, audit.idempotency), (Access::Internal, Idempotency::Unknown));
    assert_eq!(found("PUT", "/v1/books/7").method().access, Access::Admin);
    assert_eq!(found("PUT", "/v1/books/7").template(), "/v1/books/{book.name}");
}
