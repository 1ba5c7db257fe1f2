//! `/metrics`: what the engine, its streams and encoders do, and what the program and its servers add.
//!
//! In: collectors. Out: the text of OpenMetrics. Collected by whoever asks, on a thread that may block.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use flowcast_server::prometheus_client::collector::Collector;
use flowcast_server::prometheus_client::encoding::{DescriptorEncoder, text::encode};

use crate::guard::{May, Watch};
use crate::house::House;
use crate::problem::{Outcome, Problem, Problems};

/// What a scraper is told it gets.
const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A collector that others have, too.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<dyn Collector>);

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

/// Figures for Prometheus
///
/// All figures of the engine, its streams, its encoders, and of servers that belong to it. Takes a token with the scope `watch`, unless it is
/// open.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"), Problems)
)]
pub(crate) async fn metrics(State(house): State<House>, mut parts: Parts) -> Outcome<Response> {
    if !house.options.open_metrics {
        May::<Watch>::from_request_parts(&mut parts, &house).await?;
    }
    let read = house.clone();
    let page = house.blocking(move |_| {
        let mut page = String::new();
        encode(&mut page, &read.registry).map(|()| page)
    });
    let page = page.await?.map_err(|_| Problem::internal("the figures cannot be written"))?;
    Ok(([(CONTENT_TYPE, TYPE)], page).into_response())
}
