//! What a process has seen of its own calls since it started: what it served, whom it called, and how that went. The
//! metrics are made of it, and `gameshelf.mesh.v1` Report tells it to whoever asks.
//!
//! It hangs in the [`Environment`](crate::environment::Environment), which servers and callers of one process share.
//! Everything is counted with atomics, in memory and within limits: names that come beyond them are counted as `_OTHER`.

mod edge;
mod latency;
mod made;
mod report;
mod served;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

pub use made::Carried;

pub(crate) use edge::{Edge, Method, View};
pub(crate) use made::{Made, Serving};
pub(crate) use served::Served;

/// What is counted together once a limit is reached.
pub(crate) const OTHER: &str = "_OTHER";
/// The services that are told apart.
const MAX_EDGES: usize = 32;
/// The methods of one service that are told apart where it is called.
const MAX_METHODS: usize = 64;
/// The versions of one method that are told apart.
const MAX_VERSIONS: usize = 8;
/// The methods that are told apart where they are served.
const MAX_SERVED: usize = 256;

/// What the parts of one process have seen. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Seen {
    registry: Arc<Registry>,
}

#[derive(Default)]
struct Registry {
    edges: RwLock<Vec<Arc<Edge>>>,
    served: Served,
}

impl Seen {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The calls to a service.
    pub(crate) fn edge(&self, name: &str) -> Arc<Edge> {
        let find = |edges: &[Arc<Edge>], name: &str| edges.iter().find(|edge| edge.name() == name).cloned();
        if let Some(edge) = find(&self.edges(), name) {
            return edge;
        }
        let mut edges = self.registry.edges.write().unwrap_or_else(PoisonError::into_inner);
        let name = if edges.len() < MAX_EDGES { name } else { OTHER };
        find(&edges, name).unwrap_or_else(|| {
            let edge = Arc::new(Edge::new(name));
            edges.push(edge.clone());
            edge
        })
    }

    pub(crate) fn served(&self) -> &Served {
        &self.registry.served
    }

    fn edges(&self) -> RwLockReadGuard<'_, Vec<Arc<Edge>>> {
        self.registry.edges.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_beyond_the_limit_are_counted_together() {
        let seen = Seen::new();
        for number in 0..MAX_EDGES {
            assert_eq!(seen.edge(&format!("peer-{number}")).name(), format!("peer-{number}"));
        }
        assert_eq!((seen.edge("one more").name(), seen.edge("and another").name()), (OTHER, OTHER));
        assert_eq!(seen.edge("peer-0").name(), "peer-0");
        assert_eq!(seen.report().edges.len(), MAX_EDGES + 1);
    }
}
