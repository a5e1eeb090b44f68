//! Contracts with our options, contracts that import each other, and contracts that are wrong.

use banyan_codegen::{Error, Options, generate};
use prost_reflect::{DescriptorPool, ReflectMessage};
use std::path::Path;
use tempfile::TempDir;

/// Writes contracts, by path, below a new folder.
fn contracts(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (path, text) in files {
        let path = folder.path().join("root").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn options(folder: &TempDir) -> Options {
    Options::new(folder.path().join("root"), folder.path().join("out"))
}

fn read(folder: &TempDir, path: &str) -> String {
    std::fs::read_to_string(folder.path().join("out").join(path)).unwrap()
}

fn event(option: &str, fields: &str) -> String {
    format!(
        "syntax = \"proto3\"; package a.v1; import \"banyan/v1/options.proto\";\n\
         message Moved {{ option (banyan.v1.event) = {{ {option} }};\n {fields} }}"
    )
}

#[test]
fn an_event_has_its_topic_and_key() {
    let text = event("topic: \"moves\" key: \"type\"", "string type = 1;");
    let folder = contracts(&[("a/v1/a.proto", &text)]);
    generate(&options(&folder)).unwrap();
    let code = read(&folder, "a/v1.rs");
    assert!(code.contains("const TYPE: &'static str = \"a.v1.Moved\";"), "{code}");
    assert!(code.contains("const TOPIC: &'static str = \"moves\";"), "{code}");
    assert!(code.contains("&self.r#type"), "{code}");
}

#[test]
fn an_event_without_a_usable_key_is_refused() {
    let cases = [
        ("topic: \"moves\"", "string id = 1;", "key is not set"),
        ("key: \"id\"", "string id = 1;", "topic is not set"),
        ("topic: \"moves\" key: \"order\"", "string id = 1;", "there is no field \"order\""),
        ("topic: \"moves\" key: \"id\"", "int64 id = 1;", "\"id\" is not"),
        ("topic: \"moves\" key: \"id\"", "repeated string id = 1;", "\"id\" is not"),
        ("topic: \"moves\" key: \"id\"", "optional string id = 1;", "\"id\" is not"),
        ("topic: \"moves\" key: \"id\"", "oneof x { string id = 1; }", "\"id\" is not"),
        ("topic: \"moves\" key: \"id\"", "map<string, string> id = 1;", "\"id\" is not"),
    ];
    for (option, fields, problem) in cases {
        let folder = contracts(&[("a/v1/a.proto", &event(option, fields))]);
        let error = generate(&options(&folder)).unwrap_err();
        assert!(matches!(error, Error::Event { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("a/v1/a.proto: message a.v1.Moved:"), "{text}");
        assert!(text.contains(problem), "{text}");
        assert!(!folder.path().join("out").exists(), "something was written although {text}");
    }
}

#[test]
fn a_contract_that_is_no_protobuf_is_refused_with_its_line() {
    let folder =
        contracts(&[("a/v1/a.proto", "syntax = \"proto3\";\npackage a.v1;\nmessage A { strin id = 1; }\n")]);
    let text = generate(&options(&folder)).unwrap_err().to_string();
    assert!(text.contains("a/v1/a.proto:3:"), "{text}");
}

#[test]
fn a_folder_without_contracts_is_refused() {
    let folder = contracts(&[("readme.txt", "nothing")]);
    assert!(matches!(generate(&options(&folder)).unwrap_err(), Error::NoContracts { .. }));
}

#[test]
fn a_method_of_a_well_known_type_is_refused() {
    let text = "syntax = \"proto3\"; package a.v1; import \"google/protobuf/struct.proto\";\n\
                service A { rpc Do(google.protobuf.Struct) returns (google.protobuf.Struct); }";
    let folder = contracts(&[("a/v1/a.proto", text)]);
    let text = generate(&options(&folder)).unwrap_err().to_string();
    assert!(
        text.starts_with("a/v1/a.proto: method a.v1.A.Do takes or returns google.protobuf.Struct"),
        "{text}"
    );
}

#[test]
fn what_is_generated_elsewhere_is_referred_to() {
    let shared = "syntax = \"proto3\"; package shared.v1; message Money { int64 minor = 1; }";
    let own = "syntax = \"proto3\"; package a.v1; import \"shared/v1/shared.proto\";\n\
               message Price { map<string, shared.v1.Money> by_country = 1; }";
    let folder = contracts(&[("a/v1/a.proto", own), ("../include/shared/v1/shared.proto", shared)]);
    let mut options = options(&folder);
    options.includes = vec![folder.path().join("include")];

    let text = generate(&options).unwrap_err().to_string();
    assert!(text.contains("shared.v1.Money, but package shared.v1 is not generated here"), "{text}");

    options.externs = vec![("shared.v1".to_owned(), "::shared::v1".to_owned())];
    generate(&options).unwrap();
    assert!(read(&folder, "a/v1.rs").contains("::shared::v1::Money"));
    assert!(!folder.path().join("out/shared").exists());
}

#[test]
fn every_shape_of_package_has_its_module() {
    let files = [
        ("top.proto", "syntax = \"proto3\"; message Top { string id = 1; }"),
        ("a.proto", "syntax = \"proto3\"; package a; import \"top.proto\"; message A { Top top = 1; }"),
        ("b.proto", "syntax = \"proto3\"; package a.type.v1; import \"a.proto\"; message B { a.A a = 1; }"),
        (
            "s.proto",
            "syntax = \"proto3\"; package s; import \"a.proto\"; service S { rpc Do(a.A) returns (a.A); }",
        ),
    ];
    let folder = contracts(&files);
    generate(&options(&folder)).unwrap();
    assert!(read(&folder, "mod.rs").contains("pub struct Top"));
    assert!(read(&folder, "mod.rs").contains("pub mod a;"));
    assert!(read(&folder, "a.rs").contains("pub mod r#type {\n    pub mod v1;\n}"));
    assert!(read(&folder, "a/type/v1.rs").contains("super::super::A"));
    assert!(read(&folder, "s.rs").contains("pub trait S: Send + Sync + 'static"));
}

#[test]
fn descriptors_keep_options_and_comments() {
    let text = "syntax = \"proto3\"; package a.v1;\n\
                import \"banyan/v1/options.proto\"; import \"google/api/annotations.proto\";\n\
                import \"google/api/field_behavior.proto\";\n\
                \n\
                // Detached.\n\
                \n\
                // A plan.\n\
                message A {\n\
                  string id = 1 [(google.api.field_behavior) = REQUIRED];  // Beside.\n\
                  string name = 2;\n\
                }\n\
                service S { rpc Do(A) returns (A) {\n\
                  option (banyan.v1.access) = ACCESS_ADMIN; option (google.api.http) = {get: \"/a\"}; } }";
    let folder = contracts(&[("a/v1/a.proto", text)]);
    generate(&options(&folder)).unwrap();
    let bytes = std::fs::read(folder.path().join("out/descriptors.bin")).unwrap();
    let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
    let commented = |name: &str| {
        let file = pool.get_file_by_name(name).unwrap().file_descriptor_proto().clone();
        let locations = file.source_code_info.unwrap_or_default().location;
        locations
            .into_iter()
            .map(|l| (l.path, l.leading_comments.or(l.trailing_comments)))
            .collect::<Vec<_>>()
    };
    let expected = [(vec![4, 0], " A plan.\n"), (vec![4, 0, 2, 0], " Beside.\n")];
    assert_eq!(commented("a/v1/a.proto"), expected.map(|(path, text)| (path, Some(text.to_owned()))));
    assert_eq!(commented("google/api/http.proto"), [], "what is bundled is known");
    let field = pool.get_message_by_name("a.v1.A").unwrap().get_field(1).unwrap();
    let behavior = pool.get_extension_by_name("google.api.field_behavior").unwrap();
    let behaviors = field.options().get_extension(&behavior).into_owned();
    assert_eq!(behaviors.as_list().unwrap()[0].as_enum_number(), Some(2));
    let method = pool.get_service_by_name("a.v1.S").unwrap().methods().next().unwrap();
    let access = pool.get_extension_by_name("banyan.v1.access").unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    assert_eq!(method.options().get_extension(&access).as_enum_number(), Some(3));
    let rule = method.options().get_extension(&http).into_owned();
    let rule = rule.as_message().unwrap();
    assert_eq!(rule.descriptor().full_name(), "google.api.HttpRule");
    assert_eq!(rule.get_field_by_name("get").unwrap().as_str(), Some("/a"));
    assert!(!Path::new(&folder.path().join("out/google")).exists(), "what is bundled is not generated");
}
