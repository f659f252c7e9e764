//! `GET /cache`: what the node has cached, without values; `/cache/{key}/explain`: why a key holds
//! its value.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};
use tidings::{
    CacheKey, Node,
    cache::{Event, Happened, HeldNow, Level, Listed, Reason, Walk},
    core::Schema,
};
use uuid::Uuid;

use crate::{
    answer,
    problem::Problem,
    request::query::{Listing, Query},
};

/// How many entries one page walks through at most, and how many are walked through again before
/// other requests get a turn.
const STEPS: u64 = 10_000;
/// How many walks wait for their next page.
const PARKED: usize = 4;

/// Walks through the cache that wait for their next page to be asked for. A walk that was dropped
/// is started again, at the cost of the entries before its page.
#[derive(Default)]
pub(crate) struct Walks(Mutex<VecDeque<Parked>>);

/// A walk that waits, with its place.
struct Parked {
    token: String,
    walk: Walk,
    steps: u64,
    /// Already found; the first entry of the next page.
    ahead: Option<Listed>,
}

impl Walks {
    fn parked(&self) -> MutexGuard<'_, VecDeque<Parked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the walk of a page: the one that waits for it, or a new one moved to the same place.
    /// A token for a place beyond the end of the cache is refused.
    async fn resume(&self, node: &Node, token: Option<&str>) -> Result<Parked, Problem> {
        let steps = match token {
            None => 0,
            Some(token) => steps_of(token).ok_or_else(Problem::invalid_offset)?,
        };
        if let Some(parked) = token.and_then(|token| self.take(token)) {
            return Ok(parked);
        }

        let mut walk = node.cache().walk();
        for step in 1..=steps {
            if walk.next().is_none() {
                return Err(Problem::invalid_offset());
            }
            if step.is_multiple_of(STEPS) {
                tokio::task::yield_now().await;
            }
        }

        Ok(Parked {
            token: String::new(),
            walk,
            steps,
            ahead: None,
        })
    }

    /// Takes the walk that waits for a page, if it was not dropped.
    fn take(&self, token: &str) -> Option<Parked> {
        let mut parked = self.parked();
        let index = parked.iter().position(|it| it.token == token)?;
        parked.remove(index)
    }

    /// Keeps a walk for its next page. Returns the page's token.
    fn park(&self, mut walk: Parked) -> String {
        // The entry ahead belongs to the next page, even if a new walk has to get there.
        let steps = walk.steps - u64::from(walk.ahead.is_some());
        walk.token = format!("{steps}.{}", Uuid::new_v4().simple());

        let token = walk.token.clone();
        let mut parked = self.parked();
        let gone = (parked.len() >= PARKED)
            .then(|| parked.pop_front())
            .flatten();
        parked.push_back(walk);
        drop(parked);
        drop(gone); // with the lock released

        token
    }
}

/// Reads from a token how far its walk was.
fn steps_of(token: &str) -> Option<u64> {
    let (steps, id) = token.split_once('.')?;
    let canonical = steps
        .parse::<u64>()
        .ok()
        .filter(|it| it.to_string() == steps);
    Uuid::try_parse(id).ok().and(canonical)
}

impl fmt::Debug for Walks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Walks").field(&self.parked().len()).finish()
    }
}

/// Answers with a page of what is cached.
pub(crate) async fn list(
    node: &Node,
    query: &Query,
    path: &str,
    walks: &Walks,
) -> Result<Response, Problem> {
    let asked = query.listing()?;
    let mut at = walks.resume(node, asked.offset.as_deref()).await?;
    let end = at.steps.saturating_add(STEPS);
    let mut rows = Vec::new();
    let mut is_over = false;
    loop {
        let entry = match at.ahead.take() {
            Some(entry) => Some(entry),
            None if at.steps >= end => break,
            None => match at.walk.next() {
                None => {
                    is_over = true;
                    break;
                }
                Some(entry) => {
                    at.steps += 1;
                    entry
                }
            },
        };
        let Some(entry) = entry.filter(|entry| is_of(&entry.key, &asked)) else {
            continue;
        };
        if rows.len() == asked.size {
            at.ahead = Some(entry);
            break;
        }

        rows.push(row(node, &entry));
    }

    let mut body = json!({ "data": rows, "next": null });
    if !is_over {
        let token = walks.park(at);
        body["next"] = query.next_page(path, &token).into();
        body["offset"] = token.into();
    }

    Ok(answer::json(StatusCode::OK, &body))
}

/// Returns the name in a key: that of an entity, or of whatever an application has cached.
fn name_of(key: &str) -> &str {
    key.split([':', '@']).next().unwrap_or_default()
}

fn is_of(key: &str, asked: &Listing) -> bool {
    let name = asked.entity.as_deref();
    name.is_none_or(|entity| name_of(key) == entity)
}

fn schema_of(node: &Node, key: &str) -> Option<&'static Schema> {
    node.schema(name_of(key))
}

/// Returns a key as it may be shown. A key of no entity is shown as it is.
fn shown(node: &Node, key: &str) -> String {
    let schema = schema_of(node, key);
    schema.map_or_else(|| key.to_owned(), |schema| schema.shown_cache_key(key))
}

fn row(node: &Node, entry: &Listed) -> Json {
    json!({
        "entity": name_of(&entry.key),
        "cache_key": shown(node, &entry.key),
        "level": level(entry.level),
        "kind": if entry.is_absence { "absence" } else { "value" },
        "ttl": entry.remaining.map(|left| left.as_secs_f64()),
        "age": entry.age.as_secs_f64(),
        "bytes": entry.bytes,
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::L1 => "l1",
        _ => "l2",
    }
}

/// Answers why a key holds its value.
pub(crate) fn explain(node: &Node, key: &str) -> Result<Response, Problem> {
    let told = node.cache().explain(&CacheKey::from_text(key));
    let told = told.ok_or_else(Problem::not_found)?;
    let mut body = held(told.held.as_ref());
    body.insert("entity".to_owned(), name_of(key).into());
    body.insert("cache_key".to_owned(), shown(node, key).into());

    let is_load = |it: &&Happened| matches!(it.event, Event::Loaded { .. } | Event::Failed { .. });
    let loads = told.history.iter().filter(is_load);
    let loads: Vec<_> = loads.map(load).collect();
    let kept = loads.iter().find(|load| load["kept"] == true);
    let kept = kept.filter(|_| told.held.is_some()).cloned();
    body.insert("loaded".to_owned(), kept.unwrap_or_default());
    body.insert("loads".to_owned(), loads.into());

    let rest = told.history.iter().filter(|it| !is_load(it));
    let rest: Vec<_> = rest
        .map(|it| invalidation(node, name_of(key), it))
        .collect();
    let voided = told.history.iter().map(|it| match it.event {
        Event::Invalidated { voided, .. } => voided,
        _ => 0,
    });
    body.insert("voided".to_owned(), voided.sum::<usize>().into());
    body.insert("invalidations".to_owned(), rest.into());
    body.insert("handlers".to_owned(), handlers(node, key));

    Ok(answer::json(StatusCode::OK, &Json::Object(body)))
}

fn held(held: Option<&HeldNow>) -> Map<String, Json> {
    let seconds = |time: Duration| time.as_secs_f64();
    let kind = match held {
        None => Json::Null,
        Some(held) if held.type_name.is_none() => "absence".into(),
        Some(_) => "value".into(),
    };
    let mut body = Map::new();
    let mut say = |name: &str, value: Json| body.insert(name.to_owned(), value);
    say("kind", kind);
    say("type", held.and_then(|it| it.type_name).into());
    say("age", held.map(|it| seconds(it.age)).into());

    let ttl = held.and_then(|it| it.remaining);
    say("ttl", ttl.map(seconds).into());
    say("number", held.map(|it| it.number).into());
    say("bytes", held.map(|it| it.bytes).into());
    say("level", held.map(|_| level(Level::L2)).into());
    body
}

fn load(load: &Happened) -> Json {
    let (by, took, refused, kept) = match &load.event {
        Event::Loaded { by, took, refused } => (by, took, *refused, refused.is_none()),
        Event::Failed { by, took } => (by, took, Some("failed"), false),
        _ => return Json::Null,
    };
    json!({
        "ago": load.ago.as_secs_f64(),
        "number": load.number,
        "by": by.as_str(),
        "took": took.as_secs_f64(),
        "kept": kept,
        "refused": refused,
    })
}

fn invalidation(node: &Node, entity: &str, it: &Happened) -> Json {
    let (event, evicted, voided) = match &it.event {
        Event::Invalidated { held, voided } => ("invalidated", *held, *voided),
        Event::Tagged(_) => ("tag", true, 0),
        Event::Purged => ("purged", true, 0),
        Event::Expired => ("expired", true, 0),
        Event::Space => ("space", true, 0),
        _ => ("unknown", false, 0),
    };
    let mut said = json!({
        "ago": it.ago.as_secs_f64(),
        "number": it.number,
        "event": event,
        "evicted": evicted,
        "voided": voided,
        "cause": cause(it),
        "entity": null,
        "row": null,
        "operation": null,
        "node": null,
        "position": null,
        "reason": null,

        "handlers": it.handlers.map(|handlers| handlers.as_str()),
    });
    if let Event::Tagged(tag) = &it.event {
        said["tag"] = tag.to_string().into();
    }

    match it.reason.as_deref() {
        Some(Reason::Change {
            rows,
            node: writer,
            place,
            mark,
        }) => {
            let own = rows.iter().find(|row| &*row.entity == entity);
            if let Some(row) = own.or(rows.first()) {
                said["entity"] = (*row.entity).into();
                let schema = node.schema(&row.entity);
                said["row"] = schema.map(|it| it.shown_key(&row.key).to_json()).into();
                said["operation"] = row.operation.as_str().into();
            }

            said["node"] = writer.as_deref().into();
            let position = place.as_ref().map(ToString::to_string);
            said["position"] = position.or(mark.map(|mark| mark.to_string())).into();
        }
        Some(Reason::Everywhere { node }) => said["node"] = node.as_deref().into(),
        Some(Reason::Gap(reason)) => said["reason"] = reason.as_str().into(),
        Some(_) | None => {}
    }

    said
}

/// Returns the word for the cause of an event.
fn cause(it: &Happened) -> &'static str {
    match (it.reason.as_deref(), &it.event) {
        (_, Event::Expired) => "expired",
        (_, Event::Space) => "space",
        (Some(Reason::Change { .. }), _) => "change",
        (Some(Reason::Everywhere { .. }), _) => "everywhere",
        (Some(Reason::Gap(_)), _) => "gap",
        (Some(Reason::Doubt), _) => "doubt",
        // Within a handler, of a change that was forgotten or that has no name.
        (_, _) if it.cause.is_some() => "handler",
        (_, _) => "caller",
    }
}

/// Returns the handlers that receive the changes of a key's entity.
fn handlers(node: &Node, key: &str) -> Json {
    let Some(schema) = schema_of(node, key) else {
        return json!([]);
    };

    let channel = |event: &str| format!("({:?}, {event:?})", "crud");
    let entity = schema.name();
    let own = channel(entity);
    let of_operation = channel(&format!("{entity}:"));
    let of_operation = of_operation.trim_end_matches("\")").to_owned();
    let all = [channel("*"), format!("({:?}, {:?})", "*", "*")];
    let stats = node.worker_events().stats();
    let hears = stats.handlers.iter().filter(|handler| {
        let mut patterns = handler.listens_to.iter();
        patterns.any(|it| *it == own || it.starts_with(&of_operation) || all.contains(it))
    });
    let hears = hears.map(|it| json!({ "name": it.name, "worker": it.worker }));
    Json::Array(hears.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_how_far_its_walk_was() {
        let id = Uuid::new_v4().simple();
        assert_eq!(steps_of(&format!("70.{id}")), Some(70));
        for wrong in [
            "",
            "7",
            "7.x",
            "-1.x",
            &format!("07.{id}"),
            &format!("x.{id}"),
        ] {
            assert_eq!(steps_of(wrong), None, "{wrong}");
        }
    }
}
