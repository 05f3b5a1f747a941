//! A small clinic whose keys are rotated.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test program uses its part"
)]

use std::process::{Command, Output};

use phield::{EncryptedPhi, Phi, SchemaFile};
use serde_json::Value;
use sqlx::{Pool, Sqlite};

use crate::made::{self, Made};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
pub struct Patient {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<String>,
    note: Option<Phi<String>>,
}

/// A ring, and the rows of a table in an SQLite file.
pub struct World {
    pub made: Made,
    pub pool: Pool<Sqlite>,
}

impl World {
    pub async fn new(rows: i64) -> Self {
        let made = Made::new();
        std::fs::write(
            made.path("schema.json"),
            SchemaFile::of(&[Patient::SCHEMA]).unwrap().to_json(),
        )
        .unwrap();
        let pool = Pool::connect(&format!("sqlite:{}?mode=rwc", made.text("rows.db")))
            .await
            .unwrap();
        let table = "CREATE TABLE patients (id INTEGER PRIMARY KEY, ssn BLOB NOT NULL, ssn_index BLOB NOT NULL, note BLOB)";
        sqlx::query(table).execute(&pool).await.unwrap();
        let keyring = phield::load(made.path("phield.toml")).await.unwrap();
        let patients: Vec<_> = (1..=rows)
            .map(|id| Patient {
                id,
                ssn: Phi::new(format!("{id:09}")),
                note: (id % 2 == 0).then(|| "a note".into()),
            })
            .collect();
        let sealed = Patient::seal_batch(&patients, &keyring).unwrap();
        phield::sqlx::insert_batch(&mut *pool.acquire().await.unwrap(), sealed)
            .await
            .unwrap();
        Self { made, pool }
    }

    pub fn run(&self, verbs: &[&str]) -> Output {
        self.command(verbs).output().unwrap()
    }

    pub fn command(&self, verbs: &[&str]) -> Command {
        let (config, schema) = (self.made.text("phield.toml"), self.made.text("schema.json"));
        let database = format!("sqlite:{}", self.made.text("rows.db"));
        let places = ["--config", &config, "--schema", &schema, "--database", &database];
        made::command(&[verbs, &places].concat())
    }

    /// The exit code, and what was printed.
    pub fn said(&self, verbs: &[&str]) -> (i32, String) {
        let output = self.run(verbs);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    pub fn json(&self, verbs: &[&str]) -> Value {
        let output = self.run(&[verbs, &["--json"]].concat());
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// How many rows open, and are what they were.
    pub async fn open(&self) -> usize {
        let keyring = phield::load(self.made.path("phield.toml")).await.unwrap();
        let rows: Vec<SealedPatient> = sqlx::query_as("SELECT * FROM patients")
            .fetch_all(&self.pool)
            .await
            .unwrap();
        let opened = SealedPatient::open_batch(rows, &keyring).unwrap();
        opened
            .iter()
            .filter(|row| row.ssn.expose() == &format!("{:09}", row.id))
            .count()
    }
}
