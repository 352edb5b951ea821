//! Requests of copies.

use gameshelf::fields::Fields;
use gameshelf::ids::{CopyName, check_text};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::tokens::Token;
use tonic::Status;

use super::parts::parse;

/// The most bytes of a version.
const VERSION_MAX_BYTES: usize = 64;

/// A report as it came in.
#[derive(Debug)]
pub(in super::super) struct ReportedCopy {
    pub(in super::super) name: CopyName,
    pub(in super::super) version: String,
    /// None while the copy has no state.
    pub(in super::super) token: Option<Token>,
    pub(in super::super) digest_state: wire::DigestState,
    pub(in super::super) repaired_partitions: u64,
}

pub(in super::super) fn report_copy(request: &wire::ReportCopyRequest) -> Result<ReportedCopy, Status> {
    let mut fields = Fields::new();
    let name = parse(&mut fields, "name", &request.name);
    let version = fields.take("version", check_text(&request.version, VERSION_MAX_BYTES));
    let token = match request.token.as_str() {
        "" => Some(None),
        token => parse(&mut fields, "token", token).map(Some),
    };
    let digest_state = wire::DigestState::try_from(request.digest_state).ok();
    if digest_state.is_none() {
        fields.wrong("digest_state", "must be a known value");
    }
    let report = (|| {
        version?;
        Some(ReportedCopy {
            name: name?,
            version: request.version.clone(),
            token: token?,
            digest_state: digest_state?,
            repaired_partitions: request.repaired_partitions,
        })
    })();
    fields.finish(report)
}
