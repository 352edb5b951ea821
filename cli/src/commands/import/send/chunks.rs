//! Cuts rows into requests, each of which is known by its content: whoever runs an import again sends the same requests, which have
//! no second effect.

use std::collections::{HashSet, VecDeque};

use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::{Cause, ImportRequest, ImportRow, Reason};

use super::Limits;
use crate::commands::import::rows::Row;

/// Who the history names.
const ACTOR: &str = "import";

/// The rows of one request, by their places.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Empty until it is sent.
    pub(super) request_id: String,
    pub(super) rows: Vec<usize>,
    /// It was sent before in this import, and its answer may have been lost.
    pub(super) sent_before: bool,
}

/// What is left to send.
#[derive(Debug)]
pub(super) struct Chunks {
    /// What has to go first: it was not answered, or is what a refusal left.
    again: VecDeque<Chunk>,
    next: usize,
    end: usize,
    size: usize,
    import_id: String,
}

impl Chunks {
    pub(super) fn new(rows: usize, limits: &Limits) -> Self {
        let size = limits.changes_per_request.max(1);
        Self { again: VecDeque::new(), next: 0, end: rows, size, import_id: limits.import_id.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.again.is_empty() && self.next == self.end
    }

    pub(super) fn next(&mut self, rows: &[Row]) -> Option<Chunk> {
        if let Some(chunk) = self.again.pop_front() {
            return Some(chunk);
        }
        let end = self.end.min(self.next.saturating_add(self.size));
        let places: Vec<usize> = (self.next..end).collect();
        self.next = end;
        (!places.is_empty()).then(|| self.chunk(places, rows))
    }

    /// What was not answered goes first.
    pub(super) fn again(&mut self, chunk: Chunk) {
        self.again.push_front(Chunk { sent_before: true, ..chunk });
    }

    /// The rows of a refused request without those that stand against it: another request.
    pub(super) fn without(&mut self, chunk: Chunk, wrong: &[usize], rows: &[Row]) {
        let wrong: HashSet<&usize> = wrong.iter().collect();
        let places: Vec<usize> = chunk.rows.into_iter().filter(|place| !wrong.contains(place)).collect();
        if !places.is_empty() {
            let chunk = self.chunk(places, rows);
            self.again.push_back(chunk);
        }
    }

    fn chunk(&self, places: Vec<usize>, rows: &[Row]) -> Chunk {
        let mut content = format!("gameshelf.import.v1\0{}\0", self.import_id).into_bytes();
        for row in places.iter().filter_map(|place| rows.get(*place)) {
            let end = row.end_time.map(|time| (time.seconds, time.nanos)).unwrap_or_default();
            // No id has a control character.
            content.extend_from_slice(format!("{}\0{}\0{end:?}\0", row.customer_id, row.game_id).as_bytes());
        }
        let request_id = RequestId::of_content(&content).to_string();
        Chunk { request_id, rows: places, sent_before: false }
    }

    pub(super) fn request(chunk: &Chunk, rows: &[Row]) -> ImportRequest {
        let rows = chunk.rows.iter().filter_map(|place| rows.get(*place)).map(|row| ImportRow {
            customer_id: row.customer_id.to_string(),
            game_id: row.game_id.to_string(),
            end_time: row.end_time,
        });
        let cause =
            Cause { reason: Reason::Migration.into(), actor: ACTOR.to_owned(), order_id: String::new() };
        ImportRequest { request_id: chunk.request_id.clone(), rows: rows.collect(), cause: Some(cause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rows(number: u64) -> Vec<Row> {
        let row = |line: u64| Row {
            line,
            customer_id: "c".parse().unwrap(),
            game_id: format!("g-{line}").parse().unwrap(),
            end_time: None,
        };
        (0..number).map(row).collect()
    }

    fn chunks(rows: &[Row], import_id: &str) -> Chunks {
        let limits = Limits {
            changes_per_request: 2,
            in_flight: 1,
            give_up_after: Duration::ZERO,
            import_id: import_id.to_owned(),
        };
        Chunks::new(rows.len(), &limits)
    }

    fn ids(mut chunks: Chunks, rows: &[Row]) -> Vec<String> {
        std::iter::from_fn(|| chunks.next(rows)).map(|chunk| chunk.request_id).collect()
    }

    #[test]
    fn the_same_rows_are_the_same_requests() {
        let rows = rows(5);
        let first = ids(chunks(&rows, ""), &rows);
        assert_eq!((first.len(), &ids(chunks(&rows, ""), &rows)), (3, &first));
        let other = ids(chunks(&rows, "again"), &rows);
        assert!(first.iter().all(|id| !other.contains(id)), "another import has other requests");
    }

    #[test]
    fn what_a_refusal_leaves_is_another_request() {
        let rows = rows(2);
        let mut chunks = chunks(&rows, "");
        let refused = chunks.next(&rows).unwrap();
        let request_id = refused.request_id.clone();
        chunks.without(refused, &[0], &rows);
        let rest = chunks.next(&rows).unwrap();
        assert_eq!(rest.rows, [1]);
        assert_ne!(rest.request_id, request_id);
        chunks.without(rest, &[1], &rows);
        assert!(chunks.is_empty());
    }
}
