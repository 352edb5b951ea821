//! Requests that follow the changes.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use gameshelf::fields::{self, Fields, Limit, Wrong};
use gameshelf::ids::CopyName;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::tokens::Token;
use tonic::Status;

use super::RequestLimits;
use super::parts::parse;
use crate::grpc::cursor::check_form;
use crate::watch::Filter;

/// Where a watch begins, as it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum WatchStart {
    Snapshot(Option<Token>),
    After(Token),
    Earliest,
}

/// A watch as it came in. The tokens are judged when the store is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Watch {
    pub(in super::super) start: WatchStart,
    pub(in super::super) filter: Filter,
    pub(in super::super) copy_name: Option<CopyName>,
    pub(in super::super) with_digests: bool,
}

/// Where a poll begins or goes on, as it came in. The cursor is read when the store is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum PollStart {
    At(WatchStart),
    Cursor(String),
}

/// A poll as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct PollChanges {
    pub(in super::super) start: PollStart,
    pub(in super::super) filter: Filter,
    pub(in super::super) wait: Duration,
    pub(in super::super) copy_name: Option<CopyName>,
    pub(in super::super) with_digests: bool,
}

pub(in super::super) fn watch(request: &wire::WatchRequest, limits: &RequestLimits) -> Result<Watch, Status> {
    use wire::watch_request::Start;
    let mut fields = Fields::new();
    let start = match &request.start {
        None => {
            fields.wrong("start", "must be set: a snapshot, a token to resume after, or the earliest commit");
            None
        }
        Some(Start::Snapshot(snapshot)) => snapshot_start(&mut fields, snapshot),
        Some(Start::AfterToken(token)) => parse(&mut fields, "after_token", token).map(WatchStart::After),
        Some(Start::Earliest(_)) => Some(WatchStart::Earliest),
    };
    let filter = filter(&mut fields, request.filter.as_ref(), limits);
    let copy_name = copy_name(&mut fields, &request.copy_name);
    digests(&mut fields, request.with_digests, request.filter.as_ref());
    let with_digests = request.with_digests;
    let watch = start.zip(filter).map(|(start, filter)| Watch { start, filter, copy_name, with_digests });
    fields.finish(watch)
}

pub(in super::super) fn poll_changes(
    request: &wire::PollChangesRequest,
    limits: &RequestLimits,
) -> Result<PollChanges, Status> {
    use wire::poll_changes_request::Start;
    let mut fields = Fields::new();
    let start = match &request.start {
        None => {
            fields.wrong("start", "must be set: where to begin, or the cursor of the answer before");
            None
        }
        Some(Start::Snapshot(snapshot)) => snapshot_start(&mut fields, snapshot).map(PollStart::At),
        Some(Start::AfterToken(token)) => {
            parse(&mut fields, "after_token", token).map(|token| PollStart::At(WatchStart::After(token)))
        }
        Some(Start::Earliest(_)) => Some(PollStart::At(WatchStart::Earliest)),
        Some(Start::Cursor(cursor)) => {
            fields.take("cursor", check_form(cursor)).map(|()| PollStart::Cursor(cursor.clone()))
        }
    };
    let filter = filter(&mut fields, request.filter.as_ref(), limits);
    let wait = wait(&mut fields, request.wait, limits);
    let copy_name = copy_name(&mut fields, &request.copy_name);
    digests(&mut fields, request.with_digests, request.filter.as_ref());
    let poll = (|| {
        let (start, filter, wait) = (start?, filter?, wait?);
        let with_digests = request.with_digests;
        Some(PollChanges { start, filter, wait, copy_name, with_digests })
    })();
    fields.finish(poll)
}

fn snapshot_start(fields: &mut Fields, snapshot: &wire::SnapshotStart) -> Option<WatchStart> {
    if snapshot.as_of_token.is_empty() {
        return Some(WatchStart::Snapshot(None));
    }
    let token = parse(fields, "snapshot.as_of_token", &snapshot.as_of_token);
    token.map(|token| WatchStart::Snapshot(Some(token)))
}

fn wait(
    fields: &mut Fields,
    wait: Option<prost_types::Duration>,
    limits: &RequestLimits,
) -> Option<Duration> {
    let Some(wait) = wait else { return Some(Duration::ZERO) };
    let wait = fields.take("wait", fields::duration(wait))?;
    let limit_ms = limits.poll_wait_max_ms;
    if wait > Duration::from_millis(limit_ms) {
        let wait_ms = wait.as_millis();
        let told = format!("must be at most {limit_ms} ms, and is {wait_ms} ms");
        fields.beyond("wait", Limit::milliseconds(wait_ms, limit_ms), told);
        return None;
    }
    Some(wait)
}

fn filter(fields: &mut Fields, filter: Option<&wire::Filter>, limits: &RequestLimits) -> Option<Filter> {
    let Some(filter) = filter else { return Some(Filter::default()) };
    let items = filter.customer_ids.len() + filter.game_ids.len() + filter.partitions.len();
    let limit = limits.filter_items;
    if items > limit {
        let told = format!("must name at most {limit} items, and names {items}");
        fields.beyond("filter", Limit::number(items, limit), told);
        return None;
    }
    let customers = each_once(fields, "filter.customer_ids", &filter.customer_ids);
    let games = each_once(fields, "filter.game_ids", &filter.game_ids);
    let mut partitions = BTreeSet::new();
    for (index, number) in filter.partitions.iter().enumerate() {
        let field = format!("filter.partitions[{index}]");
        match u8::try_from(*number) {
            Ok(partition) if partitions.insert(partition) => {}
            Ok(_) => fields.wrong(field, format!("must not name {number} a second time")),
            Err(_) => {
                let told = format!("must be below 256, and is {number}");
                fields.beyond(field, Limit::number(number, u8::MAX), told);
            }
        }
    }
    Some(Filter { customers, games, partitions })
}

fn each_once<T: FromStr<Err: Wrong> + Ord>(fields: &mut Fields, name: &str, texts: &[String]) -> BTreeSet<T> {
    let mut all = BTreeSet::new();
    for (index, text) in texts.iter().enumerate() {
        let field = format!("{name}[{index}]");
        if let Some(one) = parse::<T>(fields, &field, text)
            && !all.insert(one)
        {
            fields.wrong(field, format!("must not name {text} a second time"));
        }
    }
    all
}

/// The copy that is kept; none where it has no name.
fn copy_name(fields: &mut Fields, name: &str) -> Option<CopyName> {
    if name.is_empty() { None } else { parse(fields, "copy_name", name) }
}

/// A digest is of whole partitions, so it says nothing of a part of one.
fn digests(fields: &mut Fields, with_digests: bool, filter: Option<&wire::Filter>) {
    let is_part = filter.is_some_and(|filter| !filter.customer_ids.is_empty() || !filter.game_ids.is_empty());
    if with_digests && is_part {
        fields.wrong("with_digests", "must not be set where the filter names customers or games");
    }
}
