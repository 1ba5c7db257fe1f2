//! What the OpenAPI document says before its places: what it is of, and how clients show who they are.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::problem::{Part, Problem};

/// What goes in front of the places.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "flowcast",
        description = "Streams on the air: watched, started, changed and stopped. Lengths of time are seconds, rates bits per second, points in time RFC 3339 in UTC. Errors are problem details (RFC 9457) with a stable code. An answer with the header `Flowcast-Unsaved` is about something that was done and is not on the disk, and says why.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem, Part)),
    security(("token" = [])),
    tags(
        (name = "health", description = "Whether it is alive and ready, and figures"),
        (name = "streams", description = "Streams"),
        (name = "outputs", description = "Where streams go"),
        (name = "playlists", description = "Lists that streams play"),
        (name = "keys", description = "Who may publish"),
        (name = "schedules", description = "Streams by the calendar"),
        (name = "storage", description = "Reels, recordings and the snapshot"),
        (name = "room", description = "How many streams fit, and what platforms take"),
        (name = "cluster", description = "Other machines, and streams that run on any of them"),
        (name = "events", description = "What happens, as it does"),
        (name = "live", description = "What is on the air, for players")
    )
)]
struct Head;

/// It.
pub(crate) fn head() -> utoipa::openapi::OpenApi {
    let mut document = Head::openapi();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token with the scope `watch`, `operate` (which may watch, too) or `keys`"))
        .build();
    let components = document.components.get_or_insert_with(Default::default);
    components.add_security_scheme("token", SecurityScheme::Http(token));
    document
}
