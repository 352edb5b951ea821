//! What the feed keeps: the newest replies, and how far it has come. Pure: what is delivered goes in, what is kept comes out.

use std::collections::VecDeque;

use crate::proto::tickets::v1::Reply;

/// The newest replies.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    limit: usize,
    pub(super) replies: VecDeque<Reply>,
    pub(super) position: u64,
    pub(super) events: u64,
    pub(super) out_of_order: u64,
}

impl Kept {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, replies: VecDeque::new(), position: 0, events: 0, out_of_order: 0 }
    }

    /// A reply was delivered: the number of this event. Whatever is delivered counts, so that a gap or a double shows.
    pub(super) fn deliver(&mut self, reply: Reply) -> u64 {
        self.events += 1;
        if reply.position != self.position + 1 {
            self.out_of_order += 1;
        }
        // What is kept already is not kept twice.
        if reply.position > self.position {
            self.position = reply.position;
            self.replies.push_back(reply);
            if self.replies.len() > self.limit {
                self.replies.pop_front();
            }
        }
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(positions: &[u64]) -> Kept {
        let mut kept = Kept::new(3);
        for position in positions {
            kept.deliver(Reply { position: *position, ..Reply::default() });
        }
        kept
    }

    fn positions(kept: &Kept) -> Vec<u64> {
        kept.replies.iter().map(|reply| reply.position).collect()
    }

    #[test]
    fn the_newest_replies_are_kept_in_order() {
        let kept = delivered(&[1, 2, 3, 4, 5]);
        assert_eq!(positions(&kept), [3, 4, 5]);
        assert_eq!((kept.position, kept.events, kept.out_of_order), (5, 5, 0));
    }

    #[test]
    fn a_gap_and_a_double_are_counted() {
        let kept = delivered(&[1, 2, 2, 1, 4]);
        assert_eq!(positions(&kept), [1, 2, 4]);
        assert_eq!((kept.position, kept.events, kept.out_of_order), (4, 5, 3));
    }
}
