//! The service as a process of its own, and its clients: every route and every error, over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use phield_testkit::Scanner;
use phield_testkit::servers::PostgresServer;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use ureq::http::{Method, Request};
use uuid::Uuid;

/// What no log and no answer to an error may repeat.
const SECRETS: [&str; 5] = ["Xylander", "999-12-3456", "999123456", "555-0100", "999-65-4321"];

/// A running service; killed when dropped.
struct Server {
    process: Child,
    address: String,
    log: Option<JoinHandle<String>>,
    client: ureq::Agent,
}

impl Server {
    /// Starts the service in a folder, with everything logged that can be.
    fn start(folder: &Path, database: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_service"))
            .args(["--fast", "--listen", "127.0.0.1:0", "--ring"])
            .arg(folder.join("ring"))
            .env("DATABASE_URL", database)
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = process.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_default()
            .to_owned();
        if address.is_empty() {
            panic!("the service did not start: {}", log.join().unwrap());
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true);
        Self {
            process,
            address,
            log: Some(log),
            client: config.build().into(),
        }
    }

    /// Sends a request with these bytes as its body.
    fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}{path}", self.address))
            .header("content-type", content_type)
            .header("x-request-id", SECRETS[1])
            .body(body.to_owned())
            .unwrap();
        let mut response = self.client.run(request).unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name);
            value
                .map(|value| value.to_str().unwrap().to_owned())
                .unwrap_or_default()
        };
        assert_eq!(header("cache-control"), "no-store");
        assert!(
            Uuid::parse_str(&header("x-request-id")).is_ok(),
            "an id of the service, not of the client"
        );
        Answer {
            status: response.status().as_u16(),
            body: response.body_mut().read_to_string().unwrap(),
        }
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, "application/json; charset=utf-8", &body.to_string())
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "")
    }

    /// Stops it, and returns what it logged.
    fn stop(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The answer to a request that failed: a word, and nothing of the request.
    fn failed(self, status: u16, word: &str) {
        assert!(
            !SECRETS.iter().any(|secret| self.body.contains(secret)),
            "{}",
            self.body
        );
        assert_eq!(self.ok(status)["error"], word);
    }
}

fn ada() -> Value {
    json!({ "name": "Ada Xylander", "ssn": "999-12-3456", "phone": "555-0100", "clinic": 7 })
}

/// Everything that the service does, against an empty database.
fn suite(server: &Server) {
    let id = server.json("POST", "/patients", &ada()).ok(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/patients/{id}");
    let mut shown = ada();
    shown["id"] = json!(id);

    assert_eq!(server.get(&path).ok(200), shown);
    let found = server.json("POST", "/patients/search", &json!({ "ssn": "999 12 3456" }));
    assert_eq!(found.ok(200), json!([shown]));
    let nobody = server.json("POST", "/patients/search", &json!({ "ssn": "999-65-4321" }));
    assert_eq!(nobody.ok(200), json!([]));

    // The field and its index: found by the new number alone.
    server
        .json("PUT", &format!("{path}/ssn"), &json!({ "ssn": "999-65-4321" }))
        .ok(204);
    let old = server.json("POST", "/patients/search", &json!({ "ssn": "999-12-3456" }));
    assert_eq!(old.ok(200), json!([]));
    shown["ssn"] = json!("999-65-4321");
    let new = server.json("POST", "/patients/search", &json!({ "ssn": "999654321" }));
    assert_eq!(new.ok(200), json!([shown]));
    server
        .json("PUT", &format!("{path}/phone"), &json!({ "phone": null }))
        .ok(204);
    shown["phone"] = Value::Null;
    assert_eq!(server.get(&path).ok(200), shown);

    let listed = json!([{ "id": id, "clinic": 7 }]);
    assert_eq!(
        server.get("/patients").ok(200),
        listed,
        "plain columns, and nothing else"
    );

    let again = json!({ "name": "Bob", "ssn": "999 65 4321", "clinic": 8 });
    server.json("POST", "/patients", &again).failed(409, "conflict");
    assert_eq!(server.get("/patients").ok(200), listed);
}

/// What a client does wrong. Nothing of it may come back, or stand in the log.
fn wrong(server: &Server) {
    let nobody = Uuid::nil();
    for path in [
        "/patients/999-12-3456",
        "/Xylander",
        "/patients/999-12-3456/ssn?q=Xylander",
    ] {
        let status = server.get(path).status;
        assert!([404, 405].contains(&status), "{status}");
    }
    server
        .get(&format!("/patients/{nobody}"))
        .failed(404, "not_found");
    let ssn = json!({ "ssn": "999-12-3456" });
    server
        .json("PUT", &format!("/patients/{nobody}/ssn"), &ssn)
        .failed(404, "not_found");
    server
        .json("PUT", "/patients/999-12-3456/ssn", &ssn)
        .failed(404, "not_found");
    server
        .json(
            "PUT",
            &format!("/patients/{nobody}/phone"),
            &json!({ "phone": "555-0100" }),
        )
        .failed(404, "not_found");

    // In the place of an object, of a field's type, of a field's name; and what is no JSON.
    let bad = [
        json!("999-12-3456"),
        json!({ "name": ["Xylander"], "ssn": "999-12-3456", "clinic": 7 }),
        json!({ "name": "Ada", "ssn": 999_123_456, "clinic": 7 }),
        json!({ "name": "Ada", "ssn": "999-12-3456", "clinic": "Xylander" }),
        json!({ "name": "Ada", "ssn": "999-12-3456", "clinic": 7, "Xylander": 1 }),
        json!({ "id": nobody, "name": "Ada", "ssn": "999-12-3456", "clinic": 7 }),
        json!({ "name": "Xylander", "clinic": 7 }),
    ];
    for body in bad {
        server.json("POST", "/patients", &body).failed(400, "bad_request");
    }
    server
        .send("POST", "/patients", "application/json", "{\"name\": Xylander")
        .failed(400, "bad_request");
    server
        .send("POST", "/patients", "text/plain", "Xylander")
        .failed(415, "not_json");
    let long = json!({ "name": "Xylander".repeat(10_000), "ssn": "999-12-3456", "clinic": 7 });
    server.json("POST", "/patients", &long).failed(413, "too_large");
    let mut unknown = ada();
    unknown["ssn"] = json!("Xylander 999-12-3456");
    server.json("POST", "/patients", &unknown).failed(422, "invalid");

    assert_eq!(server.send("XYLANDER", "/patients", "", "").status, 405);
    assert_eq!(server.get("/patients?ssn=999-12-3456").status, 200);
}

fn check_log(log: &str) {
    assert!(
        log.contains("/patients/{id}/ssn") && log.contains("answered"),
        "{log}"
    );
    assert!(log.contains("INSERT INTO"), "statements are logged at this level");
    for secret in SECRETS {
        let lower = secret.to_lowercase();
        assert!(!log.to_lowercase().contains(&lower), "a value stands in the log");
    }
    assert!(
        !log.contains(&Uuid::nil().to_string()),
        "an id of a patient stands in the log"
    );
}

/// Gives the only row another id, as somebody who can write to the file can.
#[tokio::main(flavor = "current_thread")]
async fn move_rows(url: &str, id: Uuid) {
    let mut file = SqliteConnection::connect(url).await.unwrap();
    let update = sqlx::query("UPDATE patients SET id = ?").bind(id);
    assert_eq!(update.execute(&mut file).await.unwrap().rows_affected(), 1);
}

#[test]
fn every_route_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("clinic.db");
    let url = format!("sqlite:{}", file.display());
    let server = Server::start(folder.path(), &url);
    suite(&server);
    wrong(&server);
    check_log(&server.stop());

    // A second start finds ring and database.
    let server = Server::start(folder.path(), &url);
    let found = server
        .json("POST", "/patients/search", &json!({ "ssn": "999-65-4321" }))
        .ok(200);
    assert_eq!(found[0]["name"], "Ada Xylander");

    let scan = Scanner::new(SECRETS).unwrap().scan_folder(folder.path());
    assert!(scan.is_clean(), "{scan:?}");

    // A row that somebody moved to another id does not open: the answer says no more than that.
    let other = Uuid::from_u128(7);
    move_rows(&url, other);
    server.get(&format!("/patients/{other}")).failed(500, "failed");
    assert!(server.stop().contains("the token does not authenticate"));
}

/// A client whose body comes after the service could have refused the request sends its next one on the same
/// connection.
#[test]
fn a_refusal_leaves_the_connection() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite:{}", folder.path().join("clinic.db").display());
    let server = Server::start(folder.path(), &url);
    let host = server.address.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(host).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answers = BufReader::new(client.try_clone().unwrap());
    let body = json!({ "ssn": "999-12-3456" }).to_string();
    for (route, content_type, status) in [
        ("PUT /patients/999-12-3456/ssn", "application/json", "404"),
        ("POST /patients", "text/plain", "415"),
        ("POST /nowhere", "text/plain", "404"),
        ("DELETE /patients", "text/plain", "405"),
    ] {
        let length = body.len();
        let head = format!(
            "{route} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).unwrap();
        // Longer than the service needs to refuse it.
        std::thread::sleep(Duration::from_millis(200));
        client.write_all(body.as_bytes()).unwrap();
        let (line, length) = answer(&mut answers);
        assert!(
            line.starts_with(&format!("HTTP/1.1 {status} ")),
            "{route}: {line}"
        );
        answers.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// The first line of an answer, and how long its body is.
fn answer(answers: &mut BufReader<TcpStream>) -> (String, usize) {
    let mut lines = answers.lines().map(Result::unwrap);
    let first = lines.next().unwrap_or_default();
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let length = headers
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    (first, length.map_or(0, |length| length.parse().unwrap()))
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn every_route_on_postgres() {
    let (folder, database) = (TempDir::new().unwrap(), PostgresServer::start());
    let server = Server::start(folder.path(), &database.url());
    suite(&server);
    wrong(&server);
    check_log(&server.stop());
    let scanner = Scanner::new(SECRETS).unwrap();
    assert_eq!(scanner.scan(&database.dump()), []);
}

#[test]
fn a_wrong_start_is_one_line() {
    let folder = TempDir::new().unwrap();
    let run = |database: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_service"))
            .args([
                "--fast",
                "--listen",
                "127.0.0.1:0",
                "--database",
                database,
                "--ring",
            ])
            .arg(folder.path().join("ring"))
            .env("RUST_LOG", "error")
            .output()
            .unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = run("oracle://user:Xylander@host/db");
    assert!(
        message.starts_with("error: ") && message.lines().count() == 1,
        "{message}"
    );
    assert!(!message.contains("Xylander"), "{message}");
}
