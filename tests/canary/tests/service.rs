//! What the axum example logs, answers and stores while clients do all that they should not, and a handler panics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use phield_canary::child::Running;
use phield_canary::{Markers, Search};
use phield_testkit::servers::PostgresServer;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::http::{Method, Request};

/// A running service, and everything that it answered to what failed.
struct Client {
    _process: Running,
    address: String,
    agent: ureq::Agent,
    failures: String,
}

impl Client {
    fn start(mode: &str, url: &str, folder: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_panicking");
        let mut process = Running::start(program, &[mode, url], folder, &[]).unwrap();
        let address = process.line().unwrap();
        assert!(
            !address.is_empty(),
            "{}",
            fs::read_to_string(folder.join("stderr")).unwrap()
        );
        let config = ureq::Agent::config_builder();
        let config = config
            .http_status_as_error(false)
            .allow_non_standard_methods(true);
        Self {
            _process: process,
            address,
            agent: config.build().into(),
            failures: String::new(),
        }
    }

    /// Sends a request; the body of an answer that is a success.
    fn send(&mut self, method: &str, path: &str, header: &str, body: &Value) -> Option<String> {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{path}", self.address))
            .header("content-type", "application/json")
            .header("x-request-id", header)
            .header("authorization", header)
            .body(body.to_string())
            .unwrap();
        // Where the handler panics and nobody catches it, the connection ends without an answer.
        let mut response = self.agent.run(request).ok()?;
        let body = response.body_mut().read_to_string().unwrap();
        if response.status().is_success() {
            return Some(body);
        }
        writeln!(
            self.failures,
            "{} {:?}\n{body}",
            response.status(),
            response.headers()
        )
        .unwrap();
        None
    }
}

fn patient(markers: &Markers) -> Value {
    json!({ "name": markers.name, "ssn": markers.ssn, "phone": markers.text, "clinic": 7 })
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'@' | b'.' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
        out
    })
}

/// Everything that a client does right, and wrong, with markers wherever a client can put them.
fn use_it(client: &mut Client, markers: &Markers) {
    let created = client.send("POST", "/patients", "", &patient(markers)).unwrap();
    let id = serde_json::from_str::<Value>(&created).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/patients/{id}");
    let ssn = json!({ "ssn": markers.ssn });
    let answers = [
        client.send("GET", &path, "", &Value::Null).unwrap(),
        client.send("POST", "/patients/search", "", &ssn).unwrap(),
    ];
    // The control of the answers: what may be shown is shown.
    for answer in answers {
        let found = Search::as_written(markers).bytes("an answer", answer.as_bytes());
        assert_eq!(found.len(), 3, "text, ssn and name");
    }
    client.send("PUT", &format!("{path}/ssn"), "", &ssn).unwrap();
    client
        .send(
            "PUT",
            &format!("{path}/phone"),
            "",
            &json!({ "phone": markers.text }),
        )
        .unwrap();
    client.send("GET", "/patients", "", &Value::Null).unwrap();

    let mut wrong_type = patient(markers);
    wrong_type["clinic"] = json!(markers.text);
    let mut unknown = patient(markers);
    unknown[&markers.text] = json!(1);
    let mut not_an_ssn = patient(markers);
    not_an_ssn["ssn"] = json!(markers.name);
    let bodies = [
        patient(markers),
        json!(markers.ssn),
        wrong_type,
        unknown,
        not_an_ssn,
    ];
    for body in bodies {
        assert_eq!(client.send("POST", "/patients", &markers.ssn, &body), None);
    }
    assert_eq!(client.send("POST", "/panic", "", &patient(markers)), None);
    for value in markers.as_written().map(|(_, value)| percent(value)) {
        for path in [
            format!("/patients/{value}"),
            format!("/{value}"),
            format!("/panic?q={value}"),
        ] {
            assert_eq!(client.send("GET", &path, &markers.ssn, &Value::Null), None);
        }
    }
    assert_eq!(client.send(&markers.ssn, "/patients", "", &Value::Null), None);
    // It still answers.
    client.send("GET", "/patients", "", &Value::Null).unwrap();
}

fn nothing_is_found(url: &str, folder: &Path) {
    let markers = Markers::random();
    let mut client = Client::start("guarded", url, folder);
    use_it(&mut client, &markers);
    let search = Search::whole(&markers);
    assert!(client.failures.lines().count() > 20, "many answers were failures");
    assert_eq!(
        search.bytes("an answer", client.failures.as_bytes()),
        Vec::<String>::new()
    );
    drop(client);
    let log = fs::read_to_string(folder.join("stderr")).unwrap();
    for wanted in [
        "/patients/{id}/ssn",
        "panicked",
        "src/bin/panicking.rs",
        "INSERT INTO",
        "status=500",
    ] {
        assert!(log.contains(wanted), "the service logged no {wanted}");
    }
    // Log, ring, and where it is SQLite the database.
    assert_eq!(search.folder(folder), Vec::<String>::new());
}

#[test]
fn nothing_is_found_on_sqlite() {
    let folder = TempDir::new().unwrap();
    nothing_is_found("sqlite:clinic.db", folder.path());
}

#[test]
fn nothing_is_found_on_postgres() {
    let mut server = PostgresServer::with_settings(&[
        ("log_statement", "all"),
        ("log_min_duration_statement", "0"),
        ("log_parameter_max_length", "-1"),
    ]);
    let folder = TempDir::new().unwrap();
    nothing_is_found(&server.url(), folder.path());
    server.stop();
    let log = fs::read_to_string(server.log_file()).unwrap();
    assert!(log.contains("INSERT INTO") && log.contains("$1 = "));
}

/// What Rust and axum do by themselves: the message of a panic is on the standard error, and a body that is refused in
/// the log.
#[test]
fn control_an_unguarded_service_logs_values() {
    let folder = TempDir::new().unwrap();
    let (panicked, refused) = (Markers::random(), Markers::random());
    let mut client = Client::start("bare", "", folder.path());
    assert_eq!(client.send("POST", "/panic", "", &patient(&panicked)), None);
    let log = folder.path().join("stderr");
    let found = Search::as_written(&panicked).folder(&log);
    for value in ["text: ", "ssn: ", "name: "] {
        assert!(
            found.iter().any(|line| line.starts_with(value)),
            "the message of a panic: {value}"
        );
    }
    assert_eq!(client.send("POST", "/panic", "", &json!(refused.ssn)), None);
    let search = Search::as_written(&refused);
    assert!(
        !search.bytes("the answer", client.failures.as_bytes()).is_empty(),
        "axum's answer quotes the body"
    );
    assert!(!search.folder(&log).is_empty(), "axum's log quotes the body");
}
