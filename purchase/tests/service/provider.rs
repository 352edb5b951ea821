//! A payment provider that keeps its books in memory and fails on demand. It declines tokens that begin with `decline`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use gameshelf::errors::{ErrorBuilder, Reason};
use gameshelf::proto::payment::v1::payment_service_server::{PaymentService, PaymentServiceServer};
use gameshelf::proto::payment::v1::{
    AuthorizeRequest, AuthorizeResponse, CaptureRequest, CaptureResponse, GetPaymentRequest,
    GetPaymentResponse, Payment, RefundRequest, RefundResponse, State, VoidRequest, VoidResponse,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::faults::Script;

#[derive(Clone, Debug)]
pub(crate) struct Provider {
    script: Script,
    payments: Arc<Mutex<HashMap<String, Payment>>>,
}

impl Provider {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, payments: Arc::default() }
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(PaymentServiceServer::new(self.clone()))
    }

    /// How many payments are in a state.
    pub(crate) fn count(&self, state: State) -> usize {
        self.payments.lock().unwrap().values().filter(|payment| payment.state() == state).count()
    }

    fn change(&self, payment_id: &str, from: State, to: State) -> Result<Option<Payment>, Status> {
        let mut payments = self.payments.lock().unwrap();
        let payment = payments.get_mut(payment_id).ok_or_else(|| Status::not_found("no such payment"))?;
        if payment.state() != from && payment.state() != to {
            return Err(ErrorBuilder::new(Reason::PaymentState, "another state").build());
        }
        payment.set_state(to);
        Ok(Some(payment.clone()))
    }
}

#[tonic::async_trait]
impl PaymentService for Provider {
    async fn authorize(
        &self,
        request: Request<AuthorizeRequest>,
    ) -> Result<Response<AuthorizeResponse>, Status> {
        let fault = self.script.begin("authorize", &request.get_ref().payment_id, &request).await?;
        let request = request.into_inner();
        let declined = request.payment_token.starts_with("decline");
        let state = if declined { State::Declined } else { State::Authorized };
        let payment = Payment {
            payment_id: request.payment_id.clone(),
            state: state.into(),
            amount: request.amount,
            order_id: request.order_id,
            ..Payment::default()
        };
        let payment = self.payments.lock().unwrap().entry(request.payment_id).or_insert(payment).clone();
        Script::end(fault).await?;
        Ok(Response::new(AuthorizeResponse { payment: Some(payment) }))
    }

    async fn capture(&self, request: Request<CaptureRequest>) -> Result<Response<CaptureResponse>, Status> {
        let fault = self.script.begin("capture", &request.get_ref().request_id, &request).await?;
        let payment = self.change(&request.get_ref().payment_id, State::Authorized, State::Captured)?;
        Script::end(fault).await?;
        Ok(Response::new(CaptureResponse { payment }))
    }

    async fn void(&self, request: Request<VoidRequest>) -> Result<Response<VoidResponse>, Status> {
        let fault = self.script.begin("void", &request.get_ref().request_id, &request).await?;
        let payment = self.change(&request.get_ref().payment_id, State::Authorized, State::Voided)?;
        Script::end(fault).await?;
        Ok(Response::new(VoidResponse { payment }))
    }

    async fn refund(&self, _: Request<RefundRequest>) -> Result<Response<RefundResponse>, Status> {
        Err(Status::unimplemented("the purchase service never calls this"))
    }

    async fn get_payment(
        &self,
        _: Request<GetPaymentRequest>,
    ) -> Result<Response<GetPaymentResponse>, Status> {
        Err(Status::unimplemented("the purchase service never calls this"))
    }
}
