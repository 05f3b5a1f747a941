//! Coverage reports under the MAC of the ring key (decision 0008).

use crate::coverage::{CoverageReport, SignedCoverage};
use crate::error::RingError;
use crate::key::RingKey;
use crate::record::{KeyState, KeyUse};
use crate::ring::{Ring, VerifiedRing};
use crate::settings::RingSettings;

impl VerifiedRing {
    /// Puts the MAC of the ring key on a coverage report of this ring.
    ///
    /// # Errors
    /// [`RingError::Authentication`] for a report of another ring or application.
    pub fn sign_coverage(&self, report: CoverageReport) -> Result<SignedCoverage, RingError> {
        self.check_place(&report)?;
        SignedCoverage::sign(report, (self.ring_key.key_id(), self.ring_key.key()))
    }

    /// What an authentic report says.
    pub(super) async fn verify_coverage<'s>(
        &self,
        settings: &RingSettings,
        signed: &'s SignedCoverage,
    ) -> Result<&'s CoverageReport, RingError> {
        let id = signed.ring_key();
        let is_authentic = if id == self.ring_key.key_id() {
            signed.authenticates((id, self.ring_key.key()))
        } else {
            // The ring key was replaced since. Somebody else may have a compromised one.
            let record = self.manifest.record(id).ok_or(RingError::Authentication)?;
            if record.context.key_use != KeyUse::Ring {
                return Err(RingError::Authentication);
            }
            if !matches!(record.state, KeyState::Active | KeyState::DecryptOnly) {
                return Err(RingError::KeyState(id));
            }
            let key = settings.unwrap(record).await?;
            signed.authenticates((id, &RingKey::new(key.expose_bytes())))
        };
        if !is_authentic {
            return Err(RingError::Authentication);
        }
        self.check_place(signed.report()).map(|()| signed.report())
    }

    fn check_place(&self, report: &CoverageReport) -> Result<(), RingError> {
        let is_here = report.ring == self.manifest.ring.as_str() && report.app == self.manifest.app.as_str();
        is_here.then_some(()).ok_or(RingError::Authentication)
    }
}

impl Ring {
    /// What a coverage report says, once its MAC is verified: by the pinned ring key, or by one before it that is still in
    /// the ring.
    ///
    /// # Errors
    /// [`RingError::Authentication`] for a report of another ring, or one that was changed; [`RingError::KeyState`] when
    /// its ring key is compromised or destroyed: make a new report; see [`RingError`].
    pub async fn verify_coverage<'s>(
        &self,
        signed: &'s SignedCoverage,
    ) -> Result<&'s CoverageReport, RingError> {
        self.load().await?.verify_coverage(&self.settings, signed).await
    }
}
