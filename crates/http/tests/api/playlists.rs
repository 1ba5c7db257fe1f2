//! Lists, edited on the air.

use serde_json::{Value, json};

use crate::support::{OPERATE, Studio, wait_until};

/// The names of the files, in order.
fn files(list: &Value) -> Vec<String> {
    let name = |item: &Value| {
        let path = std::path::Path::new(item["path"].as_str().unwrap());
        path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    list["items"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn items_come_go_move_and_are_played() {
    let studio = Studio::start();
    let (a, b, c) = (studio.clip("a.mp4"), studio.clip("b.mp4"), studio.clip("c.mp4"));
    let spec = json!({"source": {"playlist": [a, b]}, "without_outputs": true});
    let id = studio.post("/api/v1/streams", &spec).expect(201)["id"].as_str().unwrap().to_owned();
    let list = format!("/api/v1/streams/{id}/playlist");
    let shown = || studio.get(&list).expect(200);
    assert_eq!((files(&shown()).join(" "), shown()["total"].clone()), ("a.mp4 b.mp4".to_owned(), json!(2)));
    wait_until("the first one plays", || shown()["items"][0]["is_playing"] == true);
    let item = studio.post(&format!("{list}/items"), &json!({"path": c, "position": 1})).expect(201);
    let item = item["id"].as_str().unwrap().to_owned();
    assert_eq!(files(&shown()), ["a.mp4", "c.mp4", "b.mp4"]);
    let place = format!("{list}/items/{item}");
    studio.ask("PATCH", &place, OPERATE, Some(&json!({"position": 99}))).expect(200);
    assert_eq!(files(&shown()), ["a.mp4", "b.mp4", "c.mp4"]);
    studio.post(&format!("{place}/play"), &json!({})).expect(200);
    wait_until("it plays", || {
        shown()["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|of| of["id"] == item.as_str() && of["is_playing"] == true)
    });
    studio.ask("DELETE", &place, OPERATE, None).expect(200);
    assert_eq!(files(&shown()), ["a.mp4", "b.mp4"]);
    assert_eq!(studio.ask("DELETE", &place, OPERATE, None).problem(404), "NOT_FOUND");
    studio.post(&format!("/api/v1/streams/{id}/skip"), &json!({})).expect(200);
    let page = studio.get(&format!("{list}?from=1&limit=1")).expect(200);
    assert_eq!((files(&page).join(" "), &page["total"]), ("b.mp4".to_owned(), &json!(2)));
    assert_eq!(studio.get(&format!("{list}?of=sound")).problem(404), "NOT_FOUND");
    assert_eq!(studio.get(&format!("{list}?of=smell")).problem(400), "REQUEST_INVALID");
    let spec = studio.get(&format!("/api/v1/streams/{id}")).expect(200)["spec"].clone();
    assert!(spec["source"]["playlist"].to_string().contains("a.mp4"), "{spec}");
}
