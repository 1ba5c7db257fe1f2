//! The OpenAPI document is what is served, and what is in the repository.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::Studio;

/// Where it is kept, for clients that are generated from it. `FLOWCAST_WRITE=1` writes it anew.
const FILE: &str = "openapi.json";

#[test]
fn it_is_the_one_in_the_repository() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let made = flowcast_http::openapi() + "\n";
    if std::env::var_os("FLOWCAST_WRITE").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept == made,
        "the document has changed: FLOWCAST_WRITE=1 cargo test -p flowcast-http --test api document"
    );
}

#[test]
fn it_is_served_and_whole() {
    let studio = Studio::start();
    let served = studio.ask("GET", "/openapi.json", "", None).expect(200);
    let document: Value = serde_json::from_str(&flowcast_http::openapi()).unwrap();
    assert_eq!(served, document);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut named = BTreeSet::new();
    references(&document, &mut named);
    for name in &named {
        assert!(schemas.contains_key(name.as_str()), "nothing says what {name} is");
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing of itself");
            assert!(operation["responses"]["default"].is_object(), "{method} {path} cannot fail");
        }
    }
}

/// The schemas that are named.
fn references(value: &Value, to: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            to.extend(name.and_then(|name| name.strip_prefix("#/components/schemas/")).map(str::to_owned));
            fields.values().for_each(|value| references(value, to));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, to)),
        _ => {}
    }
}
