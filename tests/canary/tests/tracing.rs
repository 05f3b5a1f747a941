//! What a subscriber of `tracing` is given of a patient: everything at TRACE, as text and as JSON.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io;
use std::sync::{Arc, Mutex};

use phield::sqlx::{Error, insert};
use phield::{AppName, Keyring, Phi, SealError, Sealed, Surrogate};
use phield_canary::database::SQLITE;
use phield_canary::model::{Patient, SealedPatient};
use phield_canary::{Markers, Search};
use sqlx::{Connection as _, SqliteConnection};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use uuid::Uuid;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// What is logged meanwhile, as text and then as JSON.
    fn of(run: impl Fn()) -> String {
        let (text, json) = (Self::default(), Self::default());
        let subscriber = || {
            tracing_subscriber::fmt()
                .with_max_level(LevelFilter::TRACE)
                .with_span_events(FmtSpan::FULL)
        };
        tracing::subscriber::with_default(
            subscriber().with_ansi(false).with_writer(text.clone()).finish(),
            &run,
        );
        tracing::subscriber::with_default(subscriber().json().with_writer(json.clone()).finish(), &run);
        let both = [text.0.lock().unwrap().clone(), json.0.lock().unwrap().clone()];
        String::from_utf8(both.concat()).unwrap()
    }
}

/// Arguments, result and error become fields.
#[tracing::instrument(level = "trace", ret, err(Debug))]
fn sealed(keyring: &Keyring, patient: &Patient, ssn: Phi<String>) -> Result<SealedPatient, SealError> {
    patient.seal(keyring)
}

#[tracing::instrument(level = "trace", ret, err)]
fn opened(keyring: &Keyring, row: SealedPatient) -> Result<Patient, Error> {
    Ok(row.open(keyring)?)
}

fn everything(keyring: &Keyring, patient: &Patient, refused: &Error) {
    let row = sealed(keyring, patient, patient.ssn.clone()).unwrap();
    let _ = opened(keyring, row.clone()).unwrap();
    let _ = opened(
        keyring,
        SealedPatient {
            id: Uuid::nil(),
            ..row.clone()
        },
    )
    .unwrap_err();
    tracing::trace!(?patient.ssn, ?patient.email, ?patient.note, ?patient.document, ?patient.licence, "fields");
    tracing::debug!(?patient, pretty = format!("{patient:#?}"), list = ?vec![Some(patient.clone())], "models");
    tracing::info!(?row, ?row.ssn, ?row.note, ?row.ssn_index, ?row.name_email_index, "columns");
    let query = Patient::ssn_index(keyring, &patient.ssn).unwrap();
    let column = Sealed::<String>::from_bytes(row.ssn.as_bytes().to_vec());
    tracing::warn!(?query, ?column, surrogate = ?Phi::new(Surrogate::random().unwrap()), "others");
    let not_sealed = sealed(
        &Keyring::ephemeral(AppName::from_static("other")).unwrap(),
        patient,
        Phi::from("x"),
    );
    tracing::error!(?not_sealed, %refused, ?refused, value = refused as &(dyn std::error::Error + 'static), "errors");
    let _span = tracing::error_span!("span", ?patient.name, row = ?row.name).entered();
    tracing::error!(
        "{:?} {patient:?} {row:?} {refused} {refused:?} {refused:#?}",
        patient.ssn
    );
}

#[tokio::test]
async fn nothing_is_found_in_fields_and_messages() {
    let markers = Markers::random();
    let (keyring, patient) = (
        Keyring::ephemeral(AppName::from_static("emr")).unwrap(),
        Patient::new(&markers),
    );
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::query(SQLITE).execute(&mut db).await.unwrap();
    let row = patient.seal_async(&keyring).await.unwrap();
    insert(&mut db, &row).await.unwrap();
    let refused = insert(&mut db, &row).await.unwrap_err();

    let log = Log::of(|| everything(&keyring, &patient, &refused));
    let (whole, pieces) = (Search::whole(&markers), Search::pieces(&markers));
    assert_eq!(whole.bytes("the log", log.as_bytes()), Vec::<String>::new());
    assert_eq!(pieces.bytes("the log", log.as_bytes()), Vec::<String>::new());
    for redacted in [
        "patient.ssn=Phi(..)",
        "\"patient.ssn\":\"Phi(..)\"",
        "Sealed(key ",
        "BlindIndex(key ",
        "name: Phi(..)",
    ] {
        assert!(log.contains(redacted), "{redacted} is missing in {log}");
    }
}

#[test]
fn control_an_exposed_value_is_found() {
    let markers = Markers::random();
    let patient = Patient::new(&markers);
    let log =
        Log::of(|| tracing::trace!(ssn = %patient.ssn.expose(), name = ?patient.name.expose(), "a mistake"));
    let found = Search::as_written(&markers).bytes("the log", log.as_bytes());
    assert_eq!(found.len(), 4, "ssn and name, as text and as JSON");
}
