//! The one place where values leave the service in the clear: search the code for `disclose`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use phield::{
    Disclosed, Disclosure, DisclosureEvent, DisclosureRecorder, DisclosureRefused, DisclosureView, Purpose,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{ApiError, Patient};

/// An answer with patients in the clear, for somebody who may see them.
#[derive(Debug)]
pub struct View(Response);

impl IntoResponse for View {
    fn into_response(self) -> Response {
        self.0
    }
}

/// What was disclosed for what, in the log. An audit trail of its own would be a recorder, too, and one that knows who asks.
struct Log;

impl DisclosureRecorder for Log {
    fn record(&self, event: &DisclosureEvent<'_>) -> Result<(), DisclosureRefused> {
        // What the log leaves out is not recorded.
        if !tracing::enabled!(tracing::Level::INFO) {
            return Err(DisclosureRefused::NotRecorded);
        }
        tracing::info!(purpose = %event.purpose, columns = ?event.columns, "disclosed");
        Ok(())
    }
}

/// One patient.
///
/// # Errors
/// When the disclosure is refused.
pub fn patient(patient: &Patient) -> Result<View, ApiError> {
    let shown = treatment().view(|view| Shown::of(patient, view))?;
    Ok(View(Json(shown).into_response()))
}

/// A list of patients.
///
/// # Errors
/// When the disclosure is refused.
pub fn patients(patients: &[Patient]) -> Result<View, ApiError> {
    let shown = treatment().view(|view| {
        let shown = patients.iter().map(|patient| Shown::of(patient, view));
        shown.collect::<Vec<_>>()
    })?;
    Ok(View(Json(shown).into_response()))
}

fn treatment() -> Disclosure<'static> {
    Disclosure::new(Purpose::TREATMENT, &Log)
}

/// What a user of the service sees of a patient. Borrowed: no copy of a value is made but the answer itself.
#[derive(Serialize)]
struct Shown<'a> {
    id: Uuid,
    name: Disclosed<'a, String>,
    ssn: Disclosed<'a, String>,
    phone: Option<Disclosed<'a, String>>,
    clinic: i64,
}

impl<'a> Shown<'a> {
    fn of(patient: &'a Patient, view: &DisclosureView) -> Self {
        Self {
            id: patient.id,
            name: view.disclose(&Patient::NAME, &patient.name),
            ssn: view.disclose(&Patient::SSN, &patient.ssn),
            phone: view.disclose_optional(&Patient::PHONE, patient.phone.as_ref()),
            clinic: patient.clinic,
        }
    }
}
