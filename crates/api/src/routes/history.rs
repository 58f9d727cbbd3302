use axum::extract::State;
use axum::response::Response;
use control::EventFilter;
use http::StatusCode;

use super::{answer, written};
use crate::App;
use crate::error::Failure;
use crate::extract::{Caller, IfMatch, Parameters, Segment};
use crate::reader::Errors;
use crate::types::{HistoryDetail, HistoryEntry, HistoryList, RolledBack, Written};

/// Lists what was written, newest first: as far as one's role may see such records.
#[utoipa::path(get, path = "/api/history", tag = "history", operation_id = "list_history",
    params(crate::openapi::ListQuery, crate::openapi::HistoryQuery),
    responses((status = 200, body = HistoryList, description = "Some writes.")))]
pub(crate) async fn list_history(
    State(app): State<App>,
    Caller(actor): Caller,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let filter = read_filter(&mut parameters, &mut errors);
    let asked = parameters.list(&mut errors);
    let before = match asked.after.as_deref().map(str::parse::<u64>) {
        Some(Err(_)) => {
            errors.add("?after", "must be the `next` of the page before");
            None
        }
        Some(Ok(before)) => Some(before),
        None => None,
    };
    let filter = errors.check(Some(filter))?;
    let page = app.control.history(&actor, &filter, before, asked.limit).await?;
    let results = page.events.into_iter().map(HistoryEntry::from).collect();
    let next = page.next.map(|number| number.to_string());
    answer(StatusCode::OK, None, &HistoryList { results, next })
}

/// Shows a write, with the fields that it changed.
#[utoipa::path(get, path = "/api/history/{n}", tag = "history", operation_id = "show_history",
    params(crate::openapi::HistoryPath),
    responses((status = 200, body = HistoryDetail, description = "The write.",
        headers(("ETag" = String, description = "Its entity tag.")))))]
pub(crate) async fn show_history(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(number): Segment,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    parameters.none(&mut errors);
    let number = read_number(&number, &mut errors);
    let number = errors.check(number)?;
    let view = HistoryDetail::from(app.control.event(&actor, number).await?);
    answer(StatusCode::OK, Some(&view.etag), &view)
}

/// Brings the record of a write back to what it was before it, by a new write.
#[utoipa::path(post, path = "/api/history/{n}/rollback", tag = "history", operation_id = "roll_back",
    params(crate::openapi::HistoryPath, crate::openapi::WriteQuery, crate::openapi::ForceQuery,
        crate::openapi::IfMatchHeader),
    responses(
        (status = 200, body = Written<RolledBack>, description = "The record as it is now.",
            headers(("ETag" = String, description = "The record's entity tag."))),
        (status = 409, body = crate::types::Problem, content_type = "application/problem+json",
            description = "It has changed since (`superseded`), or there is nothing to bring back (`refused`).")))]
pub(crate) async fn roll_back(
    State(app): State<App>,
    Caller(actor): Caller,
    Segment(number): Segment,
    mut parameters: Parameters,
    if_match: IfMatch,
) -> Result<Response, Failure> {
    let mut errors = Errors::default();
    let force = parameters.flag("force", &mut errors);
    let asked = parameters.write(&mut errors);
    let number = read_number(&number, &mut errors);
    let number = errors.check(number)?;
    let conditions = if_match.and(&asked);
    let back = app.control.roll_back(&actor, number, &conditions, force).await?;
    let revision = back.revision.clone();
    let body = written(&app.control, &revision, asked, RolledBack::from(back)).await?;
    answer(StatusCode::OK, body.record.etag.as_deref(), &body)
}

fn read_filter(parameters: &mut Parameters, errors: &mut Errors) -> EventFilter {
    let host = parameters.text("host", errors);
    let collection = parameters.text("collection", errors);
    let id = parameters.text("id", errors);
    if let Some(host) = host {
        if collection.is_some() || id.is_some() {
            errors.add("?host", "can't stand beside collection and id");
        }
        let pattern = host.parse::<model::HostPattern>();
        let id = pattern.map_err(|error| errors.add("?host", error)).ok();
        return EventFilter::host(id.map(|id| id.to_string()));
    }
    if id.is_some() && collection.is_none() {
        errors.add("?id", "needs a collection beside it");
    }
    match collection {
        None => EventFilter::default(),
        Some(name) => EventFilter::named(&name, id).unwrap_or_else(|| {
            errors.add("?collection", "has no history");
            EventFilter::default()
        }),
    }
}

fn read_number(text: &str, errors: &mut Errors) -> Option<u64> {
    let number = text.parse().ok();
    if number.is_none() {
        errors.add("{n}", "must be a number");
    }
    number
}
