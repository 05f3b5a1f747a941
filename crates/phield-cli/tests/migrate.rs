//! `phield migrate` and `phield unseal`, as a person runs them: the whole way with its refusals, and what Rails encrypted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![cfg(feature = "sqlx-sqlite")]

mod made;

use made::{Made, block_on, phield};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

/// A clinic with a ring, a schema file and a database of plaintext.
struct Clinic {
    made: Made,
}

impl Clinic {
    fn new() -> Self {
        let clinic = Self { made: Made::new() };
        let schema = include_str!("migrate/phield.schema.json");
        std::fs::write(clinic.made.path("phield.schema.json"), schema).unwrap();
        clinic.sql("CREATE TABLE patients (id INTEGER PRIMARY KEY, ssn TEXT, note TEXT)");
        clinic
    }

    fn url(&self) -> String {
        format!("sqlite:{}?mode=rwc", self.made.text("clinic.db"))
    }

    fn sql(&self, text: &str) {
        block_on(async {
            let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(text.to_owned()))
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        });
    }

    fn texts(&self, select: &str) -> Vec<String> {
        block_on(async {
            let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
            let select = sqlx::query_scalar(AssertSqlSafe(select.to_owned()));
            select.fetch_all(&mut connection).await.unwrap()
        })
    }

    /// What the verb says: its output or its error.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let (config, schema) = (
            self.made.text("phield.toml"),
            self.made.text("phield.schema.json"),
        );
        let url = self.url();
        let more = ["--config", &config, "--schema", &schema, "--database", &url];
        let output = phield(&[arguments, &more].concat());
        self.made.check_secrets(&output);
        // What was left is said, and the exit code is not that of a whole success.
        let is_partly = output.status.code() == Some(1) && output.stderr.is_empty();
        if output.status.success() || is_partly {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        assert_eq!(
            (output.status.code(), output.stdout.as_slice()),
            (Some(1), &b""[..])
        );
        Err(String::from_utf8(output.stderr).unwrap())
    }

    /// Without the time.
    fn good(&self, arguments: &[&str]) -> String {
        let text = self
            .run(arguments)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        match text.split_once(" since ") {
            Some((before, after)) => format!("{before} since TIME,{}", after.split_once(',').unwrap().1),
            None => text,
        }
    }

    fn bad(&self, arguments: &[&str]) -> String {
        self.run(arguments).unwrap_err()
    }
}

#[test]
fn the_whole_way_with_its_refusals() {
    let clinic = Clinic::new();
    clinic.sql("INSERT INTO patients (ssn) VALUES ('999-12-3456'), ('999-12-3457'), ('999-12-3458')");
    assert_eq!(
        clinic.good(&["migrate", "plan", "patients", "ssn", "--from", "ssn"]),
        "patients.ssn: 3 rows, 3 of them without a token; not begun\n\n\
         add runs\n  ALTER TABLE \"patients\" ADD COLUMN \"ssn_sealed\" BLOB;\n  ALTER TABLE \"patients\" ADD COLUMN \"ssn_index\" BLOB;\n  \
         CREATE INDEX \"patients_ssn_index\" ON \"patients\" (\"ssn_index\");\n\
         backfill seals the rows page by page\ncutover changes no row\n\
         drop runs\n  ALTER TABLE \"patients\" DROP COLUMN \"ssn\";\n"
    );
    assert_eq!(
        clinic.bad(&["migrate", "backfill", "patients", "ssn"]),
        "error: no migration of patients.ssn is declared in this database: `phield migrate add` comes first\n"
    );
    assert_eq!(
        clinic.bad(&["migrate", "add", "patients", "ssn", "--from", "social"]),
        "error: table patients has no column social in SQL: name the column that holds the plaintext now (--from), or \
         make the one that is to get it (--into). Nothing was changed\n"
    );
    assert_eq!(
        clinic.good(&[
            "migrate", "add", "patients", "ssn", "--from", "ssn", "--who", "anna"
        ]),
        "patients.ssn from ssn (plaintext): at step add since TIME, by anna\n0 rows sealed\n\
         Next: let every process that writes the column write both and read through MixedTime; then `phield migrate backfill`\n"
    );
    assert_eq!(
        clinic.bad(&["migrate", "cutover", "patients", "ssn", "--dual-writes-on"]),
        "error: the migration is at step `add`, so this is not the next one: `phield migrate backfill` comes first, until 0 rows \
         are left\n"
    );
    assert_eq!(
        clinic.good(&["migrate", "backfill", "patients", "ssn", "--who", "anna"]),
        "patients.ssn from ssn (plaintext): at step backfill since TIME, by anna\n3 rows sealed, 0 left\n\
         Next: when no process of the old version runs any more, `phield migrate cutover --dual-writes-on`\n"
    );
    cut_over(&clinic);
    drop_it(&clinic);
}

fn cut_over(clinic: &Clinic) {
    assert_eq!(
        clinic.bad(&["migrate", "cutover", "patients", "ssn"]),
        "error: the cutover is for the time when every process that writes this column writes the token too. When no process of \
         the old version runs any more, say --dual-writes-on\n"
    );
    clinic.sql("UPDATE patients SET ssn = '999-00-0000' WHERE id = 1; INSERT INTO patients (ssn) VALUES ('999-00-0001')");
    assert_eq!(
        clinic.bad(&["migrate", "cutover", "patients", "ssn", "--dual-writes-on"]),
        "error: patients.ssn is not ready; nothing was changed:\n  \
         1 rows have plaintext and no token: run `phield migrate backfill`; those in its quarantine need repair first\n  \
         1 rows have a token that holds something else than the plaintext beside it: some process writes the plaintext alone, or \
         somebody changed it. Plaintext is not authenticated, the token is: look at these rows (`phield rotate quarantine`). \
         Where the plaintext is right, `phield migrate backfill --plaintext-wins ROWS` replaces so many tokens\n"
    );
    assert_eq!(
        clinic.bad(&["migrate", "backfill", "patients", "ssn", "--plaintext-wins", "2"]),
        "error: 1 tokens would be replaced, not 2; nothing was written. Plaintext is not authenticated: whoever writes to the \
         database can have changed it. Look at these rows (`phield rotate quarantine`); if the plaintext is right in all of them, say \
         --plaintext-wins 1\n"
    );
    clinic.good(&["migrate", "backfill", "patients", "ssn", "--plaintext-wins", "1"]);
    assert_eq!(
        clinic.good(&[
            "migrate",
            "cutover",
            "patients",
            "ssn",
            "--dual-writes-on",
            "--who",
            "anna"
        ]),
        "patients.ssn from ssn (plaintext): at step cutover since TIME, by anna\n5 rows sealed, 0 left\n\
         Next: take MixedTime out of the application; then `phield migrate drop`, or `phield migrate revert` to go back\n"
    );
    let status: Value = serde_json::from_str(&clinic.run(&["migrate", "status", "--json"]).unwrap()).unwrap();
    let migration = &status["migrations"][0];
    assert_eq!(
        (&migration["step"], &migration["who"], &migration["left"]),
        (&"cutover".into(), &"anna".into(), &0.into())
    );
}

fn drop_it(clinic: &Clinic) {
    assert_eq!(
        clinic.bad(&["migrate", "drop", "patients", "ssn"]),
        "error: nothing was done. If it is true and wanted, run it again with --acknowledge \"backups still hold the plaintext of \
         patients.ssn\"\n"
    );
    let drop = [
        "migrate",
        "drop",
        "patients",
        "ssn",
        "--acknowledge",
        "backups still hold the plaintext of patients.ssn",
    ];
    let refused = clinic.bad(&drop);
    assert!(refused.contains("run the same command again then"), "{refused}");
    clinic.sql("UPDATE phield_migration SET since = since - 61");
    assert_eq!(
        clinic.good(&[&drop[..], &["--who", "anna"]].concat()),
        "patients.ssn from ssn (plaintext): at step drop since TIME, by anna\n5 rows sealed, 0 left\n\
         Next: nothing: the plaintext is gone. Backups of before still hold it\n"
    );
    let columns = clinic.texts("SELECT name FROM pragma_table_info('patients')");
    assert_eq!(columns, ["id", "note", "ssn_sealed", "ssn_index"]);
    // Out again.
    clinic.sql("ALTER TABLE patients ADD COLUMN ssn TEXT");
    let unseal = ["unseal", "patients", "ssn", "--into", "ssn"];
    assert_eq!(
        clinic.bad(&unseal),
        "error: nothing was done. If it is true and wanted, run it again with --acknowledge \"write the plaintext of patients.ssn into \
         the column ssn of the database\"\n"
    );
    assert_eq!(
        clinic.good(
            &[
                &unseal[..],
                &[
                    "--acknowledge",
                    "write the plaintext of patients.ssn into the column ssn of the database"
                ]
            ]
            .concat()
        ),
        "patients.ssn: 4 rows with a token; the plaintext of 4 was written, the others had it.\n"
    );
    assert_eq!(
        clinic.texts("SELECT ssn FROM patients ORDER BY id"),
        ["999-00-0000", "999-12-3457", "999-12-3458", "999-00-0001"]
    );
}

/// Rows of a real Rails application, sealed; a message that no key opens goes to the quarantine.
#[test]
fn from_rails() {
    let clinic = Clinic::new();
    let fixtures: Value =
        serde_json::from_str(include_str!("../../phield-import/tests/rails/fixtures.json")).unwrap();
    let cases = fixtures["cases"].as_array().unwrap().iter();
    let cases: Vec<_> = cases
        .filter(|case| case["binary"].is_null() && case["secret"] != "key-of-one-attribute-alone")
        .collect();
    for case in &cases {
        let message = case["message"].as_str().unwrap();
        clinic.sql(&format!("INSERT INTO patients (note) VALUES ('{message}')"));
    }
    clinic.sql("INSERT INTO patients (id, note) VALUES (100, 'plaintext that Rails let stand'), (101, NULL)");
    let credentials = clinic.made.text("rails.toml");
    let salt = fixtures["key_derivation_salt"].as_str().unwrap();
    let text = format!(
        "primary_key = ['first-primary-key-of-the-fixtures', 'second-primary-key-of-the-fixture']\n\
         deterministic_key = 'deterministic-key-of-the-fixtures'\nkey_derivation_salt = '{salt}'\n"
    );
    std::fs::write(&credentials, text).unwrap();
    let rails = ["--rails", &credentials, "--who", "anna"];
    let verb = |arguments: &[&str]| clinic.good(&[arguments, &rails].concat());
    verb(&["migrate", "add", "patients", "note", "--from", "note"]);
    assert_eq!(
        verb(&["migrate", "backfill", "patients", "note"]),
        format!(
            "patients.note from note (rails): at step add since TIME, by anna\n{} rows sealed, 1 left\n\
             Next: the rows that are left are in the quarantine (`phield rotate quarantine`): repair them, then backfill again\n",
            cases.len()
        )
    );
    clinic.sql("DELETE FROM patients WHERE id = 100");
    verb(&["migrate", "backfill", "patients", "note"]);
    assert!(
        clinic
            .bad(&["migrate", "cutover", "patients", "note", "--dual-writes-on"])
            .contains("(rails) is under way")
    );
    verb(&["migrate", "cutover", "patients", "note", "--dual-writes-on"]);
    clinic.sql("ALTER TABLE patients ADD COLUMN note_plain TEXT");
    let known = "write the plaintext of patients.note into the column note_plain of the database";
    verb(&[
        "unseal",
        "patients",
        "note",
        "--into",
        "note_plain",
        "--acknowledge",
        known,
    ]);
    let unsealed =
        clinic.texts("SELECT lower(hex(note_plain)) FROM patients WHERE note_plain IS NOT NULL ORDER BY id");
    let values: Vec<_> = cases
        .iter()
        .map(|case| case["value_hex"].as_str().unwrap())
        .collect();
    assert_eq!(unsealed, values);
    let refused = clinic.bad(&[
        "unseal",
        "patients",
        "note",
        "--into",
        "note",
        "--acknowledge",
        "write the plaintext of patients.note into the column note of the database",
    ]);
    assert!(refused.contains("another library's ciphertext"), "{refused}");
}
