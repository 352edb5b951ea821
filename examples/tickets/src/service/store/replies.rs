//! The replies, in their one order.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::{Reply, Store, StoreError, WriteError, Written, signed, unsigned};

impl Store {
    /// Adds a reply, once for each request id.
    pub(in crate::service) async fn add_reply(
        &self,
        request_id: Uuid,
        ticket_id: u64,
        author: &str,
        text: &str,
    ) -> Result<Written<Reply>, WriteError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let found = sqlx::query("SELECT position, ticket_id, author, text FROM reply WHERE request_id = $1")
            .bind(request_id)
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some(row) = found {
            let what = reply_of(&row)?;
            let is_same = what.ticket_id == ticket_id && what.author == author && what.text == text;
            return if is_same { Ok(Written { what, replayed: true }) } else { Err(WriteError::Reused) };
        }
        let row = sqlx::query(
            "INSERT INTO reply (request_id, ticket_id, author, text)
             SELECT $1, ticket_id, $3, $4 FROM ticket WHERE ticket_id = $2
             RETURNING position",
        )
        .bind(request_id)
        .bind(signed(ticket_id))
        .bind(author)
        .bind(text)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Err(WriteError::TicketUnknown) };
        let position = unsigned(row.try_get("position")?, "position")?;
        transaction.commit().await?;
        let what = Reply { position, ticket_id, author: author.to_owned(), text: text.to_owned() };
        Ok(Written { what, replayed: false })
    }

    /// The newest replies to a ticket, the oldest of them first, and how many it has in all.
    pub(in crate::service) async fn replies_to(
        &self,
        ticket_id: u64,
        limit: u32,
    ) -> Result<(Vec<Reply>, u64), StoreError> {
        let newest = sqlx::query(
            "SELECT position, ticket_id, author, text,
                    (SELECT COUNT(*) FROM reply WHERE ticket_id = $1) AS reply_count
             FROM reply WHERE ticket_id = $1 ORDER BY position DESC LIMIT $2",
        )
        .bind(signed(ticket_id))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let count = newest.first().map_or(Ok(0), |row| row.try_get("reply_count"))?;
        let replies = newest.iter().rev().map(reply_of).collect::<Result<_, _>>()?;
        Ok((replies, unsigned(count, "reply_count")?))
    }

    /// The replies that follow a position, in order.
    pub(in crate::service) async fn replies_after(
        &self,
        position: u64,
        limit: u32,
    ) -> Result<Vec<Reply>, StoreError> {
        let rows = sqlx::query(
            "SELECT position, ticket_id, author, text FROM reply WHERE position > $1 ORDER BY position LIMIT $2",
        )
        .bind(signed(position))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(reply_of).collect()
    }

    /// The position of the newest reply of any instance; 0 where there is none.
    pub(in crate::service) async fn newest_position(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COALESCE(MAX(position), 0) AS position FROM reply")
            .fetch_one(&self.readers)
            .await?;
        unsigned(row.try_get("position")?, "position")
    }
}

fn reply_of(row: &SqliteRow) -> Result<Reply, StoreError> {
    Ok(Reply {
        position: unsigned(row.try_get("position")?, "position")?,
        ticket_id: unsigned(row.try_get("ticket_id")?, "ticket_id")?,
        author: row.try_get("author")?,
        text: row.try_get("text")?,
    })
}
