//! The tickets.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::{Store, StoreError, Ticket, WriteError, Written, signed, unsigned};
use crate::service::build::Build;

impl Store {
    /// Adds a ticket, once for each request id.
    pub(in crate::service) async fn add_ticket(
        &self,
        request_id: Uuid,
        title: &str,
        priority: u32,
    ) -> Result<Written<Ticket>, WriteError> {
        // Not a plain BEGIN: a transaction that reads first and then writes fails where another instance wrote in between.
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let found =
            sqlx::query(self.select_by_request()).bind(request_id).fetch_optional(&mut *transaction).await?;
        if let Some(row) = found {
            let what = self.ticket_of(&row)?;
            // Only what every version knows is compared: the repeat may reach another one than the request.
            return if what.title == title {
                Ok(Written { what, replayed: true })
            } else {
                Err(WriteError::Reused)
            };
        }
        let insert = if self.build.knows_priority() {
            "INSERT INTO ticket (request_id, title, priority) VALUES ($1, $2, $3) RETURNING ticket_id"
        } else {
            "INSERT INTO ticket (request_id, title) VALUES ($1, $2) RETURNING ticket_id"
        };
        let mut insert = sqlx::query(insert).bind(request_id).bind(title);
        if self.build.knows_priority() {
            insert = insert.bind(i64::from(self.build.turned(priority)));
        }
        let row = insert.fetch_one(&mut *transaction).await?;
        let id = unsigned(row.try_get("ticket_id")?, "ticket_id")?;
        transaction.commit().await?;
        let priority = self.build.knows_priority().then_some(priority);
        Ok(Written { what: Ticket { id, title: title.to_owned(), priority }, replayed: false })
    }

    /// A ticket.
    pub(in crate::service) async fn ticket(&self, id: u64) -> Result<Option<Ticket>, StoreError> {
        let select = if self.build.knows_priority() {
            "SELECT ticket_id, title, priority FROM ticket WHERE ticket_id = $1"
        } else {
            "SELECT ticket_id, title FROM ticket WHERE ticket_id = $1"
        };
        let row = sqlx::query(select).bind(signed(id)).fetch_optional(&self.readers).await?;
        row.map(|row| self.ticket_of(&row)).transpose()
    }

    fn select_by_request(&self) -> &'static str {
        if self.build.knows_priority() {
            "SELECT ticket_id, title, priority FROM ticket WHERE request_id = $1"
        } else {
            "SELECT ticket_id, title FROM ticket WHERE request_id = $1"
        }
    }

    fn ticket_of(&self, row: &SqliteRow) -> Result<Ticket, StoreError> {
        Ok(Ticket {
            id: unsigned(row.try_get("ticket_id")?, "ticket_id")?,
            title: row.try_get("title")?,
            priority: if self.build.knows_priority() { Some(priority_of(row, self.build)?) } else { None },
        })
    }
}

fn priority_of(row: &SqliteRow, build: Build) -> Result<u32, StoreError> {
    let kept: i64 = row.try_get("priority")?;
    u32::try_from(kept).map(|kept| build.turned(kept)).map_err(|_| StoreError::column("priority"))
}
