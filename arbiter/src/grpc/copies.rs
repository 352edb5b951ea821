//! What copies tell of themselves, and what is told of them.

use std::time::Duration;

use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::copy::TrimRisk as WireTrimRisk;
use tonic::Status;

use super::core::Core;
use super::requests::{Asked, ReportedCopy};
use super::{errors, responses};
use crate::copies::{Listed, Report, TrimRisk};
use crate::domain::Revision;

impl Core {
    pub(super) fn report_copy(&self, reported: ReportedCopy) -> Result<wire::ReportCopyResponse, Status> {
        let ReportedCopy { name, version, token, digest_state, repaired_partitions } = reported;
        if let Some(token) = token {
            self.check_token(token, self.hub.head())?;
        }
        let revision = token.map_or(0, |token| token.revision);
        let report =
            Report { name, version, revision, digest_state: digest_state.into(), repaired_partitions };
        self.copies.report(report).map_err(errors::too_many_copies)?;
        let again = Duration::from_millis(self.copies.limits().interval_ms);
        Ok(wire::ReportCopyResponse {
            provenance: Some(self.provenance(self.cache.head(), Asked::Any)?),
            report_again_after: Some(duration(again)),
        })
    }

    pub(super) async fn list_copies(&self) -> Result<wire::ListCopiesResponse, Status> {
        let head = self.hub.head();
        let oldest_resumable_revision = self.hub.mark();
        let mut listed = self.copies.list(head, oldest_resumable_revision);
        for one in listed.iter_mut().filter(|one| one.behind.is_none()) {
            one.behind = self.behind_by_log(one.row.revision).await?;
        }
        Ok(wire::ListCopiesResponse {
            copies: listed.into_iter().map(copy).collect(),
            provenance: Some(self.provenance(head, Asked::Any)?),
            oldest_resumable_revision,
        })
    }

    /// How long ago the commit after a revision was decided, where the log still has it.
    async fn behind_by_log(&self, revision: Revision) -> Result<Option<Duration>, Status> {
        let commits = self.store.log(revision, 1).await.map_err(|error| errors::store(&error))?;
        let next = commits.first().filter(|commit| commit.revision == revision + 1);
        let now_ms = self.copies.now_ms();
        Ok(next.map(|commit| Duration::from_millis(now_ms.saturating_sub(commit.committed_at_ms))))
    }
}

fn copy(listed: Listed) -> wire::Copy {
    let Listed { row, revisions_behind, behind, unseen, connected, trim_risk } = listed;
    let trim_risk = match trim_risk {
        TrimRisk::None => WireTrimRisk::None,
        TrimRisk::Soon => WireTrimRisk::Soon,
        TrimRisk::CutOff => WireTrimRisk::CutOff,
    };
    wire::Copy {
        name: row.name.to_string(),
        version: row.version,
        revision: row.revision,
        revisions_behind,
        behind: behind.map(duration),
        digest_state: row.digest_state,
        repaired_partitions: row.repaired_partitions,
        last_seen_time: Some(responses::timestamp(row.last_seen_ms)),
        unseen: Some(duration(unseen)),
        connected,
        trim_risk: trim_risk.into(),
    }
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or_default()
}
