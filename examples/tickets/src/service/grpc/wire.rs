//! Messages of the wire, read and written.

use tonic::Status;
use uuid::Uuid;

use super::errors::Fields;
use crate::proto::tickets::v1;
use crate::service::build::PRIORITY_MAX;
use crate::service::store::{Reply, Ticket};

/// A new ticket as it was asked for.
#[derive(Debug)]
pub(super) struct NewTicket {
    pub(super) request_id: Uuid,
    pub(super) title: String,
    pub(super) priority: u32,
}

/// A new reply as it was asked for.
#[derive(Debug)]
pub(super) struct NewReply {
    pub(super) request_id: Uuid,
    pub(super) ticket_id: u64,
    pub(super) author: String,
    pub(super) text: String,
}

pub(super) fn new_ticket(request: v1::AddRequest, text_max_bytes: usize) -> Result<NewTicket, Status> {
    let mut fields = Fields::default();
    let request_id = request_id(&mut fields, &request.request_id);
    text(&mut fields, "title", &request.title, text_max_bytes);
    let priority = request.priority.unwrap_or_default();
    if priority > PRIORITY_MAX {
        fields.wrong("priority", format!("must be at most {PRIORITY_MAX}"));
    }
    fields.check()?;
    Ok(NewTicket { request_id, title: request.title, priority })
}

pub(super) fn new_reply(request: v1::AddReplyRequest, text_max_bytes: usize) -> Result<NewReply, Status> {
    let mut fields = Fields::default();
    let request_id = request_id(&mut fields, &request.request_id);
    text(&mut fields, "author", &request.author, text_max_bytes);
    text(&mut fields, "text", &request.text, text_max_bytes);
    fields.check()?;
    Ok(NewReply { request_id, ticket_id: request.ticket_id, author: request.author, text: request.text })
}

/// The id, or any where it is wrong: then the request goes no further.
fn request_id(fields: &mut Fields, given: &str) -> Uuid {
    Uuid::try_parse(given).unwrap_or_else(|_| {
        fields.wrong("request_id", "must be a UUID");
        Uuid::nil()
    })
}

fn text(fields: &mut Fields, name: &'static str, given: &str, max_bytes: usize) {
    if given.trim().is_empty() {
        fields.wrong(name, "must not be empty");
    } else if given.len() > max_bytes {
        fields.wrong(name, format!("must have at most {max_bytes} bytes"));
    }
}

pub(super) fn ticket(ticket: Ticket) -> v1::Ticket {
    v1::Ticket { ticket_id: ticket.id, title: ticket.title, priority: ticket.priority }
}

pub(super) fn reply(reply: Reply) -> v1::Reply {
    let Reply { position, ticket_id, author, text } = reply;
    v1::Reply { position, ticket_id, author, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    #[test]
    fn each_wrong_field_is_named() {
        let request = v1::AddRequest { title: " ".to_owned(), priority: Some(10), ..Default::default() };
        let details = new_ticket(request, 10).unwrap_err().get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["fields"], "request_id,title,priority");
        let request = v1::AddReplyRequest {
            request_id: Uuid::max().to_string(),
            ticket_id: 1,
            author: "ada".to_owned(),
            text: "x".repeat(11),
        };
        let details = new_reply(request, 10).unwrap_err().get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].description, "text must have at most 10 bytes");
    }
}
