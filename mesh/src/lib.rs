//! Calling and serving well over gRPC.
//!
//! A service gives its routes and its work; this crate gives what every service of a mesh needs besides: deadlines
//! that are carried along and told as such ([`deadline`]), bounded retries and calls that fall back from one instance or
//! version to the next ([`outbound`]), limits, health, reflection and drain ([`inbound`]), descriptions and caret ranges
//! ([`version`]), what a request has seen ([`causal`]), files whose value is kept up to date ([`mod@file`]), one trace through
//! all of it ([`trace`], [`telemetry`]), and the frame of a process ([`process`]). It knows nothing of any service. Clock,
//! randomness, listener, connector and resolver are passed in ([`environment`]), so that a simulated network can take
//! their place.

pub mod causal;
pub mod deadline;
pub mod environment;
pub mod errors;
pub mod file;
mod http2;
pub mod inbound;
pub mod outbound;
pub mod process;
pub mod proto;
mod rpc;
mod sampling;
pub mod seen;
pub mod telemetry;
pub mod trace;
pub mod version;
