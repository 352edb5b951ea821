//! The six guarantees, each a test of that name: under large batches, cuts at any point, restarts, slow readers, filters and
//! trimming. Each looks at the same kind of reading for one thing alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::super::engine::Position;
use super::super::{Filter, Poll, PollFrom, WatchLimits, Watches};
use super::world::{World, apply, key, random};
use super::{Event, LIMITS, Start, Subscription, WatchError, WatchStream, commits};
use crate::domain::{Commit, Key, Revision};
use crate::store::testing::{TestStore, on_both_stores};

on_both_stores!(ordered, unique, reliable, atomic, resumable, bookmarkable);

/// Small, so that everything is met often: a message holds a few batches or a part of one, memory some messages.
const TIGHT: WatchLimits = WatchLimits { slow_reader_timeout_ms: 40, message_bytes: 1_500, ..LIMITS };
const MEMORY_BYTES: usize = 6_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Stream,
    Poll,
}

/// What a reader was told from one beginning on, over all cuts.
#[derive(Debug)]
struct Line {
    filter: Filter,
    /// The state at a revision, or the revision after which it began.
    snapshot: Option<(Revision, BTreeMap<Key, Revision>)>,
    after: Revision,
    told: Vec<Told>,
}

#[derive(Debug)]
enum Told {
    /// The commits of one event.
    Commits(Vec<Commit>),
    Bookmark(Revision),
    /// The connection was cut; it was resumed after this revision.
    Resumed(Revision),
}

impl Line {
    fn commits(&self) -> impl Iterator<Item = &Commit> {
        self.told.iter().flat_map(|told| match told {
            Told::Commits(commits) => commits.as_slice(),
            _ => &[],
        })
    }

    /// The revision up to which the reader was told.
    fn reached(&self) -> Revision {
        self.told.iter().fold(self.after, |reached, told| match told {
            Told::Commits(commits) => commits.last().map_or(reached, |commit| commit.revision),
            Told::Bookmark(revision) => reached.max(*revision),
            Told::Resumed(_) => reached,
        })
    }
}

/// A reader that goes on after whatever happens to it.
struct Reader {
    how: How,
    filter: Filter,
    stream: Option<WatchStream>,
    position: Option<Position>,
    /// What it has of a snapshot that is not complete.
    partial: Vec<(Key, Revision)>,
    lines: Vec<Line>,
    cuts: usize,
    /// Whether a snapshot is to be begun.
    begins: bool,
}

impl Reader {
    fn new(how: How, filter: Filter) -> Self {
        let (stream, position, partial, lines) = (None, None, Vec::new(), Vec::new());
        Self { how, filter, stream, position, partial, lines, cuts: 0, begins: true }
    }

    /// The connection is gone; what was told is kept.
    fn cut(&mut self) {
        self.cuts += 1;
        self.stream = None;
        if self.how == How::Stream {
            self.partial.clear();
        }
        if let Some(line) = self.lines.last_mut().filter(|_| !self.begins) {
            let reached = line.reached();
            line.told.push(Told::Resumed(reached));
            // A poll may as well go on by a token as by its cursor.
            self.position = self.position.take().filter(|_| self.cuts.is_multiple_of(2));
        }
    }

    fn start(&self) -> Start {
        match self.lines.last().filter(|_| !self.begins) {
            Some(line) => Start::After(line.reached()),
            None => Start::Snapshot { as_of: None },
        }
    }

    /// Reads once. What cannot be resumed is begun anew.
    async fn read(&mut self, watches: &Watches) {
        let events = match self.how {
            How::Stream => self.read_stream(watches).await,
            How::Poll => self.read_poll(watches).await,
        };
        match events {
            Ok(events) => events.into_iter().for_each(|event| self.take(event)),
            Err(WatchError::Compacted { .. }) => {
                (self.begins, self.position, self.stream) = (true, None, None);
                self.partial.clear();
            }
            Err(WatchError::SlowReader { .. } | WatchError::Draining) => self.cut(),
            Err(error) => panic!("{error}"),
        }
    }

    async fn read_stream(&mut self, watches: &Watches) -> Result<Vec<Event>, WatchError> {
        if self.stream.is_none() {
            self.partial.clear();
            let filter = self.filter.clone();
            let start = self.start();
            let subscription = Subscription { filter, ..Subscription::to_all(start) };
            self.stream = Some(watches.open(subscription)?);
        }
        let stream = self.stream.as_mut().unwrap();
        Ok(vec![super::next(stream).await?])
    }

    async fn read_poll(&mut self, watches: &Watches) -> Result<Vec<Event>, WatchError> {
        let from = if let Some(position) = self.position.clone() {
            PollFrom::Position(position)
        } else {
            self.partial.clear();
            PollFrom::Start(self.start())
        };
        let poll = Poll { from, wait: Duration::from_millis(1), ..Poll::of(self.filter.clone()) };
        let polled = watches.poll(poll).await?;
        self.position = Some(polled.position);
        assert!(!polled.events.is_empty());
        Ok(polled.events)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::SnapshotChunk { entitlements, .. } => {
                self.partial.extend(entitlements.into_iter().map(|one| (one.key(), one.valid_from)));
            }
            Event::SnapshotEnd { revision } => {
                assert!(self.partial.is_sorted_by(|(one, _), (other, _)| one < other), "by key, each once");
                let snapshot = Some((revision, std::mem::take(&mut self.partial).into_iter().collect()));
                let filter = self.filter.clone();
                self.lines.push(Line { filter, snapshot, after: revision, told: Vec::new() });
                self.begins = false;
            }
            Event::Commits(parts) => self.tell(Told::Commits(commits(&parts).collect())),
            Event::Bookmark { revision } | Event::Digests { revision, .. } => {
                self.tell(Told::Bookmark(revision));
            }
        }
    }

    fn tell(&mut self, told: Told) {
        self.lines.last_mut().expect("a snapshot came first").told.push(told);
    }
}

fn filters() -> Vec<Filter> {
    let customers = [key(1, 0).0, key(4, 0).0].into();
    let games = [key(0, 2).1].into();
    let partitions: BTreeSet<u8> =
        (0..4).map(|customer| gameshelf::digest::partition(key(customer, 0).0.as_str())).collect();
    vec![
        Filter::default(),
        Filter { customers, ..Filter::default() },
        Filter { games, ..Filter::default() },
        Filter { partitions: partitions.clone(), ..Filter::default() },
        Filter { partitions, customers: [key(2, 0).0, key(6, 0).0].into(), games: [key(0, 1).1].into() },
    ]
}

/// Lets everything happen to a reader, and returns what it was told in the end.
async fn live(world: &mut World, random: &mut StdRng, how: How, filter: Filter, cuts: usize) -> Vec<Line> {
    let mut reader = Reader::new(how, filter);
    let mut steps = 0;
    while steps < 100 || reader.cuts < cuts {
        steps += 1;
        match random.random_range(0..100) {
            0..25 => world.commit_some(random).await,
            25..75 => reader.read(&world.watches).await,
            75..97 => reader.cut(),
            97 if cuts == 0 => is_cut_off(world, &reader).await,
            98 if steps % 4 == 0 => world.trim_to(random.random_range(0..60)).await,
            99 if steps % 8 == 0 => {
                reader.cut();
                world.restart().await;
            }
            _ => {}
        }
    }
    reader.cut();
    let begin = Instant::now();
    while reader.begins || reader.lines.last().is_none_or(|line| line.reached() < world.head.revision) {
        assert!(begin.elapsed() < super::PATIENCE, "the reader comes to the head: {:?}", reader.lines.last());
        reader.read(&world.watches).await;
    }
    reader.lines
}

/// The reader is away for longer than a stream waits for it.
async fn is_cut_off(world: &World, reader: &Reader) {
    while reader.stream.is_some() && world.watches.open_slots() < TIGHT.watchers {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What readers were told, each kind by each way with each filter.
async fn lines(test: TestStore, cuts: usize) -> (World, Vec<Line>) {
    let mut world = World::new(test, MEMORY_BYTES, TIGHT).await;
    let mut random = random();
    let mut lines = Vec::new();
    for how in [How::Stream, How::Poll] {
        for filter in filters() {
            lines.extend(live(&mut world, &mut random, how, filter, cuts).await);
        }
    }
    (world, lines)
}

async fn ordered(test: TestStore) {
    let (_, lines) = lines(test, 0).await;
    for line in lines {
        assert!(line.commits().is_sorted_by(|one, other| one.revision <= other.revision), "{line:?}");
    }
}

async fn unique(test: TestStore) {
    let (_, lines) = lines(test, 0).await;
    for line in lines {
        let mut seen = BTreeSet::new();
        assert!(line.commits().all(|commit| seen.insert(commit.revision)), "{line:?}");
        assert!(
            line.commits().all(|commit| commit.revision > line.after),
            "not what the snapshot holds: {line:?}"
        );
    }
}

async fn reliable(test: TestStore) {
    let (world, lines) = lines(test, 0).await;
    for line in lines {
        let expected = world.expected(line.after, line.reached(), &line.filter);
        let told: Vec<Revision> = line.commits().map(|commit| commit.revision).collect();
        assert_eq!(told, expected.iter().map(|commit| commit.revision).collect::<Vec<_>>(), "{line:?}");
        let Some((at, mut owned)) = line.snapshot.clone() else { continue };
        assert_eq!(owned, world.owned_at(at, &line.filter), "the snapshot at {at}");
        line.commits().for_each(|commit| apply(&mut owned, commit));
        assert_eq!(owned, world.owned_at(line.reached(), &line.filter), "a copy is what the store is");
    }
}

async fn atomic(test: TestStore) {
    let (world, lines) = lines(test, 0).await;
    for line in lines {
        for commit in line.commits() {
            let [whole] = &world.expected(commit.revision - 1, commit.revision, &line.filter)[..] else {
                panic!("told of {}, which does not concern the reader", commit.revision);
            };
            assert_eq!(commit, whole, "with all that concerns the reader, in one message");
        }
    }
}

async fn resumable(test: TestStore) {
    // A thousand cuts, each at a point by chance.
    let (world, lines) = lines(test, 100).await;
    let mut resumed = 0;
    for line in &lines {
        let mut after = None;
        for told in &line.told {
            match told {
                Told::Resumed(revision) => after = Some(*revision),
                Told::Commits(commits) => {
                    let Some(after) = after.take() else { continue };
                    resumed += 1;
                    let expected = world.expected(after, commits[0].revision, &line.filter);
                    let first: Vec<Revision> = expected.iter().map(|commit| commit.revision).collect();
                    assert_eq!(first, [commits[0].revision], "it goes on with the next commit after {after}");
                }
                Told::Bookmark(revision) => {
                    assert!(after.is_none_or(|after| *revision >= after), "never back");
                }
            }
        }
    }
    assert!(resumed > 50, "there was something to resume {resumed} times");
}

async fn bookmarkable(test: TestStore) {
    let (mut world, lines) = lines(test, 0).await;
    for line in lines {
        let mut bookmark = 0;
        let mut told = Vec::new();
        for one in &line.told {
            match one {
                Told::Commits(commits) => {
                    assert!(commits[0].revision > bookmark, "nothing comes at or below {bookmark}: {line:?}");
                    told.extend(commits.iter().map(|commit| commit.revision));
                }
                Told::Bookmark(revision) => {
                    bookmark = bookmark.max(*revision);
                    let expected = world.expected(line.after, *revision, &line.filter);
                    let expected: Vec<_> = expected.iter().map(|commit| commit.revision).collect();
                    assert_eq!(told, expected, "everything up to {revision} was told");
                }
                Told::Resumed(_) => {}
            }
        }
    }
    world.limits = LIMITS;
    world.restart().await;
    a_bookmark_comes_at_least_every_second(&mut world).await;
}

/// On an idle stream, and on one that is told of nothing while commits flow.
async fn a_bookmark_comes_at_least_every_second(world: &mut World) {
    let customers = [key(1_000, 0).0].into();
    for filter in filters().into_iter().chain([Filter { customers, ..Filter::default() }]) {
        for commits in [false, true] {
            let start = Start::After(world.head.revision);
            let subscription = Subscription { filter: filter.clone(), ..Subscription::to_all(start) };
            let mut stream = world.watches.open(subscription).unwrap();
            let mut last = Instant::now();
            for _ in 0..5 {
                if commits {
                    // Nobody watches this customer but whoever watches everyone.
                    world.commit(&[&[(5, 4)]]).await;
                }
                let event = super::next(&mut stream).await.unwrap();
                assert!(last.elapsed() < Duration::from_secs(1), "{event:?} came late");
                last = Instant::now();
                if let Event::Bookmark { revision } = event {
                    assert!(revision <= world.head.revision);
                }
            }
        }
    }
}
