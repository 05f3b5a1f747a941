//! The handlers.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use phield::Phi;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::database::Listed;
use crate::model::Patient;
use crate::request::{Body, PatientId};
use crate::view::{self, View};
use crate::{ApiError, Service};

/// `{"ssn": "…"}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ssn {
    ssn: Phi<String>,
}

/// `{"phone": "…"}`, `{"phone": null}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Phone {
    phone: Option<Phi<String>>,
}

pub(crate) async fn create(
    State(service): State<Service>,
    Body(patient): Body<Patient>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    check_ssn(&patient.ssn)?;
    let sealed = patient.seal(&service.keyring)?;
    service.database.insert(&sealed).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": patient.id }))))
}

pub(crate) async fn search(
    State(service): State<Service>,
    Body(Ssn { ssn }): Body<Ssn>,
) -> Result<View, ApiError> {
    let found = service.database.find_by_ssn(&service.keyring, &ssn).await?;
    view::patients(&found)
}

pub(crate) async fn show(State(service): State<Service>, id: PatientId) -> Result<View, ApiError> {
    let found = service.database.fetch(&service.keyring, id.0).await?;
    view::patient(&found.ok_or(ApiError::NotFound)?)
}

pub(crate) async fn update_ssn(
    State(service): State<Service>,
    id: PatientId,
    Body(Ssn { ssn }): Body<Ssn>,
) -> Result<StatusCode, ApiError> {
    check_ssn(&ssn)?;
    let (ssn, ssn_index) = Patient::seal_ssn(&service.keyring, &id.0, &ssn)?;
    changed(service.database.update_ssn(id.0, ssn, ssn_index).await?)
}

pub(crate) async fn update_phone(
    State(service): State<Service>,
    id: PatientId,
    Body(Phone { phone }): Body<Phone>,
) -> Result<StatusCode, ApiError> {
    let phone = Patient::seal_phone(&service.keyring, &id.0, &phone)?;
    changed(service.database.update_phone(id.0, phone).await?)
}

pub(crate) async fn list(State(service): State<Service>) -> Result<Json<Vec<Listed>>, ApiError> {
    Ok(Json(service.database.list().await?))
}

fn changed(there: bool) -> Result<StatusCode, ApiError> {
    if there {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::NotFound)
    }
}

/// Nine digits, however they are grouped: what the index finds again. The answer names the field, never its value.
fn check_ssn(ssn: &Phi<String>) -> Result<(), ApiError> {
    let digits = ssn.expose().bytes().filter(u8::is_ascii_digit).count();
    let others = ssn
        .expose()
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.'));
    if digits == 9 && others {
        Ok(())
    } else {
        Err(ApiError::Invalid("ssn"))
    }
}
