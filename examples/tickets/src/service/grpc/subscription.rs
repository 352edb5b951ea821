//! One subscription: every reply after a position, read from the database in its order, and then each new one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{errors, wire};
use crate::proto::tickets::v1::SubscribeResponse;
use crate::service::store::{Reply, Store};

/// Replies that may stand between the subscription and its connection.
pub(super) const SENDING_MAX: usize = 16;

/// What a subscriber is sent.
type Message = Result<SubscribeResponse, Status>;

/// What delivers to one subscriber.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) store: Arc<Store>,
    pub(super) news: watch::Receiver<u64>,
    /// The position of what was delivered last.
    pub(super) position: u64,
    pub(super) page_replies: u32,
    pub(super) patience: Duration,
    pub(super) draining: CancellationToken,
    pub(super) out: mpsc::Sender<Message>,
    /// Room for the reason of the end, which is kept from the first: who is too slow must hear of it too.
    pub(super) end: mpsc::OwnedPermit<Message>,
    pub(super) place: OwnedSemaphorePermit,
}

/// Why nothing more is delivered; none where nobody is there to hear it.
type End = Option<Status>;

impl Subscription {
    /// Delivers until the subscriber has gone, is too slow, or the service stops.
    pub(super) async fn deliver(self) {
        let Self { store, mut news, mut position, page_replies, patience, draining, out, end, place } = self;
        let pages = async {
            loop {
                // Before the look: what is committed after it will be news.
                news.mark_unchanged();
                let page = store.replies_after(position, page_replies).await;
                let page = page.map_err(|error| Some(errors::store(&error)))?;
                if page.is_empty() {
                    news.changed().await.map_err(|_| None)?;
                }
                for reply in page {
                    position = reply.position;
                    send(&out, reply, patience).await?;
                }
            }
        };
        let ended: Result<Infallible, End> = tokio::select! {
            ended = pages => ended,
            () = out.closed() => return,
            () = draining.cancelled() => Err(Some(errors::stopping())),
        };
        if let Err(Some(status)) = ended {
            end.send(Err(status));
        }
        // Until here it took the place of another one.
        drop(place);
    }
}

async fn send(out: &mpsc::Sender<Message>, reply: Reply, patience: Duration) -> Result<(), End> {
    let room = tokio::time::timeout(patience, out.reserve()).await;
    let room = room.map_err(|_| Some(errors::slow_subscriber(patience.as_millis())))?.map_err(|_| None)?;
    room.send(Ok(SubscribeResponse { reply: Some(wire::reply(reply)) }));
    Ok(())
}
