//! Contracts that cannot be served are refused when the transcoder is built.

use crate::contracts::{compile, compile_text};
use banyan_transcoding::{Access, Document, Transcoder};
use prost::Message;
use prost_reflect::prost_types::FileDescriptorSet;

/// Builds a transcoder for a service `t.S` whose methods have these HTTP rules.
fn build(rules: &[&str]) -> Result<Transcoder, String> {
    let methods: Vec<String> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            format!("rpc M{index}(Request) returns (Request) {{ option (google.api.http) = {{ {rule} }}; }}")
        })
        .collect();
    let source = format!(
        r#"syntax = "proto3"; package t; import "google/api/annotations.proto";
        message Request {{ string id = 1; repeated string ids = 2; Request inner = 3; map<string, string> texts = 4; }}
        service S {{ {} }}"#,
        methods.join("\n")
    );
    Transcoder::new(&[&compile_text(&source)], &["t.S"]).map_err(|error| error.message().to_owned())
}

#[test]
fn a_bad_rule_is_refused_with_its_method_and_option() {
    for (rule, expected) in [
        (r#"get: "v1""#, r#"t.S.M0 (google.api.http).get: "v1" must start with "/""#),
        (
            r#"get: "/v1/{nope}""#,
            r#"t.S.M0 (google.api.http).get: "/v1/{nope}": t.Request has no field "nope""#,
        ),
        (
            r#"get: "/{ids}""#,
            r#"t.S.M0 (google.api.http).get: "/{ids}": ids is repeated and cannot be in a path"#,
        ),
        (
            r#"get: "/{texts}""#,
            r#"t.S.M0 (google.api.http).get: "/{texts}": texts is repeated and cannot be in a path"#,
        ),
        (
            r#"get: "/{inner}""#,
            r#"t.S.M0 (google.api.http).get: "/{inner}": inner is a message and cannot be in a path"#,
        ),
        (
            r#"get: "/{id.id}""#,
            r#"t.S.M0 (google.api.http).get: "/{id.id}": id.id leads into a field that is not a message"#,
        ),
        (r#"post: "/a" body: "nope""#, r#"t.S.M0 (google.api.http).body: t.Request has no field "nope""#),
        (
            r#"post: "/a" body: "inner.id""#,
            r#"t.S.M0 (google.api.http).body: t.Request has no field "inner.id""#,
        ),
        (r#"post: "/{id}" body: "id""#, "t.S.M0 (google.api.http).body: id is bound in the path"),
        (r#"get: "/a" body: "*""#, "t.S.M0 (google.api.http).body: a GET request has no body"),
        (
            r#"get: "/a" response_body: "nope""#,
            r#"t.S.M0 (google.api.http).response_body: t.Request has no field "nope""#,
        ),
        (r#"body: "*""#, "t.S.M0 (google.api.http): must say get, put, post, delete, patch or custom"),
        (
            r#"get: "/a" additional_bindings { get: "/b/{nope}" }"#,
            r#"t.S.M0 (google.api.http).additional_bindings[0].get: "/b/{nope}": t.Request has no field "nope""#,
        ),
        (
            r#"get: "/a" additional_bindings { get: "/b" additional_bindings { get: "/c" } }"#,
            "t.S.M0 (google.api.http).additional_bindings[0]: must not have additional bindings itself",
        ),
    ] {
        assert_eq!(build(&[rule]).unwrap_err(), expected, "{rule}");
    }
}

#[test]
fn two_rules_for_the_same_requests_are_refused() {
    let twice = |first: &str, second: &str| build(&[first, second]).map(|_| ());
    assert_eq!(
        twice(r#"get: "/v1/{id}""#, r#"get: "/v1/{inner.id}""#).unwrap_err(),
        r#"t.S.M1 (google.api.http): GET "/v1/{inner.id}" is taken by t.S.M0 (/v1/{id})"#
    );
    for second in [r#"get: "/a/*""#, r#"get: "/a/{id=*}""#, r#"get: "/{id=a/*}""#, r#"get: "/%61/{id}""#] {
        assert!(twice(r#"get: "/a/{id}""#, second).is_err(), "{second}");
    }
    for second in [r#"post: "/a/{id}""#, r#"get: "/a/{id}:b""#, r#"get: "/a/b""#, r#"get: "/a/{id=**}""#] {
        assert_eq!(twice(r#"get: "/a/{id}""#, second), Ok(()), "{second}");
    }
    assert!(build(&[r#"get: "/a" additional_bindings { get: "/a" }"#]).is_err());
}

#[test]
fn sets_may_overlap_but_not_contradict() {
    let contract = |fields: &str| {
        let source = format!(
            r#"syntax = "proto3"; package t; message M {{ {fields} }} service S {{ rpc Get(M) returns (M); }}"#
        );
        compile_text(&source)
    };
    let (one, other) = (contract("string a = 1;"), contract("string a = 1; string b = 2;"));
    let library = compile(&["test/v1/library.proto"]);
    let transcoder = Transcoder::new(&[&one, &library, &one], &["t.S", "test.v1.Library"]).unwrap();
    assert_eq!(transcoder.methods().count(), 12);
    let error = Transcoder::new(&[&library, &one, &other], &[]).unwrap_err();
    assert_eq!(
        error.message(),
        "descriptors[2]: test.proto differs from the file of this name in an earlier set"
    );
    assert!(Transcoder::new(&[b"\xff"], &[]).unwrap_err().message().starts_with("descriptors[0]: "));
    let error = Transcoder::new(&[&one], &["t.Nope"]).unwrap_err();
    assert_eq!(error.message(), "services: there is no service t.Nope");
}

#[test]
fn a_contract_without_our_options_is_internal_and_has_no_routes() {
    let source = r#"syntax = "proto2"; message M { optional int32 a = 1 [default = 3]; } service S { rpc Get(M) returns (M); }"#;
    let transcoder = Transcoder::new(&[&compile_text(source)], &["S"]).unwrap();
    let method = transcoder.methods().next().unwrap();
    assert_eq!((method.path.as_str(), method.access), ("/S/Get", Access::Internal));
    assert_eq!(transcoder.encode_message("M", &[]).unwrap(), "{}");
    assert_eq!(transcoder.openapi(&Document::default())["paths"], serde_json::json!({}));
}

#[test]
fn protobufs_own_files_may_come_in_several_versions() {
    let library = compile(&["test/v1/library.proto"]);
    let mut older = FileDescriptorSet::decode(&*library).unwrap();
    let own = older.file.iter_mut().find(|file| file.name() == "google/protobuf/descriptor.proto").unwrap();
    own.message_type.last_mut().unwrap().field.pop().unwrap();
    let older = older.encode_to_vec();
    for sets in [[&*library, &*older], [&*older, &*library]] {
        assert_eq!(Transcoder::new(&sets, &["test.v1.Library"]).unwrap().methods().count(), 11);
    }
}

#[test]
fn a_contract_that_says_nothing_of_access_gets_what_its_host_says() {
    let source = r#"syntax = "proto3"; package t; import "banyan/v1/options.proto"; message M {}
        service S {
            rpc Said(M) returns (M) { option (banyan.v1.access) = ACCESS_ADMIN; }
            rpc Hidden(M) returns (M) { option (banyan.v1.access) = ACCESS_UNSPECIFIED; }
            rpc Unsaid(M) returns (M);
        }"#;
    let set = compile_text(source);
    let access = |unsaid| {
        let transcoder = Transcoder::with_access(&[&set], &[("t.S", unsaid)]).unwrap();
        transcoder.methods().map(|method| method.access).collect::<Vec<_>>()
    };
    assert_eq!(access(Access::Public), [Access::Admin, Access::Internal, Access::Public]);
    assert_eq!(access(Access::Internal), [Access::Admin, Access::Internal, Access::Internal]);
}

#[test]
fn the_events_of_a_topic_are_those_whose_contracts_say_so() {
    let set = compile_text(
        "syntax = \"proto3\"; package a.v1; import \"banyan/v1/options.proto\"; message Plain { string id = 1; } \
         message Placed { option (banyan.v1.event) = {topic: \"orders\", key: \"id\"}; string id = 1; } \
         message Paid { option (banyan.v1.event) = {topic: \"payments\", key: \"id\"}; string id = 1; }",
    );
    let transcoder = Transcoder::new(&[&set], &[]).unwrap();
    assert_eq!(transcoder.events_of("orders"), ["a.v1.Placed"]);
    assert!(transcoder.events_of("legacy.orders").is_empty() && transcoder.events_of("").is_empty());
}
