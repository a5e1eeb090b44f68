//! The OpenAPI document of the contracts.

use crate::contracts::library;
use serde_json::{Value, json};
use std::collections::HashSet;

fn document() -> Value {
    library().openapi("Library", "1.2.3")
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
    assert_eq!(*body, json!({"$ref": "#/components/schemas/test.v1.BorrowRequest"}));
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
