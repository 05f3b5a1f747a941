//! Whole nights of the person on call, word by word: `tests/transcripts/*.txt`. With `PHIELD_UPDATE=1` the files are written anew.
#![cfg(feature = "sqlx-sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod made;
mod world;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use made::anonymous;
use world::World;

/// What was typed and what was answered, with names for what is another in every run.
struct Night {
    world: World,
    names: Vec<(String, String)>,
    text: String,
}

impl Night {
    async fn new(rows: i64) -> Self {
        let world = World::new(rows).await;
        let folder = world.made.text("x");
        let folder = folder.strip_suffix("/x").unwrap().to_owned();
        let mut night = Self {
            world,
            names: vec![(folder, "FOLDER".to_owned())],
            text: String::new(),
        };
        night.name_keys();
        night
    }

    /// Keys get the names of their uses, in the order of their coming: of those that come at once, the active one is the first.
    fn name_keys(&mut self) {
        let list = self.world.made.list();
        let mut keys: Vec<_> = list["keys"].as_array().unwrap().iter().collect();
        keys.sort_by_key(|key| key["state"] != "active");
        for key in keys {
            let id = key["id"].as_str().unwrap();
            if self.names.iter().all(|(known, _)| known != id) {
                let key_use = key["use"].as_str().unwrap();
                let is_of_use = |(_, name): &&(String, String)| name.starts_with(&format!("{key_use}-"));
                let number = self.names.iter().filter(is_of_use).count() + 1;
                self.names.push((id.to_owned(), format!("{key_use}-{number}")));
            }
        }
    }

    async fn sql(&self, statements: &[&'static str]) {
        for statement in statements {
            sqlx::query(*statement).execute(&self.world.pool).await.unwrap();
        }
    }

    /// A comment.
    fn note(&mut self, note: &str) {
        let _ = writeln!(self.text, "# {note}\n");
    }

    /// Types a command.
    fn types(&mut self, command: &str) {
        let typed = self.arguments(command);
        let typed: Vec<_> = typed.iter().map(String::as_str).collect();
        let (code, said) = match typed.first() {
            Some(&"keys") => ended(self.world.made.verb(&typed)),
            _ => self.world.said(&typed),
        };
        self.answered(command, (code, &said));
    }

    /// Types a command that works slowly.
    fn begins(&self, command: &str) -> Child {
        let typed = self.arguments(command);
        let typed: Vec<_> = typed.iter().map(String::as_str).collect();
        let mut command = self.world.command(&typed);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Once so many rows of a table are done.
    async fn rows_are_done(&self, rows: i64) {
        let select = "SELECT sum(row_count) FROM phield_rotation_share";
        let done = async || {
            let found = sqlx::query_scalar::<_, Option<i64>>(select);
            found.fetch_one(&self.world.pool).await.ok().flatten()
        };
        while done().await.unwrap_or(0) < rows {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn arguments(&self, command: &str) -> Vec<String> {
        // What is in quotes is one argument; nothing else of a shell is needed.
        let mut arguments = Vec::new();
        for (i, part) in command.split('"').enumerate() {
            match i % 2 {
                0 => arguments.extend(part.split_whitespace().map(str::to_owned)),
                _ => arguments.push(part.to_owned()),
            }
        }
        let named = |mut argument: String| {
            for (id, name) in &self.names {
                argument = argument.replace(name, id);
            }
            argument
        };
        arguments.into_iter().map(named).collect()
    }

    fn answered(&mut self, command: &str, (code, said): (i32, &str)) {
        self.name_keys();
        let names = self.names.iter();
        let names: Vec<_> = names.map(|(id, name)| (id.as_str(), name.as_str())).collect();
        let said = without_ids(&anonymous(said, &names));
        let ended = match code {
            0 => String::new(),
            code => format!("(exit code {code})\n"),
        };
        let _ = writeln!(self.text, "$ phield {command}\n{said}{ended}");
    }

    fn is(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/transcripts/{name}.txt"));
        if std::env::var_os("PHIELD_UPDATE").is_some() {
            std::fs::write(&path, &self.text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            expected == self.text,
            "{name}.txt is another (PHIELD_UPDATE=1 writes it anew):\n{}",
            self.text
        );
    }
}

/// The exit code, and what was printed.
fn ended(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// Ids of rotations are `ROTATION`.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let words: Vec<_> = text
        .split(' ')
        .map(|word| if is_id(word) { "ROTATION" } else { word })
        .collect();
    words.join(" ")
}

#[tokio::test]
async fn data() {
    let mut night = Night::new(25).await;
    night.note("The data key is old. What would a rotation do?");
    night.types("rotate status");
    night.types("rotate plan data");
    night.types("rotate run data --replace-key");
    night.note("Every instance was restarted.");
    night.types("rotate run data --replace-key --acknowledged-by-every-instance --who \"night shift\" --report FOLDER/report.json");
    night.types("rotate status");
    night.types("rotate run data --replace-key --acknowledged-by-every-instance");
    night.types("rotate verify --who \"night shift\"");
    night.types("rotate plan data");
    night.types("keys destroy data-1 --report FOLDER/report.json --backups-acknowledged");
    night.is("data");
}

#[tokio::test]
async fn pepper() {
    let mut night = Night::new(25).await;
    night.types("rotate plan pepper");
    let run = "rotate run pepper --replace-key --acknowledged-by-every-instance --who \"night shift\"";
    night.types(run);
    night.note("Every instance was restarted.");
    night.types(run);
    night.types("rotate status");
    night.types("rotate run pepper --dry-run");
    night.is("pepper");
}

#[tokio::test]
async fn broken_rows() {
    let mut night = Night::new(40).await;
    night.note("Somebody moved an SSN to another row, wrote a note in the clear, and copied the table.");
    night
        .sql(&[
            "CREATE TABLE backup AS SELECT * FROM patients WHERE id IN (4, 6)",
            "UPDATE patients SET ssn = (SELECT ssn FROM patients AS p WHERE p.id = 5) WHERE id = 4",
            "UPDATE patients SET note = 'in the clear' WHERE id = 6",
        ])
        .await;
    night.types("rotate run data --replace-key --acknowledged-by-every-instance --who \"night shift\"");
    night.types("rotate status");
    night.types("rotate quarantine");
    night.types("rotate quarantine --rows");
    night.types("scan --who \"day shift\"");
    night.note("The two rows are repaired from the copy, which is dropped.");
    night
        .sql(&[
            "UPDATE patients SET (ssn, note) = (SELECT b.ssn, b.note FROM backup AS b WHERE b.id = patients.id) WHERE id IN (4, 6)",
            "DROP TABLE backup",
        ])
        .await;
    night.types("rotate run data --acknowledged-by-every-instance --who \"night shift\"");
    night.types("rotate quarantine");
    night.types("scan --who \"day shift\"");
    night.is("broken_rows");
}

#[tokio::test]
async fn pause() {
    let mut night = Night::new(60).await;
    night.note("Nothing is under way.");
    night.types("rotate pause");
    night.types("rotate resume");
    night.note("A slow run, and another terminal.");
    let run = "rotate run data --replace-key --acknowledged-by-every-instance --batch 2 --rate 4 --who \"night shift\"";
    let slow = night.begins(run);
    night.rows_are_done(4).await;
    night.types("rotate run pepper --replace-key --acknowledged-by-every-instance");
    night.types("rotate pause");
    let (code, said) = ended(slow.wait_with_output().unwrap());
    night.answered(run, (code, &said));
    night.types("rotate status");
    night.types("rotate run data");
    night.types("rotate resume --who \"day shift\"");
    night.types("rotate status");
    // How far it was is another in every run.
    night.text = night
        .text
        .lines()
        .map(without_progress)
        .collect::<Vec<_>>()
        .join("\n")
        + "\n";
    night.is("pause");
}

/// `12 of 60 rows, 12 written` is `N of 60 rows, N written`, unless it is all of them.
fn without_progress(line: &str) -> String {
    match line.split_once(" of 60 rows, ") {
        Some((before, rest)) if !before.ends_with("60") => {
            let name = before.trim_end_matches(|c: char| c.is_ascii_digit());
            let (_, written) = rest.split_once(' ').unwrap();
            format!("{name}N of 60 rows, N {written}")
        }
        _ => line.to_owned(),
    }
}
