//! The service itself: parse, execute, behave as the token asks, answer.

use std::time::Duration;

use gameshelf::proto::payment::v1::payment_service_server::PaymentService;
use gameshelf::proto::payment::v1::{
    AuthorizeRequest, AuthorizeResponse, CaptureRequest, CaptureResponse, GetPaymentRequest,
    GetPaymentResponse, Payment, RefundRequest, RefundResponse, VoidRequest, VoidResponse,
};
use tonic::{Request, Response, Status};

use super::{errors, wire};
use crate::behavior::Behavior;
use crate::books::{Books, Command};
use crate::ledger::Operation;

/// Answers payment/v1 from the books.
#[derive(Debug)]
pub(crate) struct Service {
    books: Books,
    slow: Duration,
}

impl Service {
    /// `slow` is how late a slow payment is answered.
    pub(crate) fn new(books: Books, slow: Duration) -> Self {
        Self { books, slow }
    }

    async fn execute(&self, command: Command) -> Result<Option<Payment>, Status> {
        let payment_id = match &command {
            Command::Authorize(request) => request.payment_id,
            Command::Settle(call) => call.payment_id,
        };
        let outcome = self.books.execute(command).await.map_err(|error| errors::books(&error))?;
        if !outcome.replayed {
            match outcome.behavior {
                Behavior::Slow => tokio::time::sleep(self.slow).await,
                Behavior::Lose => return Err(errors::answer_lost()),
                Behavior::Approve | Behavior::Decline => {}
            }
        }
        let payment = outcome.result.map_err(|refusal| errors::refusal(refusal, payment_id))?;
        Ok(Some(wire::payment(payment)))
    }

    async fn settle(
        &self,
        operation: Operation,
        request_id: &str,
        payment_id: &str,
    ) -> Result<Option<Payment>, Status> {
        self.execute(Command::Settle(wire::call(operation, request_id, payment_id)?)).await
    }
}

#[tonic::async_trait]
impl PaymentService for Service {
    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let authorization = wire::authorization(request.into_inner())?;
        let payment = self.execute(Command::Authorize(authorization)).await?;
        Ok(Response::new(AuthorizeResponse { payment }))
    }

    async fn capture(&self, request: Request<CaptureRequest>) -> Result<Response<CaptureResponse>, Status> {
        let CaptureRequest { request_id, payment_id } = request.into_inner();
        let payment = self.settle(Operation::Capture, &request_id, &payment_id).await?;
        Ok(Response::new(CaptureResponse { payment }))
    }

    async fn void(&self, request: Request<VoidRequest>) -> Result<Response<VoidResponse>, Status> {
        let VoidRequest { request_id, payment_id } = request.into_inner();
        let payment = self.settle(Operation::Void, &request_id, &payment_id).await?;
        Ok(Response::new(VoidResponse { payment }))
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Result<Response<RefundResponse>, Status> {
        let RefundRequest { request_id, payment_id } = request.into_inner();
        let payment = self.settle(Operation::Refund, &request_id, &payment_id).await?;
        Ok(Response::new(RefundResponse { payment }))
    }

    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<GetPaymentResponse>, Status> {
        let payment_id = wire::payment_id(&request.into_inner().payment_id)?;
        let found = self.books.payment(payment_id).await.map_err(|error| errors::unreadable(&error))?;
        let payment = found.ok_or_else(|| errors::payment_unknown(payment_id))?;
        Ok(Response::new(GetPaymentResponse { payment: Some(wire::payment(payment)) }))
    }
}
