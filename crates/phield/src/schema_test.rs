//! What `schema_test!` does.

use std::fs;
use std::io;
use std::path::Path;

use phield_core::{Schema, SchemaFile};

/// The variable that makes the test write the file.
const UPDATE: &str = "PHIELD_UPDATE_SCHEMA";

/// Compares the file with the models, or writes it.
///
/// # Errors
/// What the test fails with.
pub fn schema_test(folder: &str, file: &str, models: &[Schema]) -> Result<(), String> {
    let models = SchemaFile::of(models).map_err(|error| format!("the models do not go together: {error}"))?;
    let path = Path::new(folder).join(file);
    if std::env::var_os(UPDATE).is_some_and(|value| value == "1") {
        return fs::write(&path, models.to_json())
            .map_err(|error| format!("cannot write {}: {error}", path.display()));
    }
    let update = format!("run the test with {UPDATE}=1, and commit the file");
    let json = match fs::read_to_string(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("{} is not there: {update}.", path.display()));
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let written = SchemaFile::from_json(&json)
        .map_err(|error| format!("{}: {error}\nTo write it anew, {update}.", path.display()))?;
    let differences = written.differences(&models);
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} is not what the models say (file -> models):\n  {}\nIf the models are right, {update}.",
        path.display(),
        differences.join("\n  ")
    ))
}
