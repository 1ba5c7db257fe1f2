//! Lists of streams: shown, and edited on the air.

use std::path::PathBuf;

use axum::extract::State;
use flowcast_core::{ItemId, Playlist, StreamRef};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::{Created, Json};
use crate::guard::{May, Operate, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};
use crate::request::{Asked, Named, Sent, number};
use crate::views::Done;

/// Items of a page where nothing is said, and at most.
const USUAL: usize = 1000;
const MOST: usize = 10_000;

/// Which list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// `picture`, the default: the list of the pictures, or of both tracks. `sound`: the list of the sound under it.
    of: Option<String>,
}

/// Which part of which list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Portion {
    /// `picture`, the default: the list of the pictures, or of both tracks. `sound`: the list of the sound under it.
    of: Option<String>,
    /// The first item, counted from 0. Default 0.
    #[param(minimum = 0)]
    from: Option<usize>,
    /// Items of the answer. Default 1000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<usize>,
}

/// An item.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Item {
    /// Its number: two items of the same file are told apart by it.
    #[schema(example = "i3")]
    id: String,
    /// Its file.
    path: String,
    /// How often it comes in a round of a shuffled list.
    weight: u32,
    /// It is on the air.
    is_playing: bool,
}

/// A list, or a part of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlaylistView {
    items: Vec<Item>,
    /// Items in all.
    total: usize,
}

fn is_sound(of: Option<&str>) -> Outcome<bool> {
    match of {
        None | Some("picture") => Ok(false),
        Some("sound") => Ok(true),
        Some(_) => Err(Problem::bad_request("of: must be `picture` or `sound`")),
    }
}

fn list_of(house: &House, id: &str, is_sound: bool) -> Outcome<(StreamRef, Playlist)> {
    let stream = house.stream(id)?;
    let list = if is_sound { stream.sound_playlist() } else { stream.playlist() };
    Ok((stream, list.ok_or_else(|| Problem::not_found("playlist"))?))
}

/// The list that a stream plays
#[utoipa::path(
    get, path = "/api/v1/streams/{id}/playlist", tag = "playlists", operation_id = "show_playlist",
    params(("id" = String, Path, description = "The stream: `s1`"), Portion),
    responses((status = 200, description = "Its items, in order", body = PlaylistView), Problems)
)]
pub(crate) async fn show(
    _: May<Watch>,
    State(house): State<House>,
    Named(id): Named<String>,
    Asked(portion): Asked<Portion>,
) -> Outcome<Json<PlaylistView>> {
    let is_sound = is_sound(portion.of.as_deref())?;
    let limit = portion.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("limit: must be 1 to 10000"));
    }
    let (stream, list) = list_of(&house, &id, is_sound)?;
    let stats = stream.stats();
    let playing = if is_sound { stats.playing_sound } else { stats.playing }.and_then(|playing| playing.item);
    let items = list.items();
    let total = items.len();
    let items = items.into_iter().skip(portion.from.unwrap_or(0)).take(limit).map(|item| Item {
        is_playing: playing == Some(item.id),
        id: item.id.to_string(),
        path: item.path.display().to_string(),
        weight: item.weight,
    });
    Ok(Json(PlaylistView { items: items.collect(), total }))
}

/// A file for a list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewItem {
    /// The file, on the server.
    #[schema(value_type = String)]
    path: PathBuf,
    /// Where it comes, counted from 0. Default: at the end.
    #[serde(default)]
    position: Option<usize>,
    /// How often it comes in a round of a shuffled list, 1 to 1000. Default 1. Only at the end of a list.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000)]
    weight: Option<u32>,
}

/// An item that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Added {
    /// Its number.
    #[schema(example = "i3")]
    id: String,
}

/// Puts a file into the list
///
/// Whether it can be played shows when its turn comes: an item that cannot be is skipped, and an event says so.
#[utoipa::path(
    post, path = "/api/v1/streams/{id}/playlist/items", tag = "playlists", operation_id = "add_item",
    params(("id" = String, Path, description = "The stream: `s1`"), Which), request_body = NewItem,
    responses((status = 201, description = "It is in the list", body = Added), Problems)
)]
pub(crate) async fn add(
    _: May<Operate>,
    State(house): State<House>,
    Named(id): Named<String>,
    Asked(which): Asked<Which>,
    Sent(new): Sent<NewItem>,
) -> Outcome<Created<Added>> {
    let (stream, list) = list_of(&house, &id, is_sound(which.of.as_deref())?)?;
    let weight = new.weight.unwrap_or(1);
    if new.path.as_os_str().is_empty() {
        return Err(Problem::bad_request("path: must not be empty"));
    }
    if !(1..=1000).contains(&weight) {
        return Err(Problem::bad_request("weight: must be 1 to 1000"));
    }
    let item = match new.position {
        Some(_) if weight != 1 => {
            return Err(Problem::bad_request("weight: only for an item at the end of a list"));
        }
        Some(position) => list.insert(position, new.path)?,
        None => list.add_weighted(new.path, weight)?,
    };
    let place = format!("/api/v1/streams/{}/playlist/items/{item}", stream.id());
    Ok(Created(place, Added { id: item.to_string() }))
}

/// Takes an item out
///
/// One that is on the air is played to its end.
#[utoipa::path(
    delete, path = "/api/v1/streams/{id}/playlist/items/{item}", tag = "playlists", operation_id = "remove_item",
    params(("id" = String, Path, description = "The stream: `s1`"), ("item" = String, Path, description = "The item: `i3`"), Which),
    responses((status = 200, description = "It is in the list no more", body = Done), Problems)
)]
pub(crate) async fn remove(
    _: May<Operate>,
    State(house): State<House>,
    Named((id, item)): Named<(String, String)>,
    Asked(which): Asked<Which>,
) -> Outcome<Json<Done>> {
    let (_, list) = list_of(&house, &id, is_sound(which.of.as_deref())?)?;
    found(list.remove(number::<ItemId>(&item, "item")?))
}

/// A place in a list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    /// Where it is afterwards, counted from 0; past the end: the last.
    position: usize,
}

/// Moves an item
#[utoipa::path(
    patch, path = "/api/v1/streams/{id}/playlist/items/{item}", tag = "playlists", operation_id = "move_item",
    params(("id" = String, Path, description = "The stream: `s1`"), ("item" = String, Path, description = "The item: `i3`"), Which),
    request_body = Move,
    responses((status = 200, description = "It was moved", body = Done), Problems)
)]
pub(crate) async fn move_to(
    _: May<Operate>,
    State(house): State<House>,
    Named((id, item)): Named<(String, String)>,
    Asked(which): Asked<Which>,
    Sent(to): Sent<Move>,
) -> Outcome<Json<Done>> {
    let (_, list) = list_of(&house, &id, is_sound(which.of.as_deref())?)?;
    found(list.move_to(number::<ItemId>(&item, "item")?, to.position))
}

/// Plays an item now
///
/// Every stream that plays the list leaves its item and plays this one.
#[utoipa::path(
    post, path = "/api/v1/streams/{id}/playlist/items/{item}/play", tag = "playlists", operation_id = "play_item",
    params(("id" = String, Path, description = "The stream: `s1`"), ("item" = String, Path, description = "The item: `i3`"), Which),
    responses((status = 200, description = "It was asked to", body = Done), Problems)
)]
pub(crate) async fn play(
    _: May<Operate>,
    State(house): State<House>,
    Named((id, item)): Named<(String, String)>,
    Asked(which): Asked<Which>,
) -> Outcome<Json<Done>> {
    let (_, list) = list_of(&house, &id, is_sound(which.of.as_deref())?)?;
    found(list.jump(number::<ItemId>(&item, "item")?))
}

fn found(was_there: bool) -> Outcome<Json<Done>> {
    if was_there { Ok(Json(Done::YES)) } else { Err(Problem::not_found("item")) }
}
