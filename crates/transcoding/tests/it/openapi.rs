//! The OpenAPI document of the contracts.

use crate::contracts::{compile_text, library};
use banyan_transcoding::{Access, AggregateRoute, Document, Transcoder};
use serde_json::{Value, json};
use std::collections::HashSet;

fn document() -> Value {
    library().openapi(&Document::new("Library", "1.2.3"))
}

/// Calls `visit` for every object in the document.
fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values().for_each(|value| walk(value, visit));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let items = document["paths"].as_object().unwrap().iter();
    items
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = HashSet::new();
    walk(&document, &mut |object| {
        references.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
    });
    assert!(references.len() >= 9);
    for reference in references {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        assert!(target.is_some_and(Value::is_object), "{reference}");
    }
}

#[test]
fn every_operation_has_its_own_id_and_declares_its_path() {
    let document = document();
    let mut ids = HashSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
        let declared: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
        let mut names = HashSet::new();
        for parameter in &declared {
            assert!(names.insert((parameter["in"].as_str(), parameter["name"].as_str())), "{method} {path}");
        }
        let in_path = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
        let in_path: HashSet<&str> = in_path.collect();
        let required: HashSet<&str> = declared
            .iter()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(in_path, required, "{method} {path}");
        assert!(operation["responses"]["200"].is_object() && operation["responses"]["default"].is_object());
    }
}

#[test]
fn paths_are_those_of_the_rules() {
    let document = document();
    let mut found: Vec<String> =
        operations(&document).iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "delete /v1/books/{name}",
            "get /v1/books",
            "get /v1/books/{name}",
            "get /v1/books:count",
            "get /v1/books:page",
            "get /v1/everything/{int64}/{flag}/{kind}/{at}",
            "get /v1/files/{name}",
            "get /v1/shelves/{name_1}/books/{name_2}",
            "head /v1/books/{name}",
            "patch /v1/books/{book_name}/tags",
            "post /v1/books/{name}:borrow",
            "post /v1/everything",
            "put /v1/books/{name}",
        ]
    );
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"], json!({"title": "Library", "version": "1.2.3"}));
    assert_eq!(document["tags"], json!([{"name": "test.v1.Library", "description": "Lends books."}]));
}

#[test]
fn an_operation_says_what_its_contract_says() {
    let document = document();
    let get = &document["paths"]["/v1/shelves/{name_1}/books/{name_2}"]["get"];
    assert_eq!(get["summary"], "Returns one book");
    assert_eq!(get["description"], "Returns one book.\n\nFails with NOT_FOUND if there is none.");
    assert_eq!(get["operationId"], "Library_GetBook");
    assert_eq!((&get["security"], &get["x-banyan-access"]), (&json!([]), &json!("public")));
    let schema = &get["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(*schema, json!({"$ref": "#/components/schemas/test.v1.Book"}));

    let borrow = &document["paths"]["/v1/books/{name}:borrow"]["post"];
    assert_eq!(borrow["security"], json!([{"bearer": []}]));
    let body = &borrow["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["type"], "object");
    assert_eq!(body["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["items"]);
    let names = |operation: &Value| -> Vec<String> {
        let parameters = operation["parameters"].as_array().unwrap().iter();
        parameters.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(borrow), ["name", "Idempotency-Key"]);
    assert_eq!(
        names(&document["paths"]["/v1/books/{name}"]["put"]),
        ["name", "create", "tags", "Idempotency-Key"]
    );

    let list = &document["paths"]["/v1/books"]["get"];
    assert_eq!(
        names(list),
        [
            "pageSize",
            "filter.titleContains",
            "filter.priceMax",
            "filter.after",
            "filter.author",
            "filter.publisher",
            "kinds",
            "fields"
        ]
    );
    assert_eq!(list["parameters"][4]["description"], "Excludes `publisher`.");
    let books = &list["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(*books, json!({"type": "array", "items": {"$ref": "#/components/schemas/test.v1.Book"}}));
    let stream = &document["paths"]["/v1/files/{name}"]["get"]["responses"]["200"]["content"];
    assert!(stream["application/x-ndjson"].is_object());
}

#[test]
fn schemas_follow_the_json_form() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let book = &schemas["test.v1.Book"];
    assert_eq!(book["description"], "A book.");
    let price = json!({"type": "string", "format": "int64", "deprecated": true});
    assert_eq!(book["properties"]["priceMinor"], price);
    assert_eq!(
        book["properties"]["name"]["description"],
        "Shelf and number, for example `shelves/1/books/2`."
    );
    let everything = &schemas["test.v1.Everything"]["properties"];
    for (field, expected) in [
        ("uint32", json!({"type": "integer", "minimum": 0, "maximum": 4294967295u32})),
        ("data", json!({"type": "string", "contentEncoding": "base64"})),
        ("at", json!({"type": "string", "format": "date-time"})),
        ("object", json!({"type": "object", "additionalProperties": true})),
        ("value", json!({})),
        ("boolValue", json!({"type": ["boolean", "null"]})),
        ("uint64Value", json!({"type": ["string", "null"], "format": "uint64"})),
        ("texts", json!({"type": "object", "additionalProperties": {"type": "string"}})),
        ("inners", json!({"type": "array", "items": {"$ref": "#/components/schemas/test.v1.Everything"}})),
        ("renamed", json!({"type": "string"})),
        ("this", json!({"type": "string", "description": "Excludes `that`."})),
    ] {
        assert_eq!(everything[field], expected, "{field}");
    }
    let kind = &schemas["test.v1.Kind"];
    assert_eq!(kind["enum"], json!(["KIND_UNSPECIFIED", "KIND_NOVEL", "KIND_ESSAY"]));
    assert_eq!(kind["description"], "- `KIND_NOVEL`: Made up.");
}

/// A contract that says how its fields behave.
fn shelf() -> Transcoder {
    let source = r#"
        syntax = "proto3";
        // Puts things on a shelf.
        package test;
        import "google/api/annotations.proto";
        import "google/api/field_behavior.proto";
        service Shelf {
          rpc Put(PutRequest) returns (Thing) {
            option (google.api.http) = {
              put: "/v1/shelves/{shelf}/{thing.id}"
              body: "*"
              additional_bindings {put: "/v1/things/{thing.id}" body: "thing"}
            };
          }
          rpc Find(FindRequest) returns (Thing) { option (google.api.http) = {get: "/v1/things"}; }
        }
        message PutRequest {
          string shelf = 1 [(google.api.field_behavior) = REQUIRED];
          Thing thing = 2 [(google.api.field_behavior) = REQUIRED];
          string why = 3 [(google.api.field_behavior) = REQUIRED];
        }
        message Thing {
          string id = 1 [(google.api.field_behavior) = REQUIRED];
          string full_name = 2 [(google.api.field_behavior) = REQUIRED];
          // When it was put.
          string put_at = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
        }
        message FindRequest {
          string full_name = 1 [(google.api.field_behavior) = REQUIRED];
          string shelf = 2;
        }
    "#;
    Transcoder::new(&[&compile_text(source)], &["test.Shelf"]).unwrap()
}

#[test]
fn what_is_required_in_the_body_is_what_the_path_does_not_have() {
    let document = shelf().openapi(&Document::default());
    let thing = &document["components"]["schemas"]["test.Thing"];
    assert_eq!(thing["required"], json!(["id", "fullName"]));
    assert_eq!(thing["properties"]["putAt"]["readOnly"], true);
    assert_eq!(thing["properties"]["id"].get("readOnly"), None);

    let body = |path: &str| {
        document["paths"][path]["put"]["requestBody"]["content"]["application/json"]["schema"].clone()
    };
    let whole = body("/v1/shelves/{shelf}/{thing_id}");
    assert_eq!(whole["required"], json!(["why"]), "the path makes the thing");
    assert_eq!(whole["properties"]["thing"]["required"], json!(["fullName"]));
    assert_eq!(whole["properties"]["thing"]["properties"].get("id"), None);
    assert_eq!(body("/v1/things/{thing_id}")["required"], json!(["fullName"]));

    let parameters = &document["paths"]["/v1/things"]["get"]["parameters"];
    assert_eq!((&parameters[0]["name"], &parameters[0]["required"]), (&json!("fullName"), &json!(true)));
    assert_eq!(parameters[1].get("required"), None);
}

#[test]
fn a_document_has_a_head_and_routes_of_its_own() {
    let route = AggregateRoute {
        path: "/v1/me".to_owned(),
        description: "Returns what is mine. All of it.".to_owned(),
        access: Access::User,
        parts: vec![("thing".to_owned(), "/test.Shelf/Find".to_owned())],
    };
    let document = Document {
        description: "A shelf.".to_owned(),
        aggregates: vec![route],
        paths: vec![("/extra".to_owned(), json!({"get": {"summary": "Extra"}}))],
        ..Document::new("Shelves", "1")
    };
    let document = shelf().openapi(&document);
    assert_eq!(document["info"], json!({"title": "Shelves", "version": "1", "description": "A shelf."}));
    let me = &document["paths"]["/v1/me"]["get"];
    assert_eq!((&me["summary"], &me["operationId"]), (&json!("Returns what is mine"), &json!("Get_v1_me")));
    assert_eq!(me["security"], json!([{"bearer": []}]));
    let schema = &me["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(schema["properties"]["thing"], json!({"$ref": "#/components/schemas/test.Thing"}));
    assert_eq!(schema["required"], json!(["errors"]));
    assert_eq!(document["paths"]["/extra"]["get"]["summary"], "Extra");
}
