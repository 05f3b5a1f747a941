//! Forgetting the keys of subjects, or the subject, does not compile.
use phield::{EncryptedPhi, Keyring, OfSubject, Phi, SubjectKeyring};

#[derive(EncryptedPhi)]
#[phi(table = "visits", subject_keys)]
struct Visit {
    #[phi(row_id)]
    id: i64,
    #[phi(subject)]
    patient_id: i64,
    #[phi(index)]
    note: Phi<String>,
}

fn seal(visit: &Visit, keyring: &Keyring) {
    let _ = visit.seal(keyring);
}

fn open(visit: SealedVisit, keyring: &Keyring) {
    let _ = visit.open(keyring);
}

async fn find(db: &sqlx::SqlitePool, keyring: &Keyring) {
    let _ = Visit::find_by_note(db, keyring, "cough").await;
}

fn update_by_row_id(keys: &SubjectKeyring<'_>, note: &Phi<String>) {
    let _ = Visit::seal_note(keys, &1, note);
}

fn open_of_subject(keys: &SubjectKeyring<'_>, visit: &SealedVisit) {
    let _ = Visit::NOTE.open(keys, &OfSubject { row: 1, subject: 2 }, &visit.note);
}

// Index values do not depend on the keys of subjects.
fn query(keyring: &Keyring) {
    let _ = Visit::note_index(keyring, "cough");
}

fn main() {}
