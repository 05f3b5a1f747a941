//! The key ring in a table, when the database goes, and when the process does.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use phield::config::Config;
use phield::sqlx::TableKeyStore;
use phield::{
    KekReference, KeyRecord, KeyState, KeyStore, KeyUse, Manifest, ProviderName, Rekek, Ring, RingError,
    RingName, Suite,
};

use phield_testkit::TestRing;
use phield_testkit::servers::{MariaDbServer, PostgresServer};

/// What a child process is to do: the test `child` looks here, and does nothing without it.
const TASK: &str = "PHIELD_TEST_KEY_STORE_TASK";
const CONFIG: &str = "PHIELD_TEST_KEY_STORE_CONFIG";
const UPDATES: u64 = 10;
const KILLS: u64 = 12;
/// So many keys are re-wrapped, beside those of the ring.
const REWRAPPED: usize = 40;

fn touch(manifest: &mut Manifest) {
    let mut records = manifest.records.iter_mut();
    let active =
        records.find(|record| record.context.key_use == KeyUse::Data && record.state == KeyState::Active);
    active.unwrap().not_after -= 1;
}

/// A ring that was published into the database with this URL, and a configuration that names it.
struct InTable {
    ring: TestRing,
    config: PathBuf,
}

impl InTable {
    async fn new(url: &str, table: &str) -> Self {
        let ring = TestRing::new("clinic");
        ring.add_provider();
        let url = url.replace("FOLDER", &ring.folder().display().to_string());
        let file = std::fs::read_to_string(ring.config_path()).unwrap();
        let config = ring.folder().join("table.toml");
        let in_table = file.replace(
            "file = \"ring.phield\"",
            &format!("url = \"{url}\"\ntable = \"{table}\""),
        );
        assert_ne!(file, in_table);
        std::fs::write(&config, in_table).unwrap();
        let made = Self { ring, config };
        let name = RingName::from_static("clinic-test");
        let create = match url.split_once(':').unwrap().0 {
            "sqlite" => {
                let store = TableKeyStore::<sqlx::Sqlite>::from_url(&url, name).unwrap();
                store.with_table(table).unwrap().create_table().await
            }
            "mysql" => {
                let store = TableKeyStore::<sqlx::MySql>::from_url(&url, name).unwrap();
                store.with_table(table).unwrap().create_table().await
            }
            _ => {
                let store = TableKeyStore::<sqlx::Postgres>::from_url(&url, name).unwrap();
                store.with_table(table).unwrap().create_table().await
            }
        };
        create.unwrap();
        made.open()
            .await
            .publish(&made.ring.ring().load().await.unwrap())
            .await
            .unwrap();
        made
    }

    async fn open(&self) -> Ring {
        let config = Config::read(&self.config).unwrap();
        config.ring(&phield::backends()).await.unwrap()
    }

    fn spawn(&self, task: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "key_store_outage::child", "--nocapture"])
            .env(TASK, task)
            .env(CONFIG, &self.config)
            .env_remove("PHIELD_PASSPHRASE_FILE")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Does nothing by itself: the other tests start it as a process.
#[tokio::test]
async fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let config = PathBuf::from(std::env::var_os(CONFIG).unwrap());
    let config = Config::read(&config).unwrap();
    let ring = config.ring(&phield::backends()).await.unwrap();
    println!("\nready");
    match task.as_str() {
        "race" => {
            for _ in 0..UPDATES {
                while let Err(error) = ring.update(touch).await {
                    assert!(matches!(error, RingError::Conflict), "{error:?}");
                }
            }
        }
        "change" => loop {
            ring.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None)
                .await
                .unwrap();
            ring.update(touch).await.unwrap();
        },
        other => panic!("no task {other}"),
    }
}

fn wait_until_ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line == "ready");
    assert!(ready, "the child ended before it was ready");
}

/// Two processes that change the ring at once: nothing is lost.
async fn processes_race(url: &str, table: &str) {
    let made = InTable::new(url, table).await;
    let mut children = [made.spawn("race"), made.spawn("race")];
    for child in &mut children {
        let output = child.wait().unwrap();
        assert!(output.success(), "{output}");
    }
    let after = made.open().await.load().await.unwrap();
    assert_eq!(after.manifest().epoch, 1 + 2 * UPDATES);
}

/// A process that is killed while it changes the ring: what is left is whole, and the next command works.
async fn a_process_is_killed(url: &str, table: &str) {
    let made = InTable::new(url, table).await;
    let (mut epoch, mut keys) = (1, 0);
    for kill in 0..KILLS {
        let mut child = made.spawn("change");
        wait_until_ready(&mut child);
        std::thread::sleep(Duration::from_millis(kill * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        let ring = made.open().await;
        let found = ring.load().await.unwrap();
        found.check_every_wrap(&ring.settings).await.unwrap();
        assert!(found.manifest().epoch >= epoch && found.manifest().records.len() >= keys);
        let again = ring.update(touch).await.unwrap();
        (epoch, keys) = (again.manifest().epoch, again.manifest().records.len());
    }
    println!("{url}: {KILLS} kills, and the ring opened after every one; epoch {epoch}, {keys} keys");
    assert!(epoch > 1 + KILLS, "the children changed something");
}

#[tokio::test]
async fn processes_race_on_sqlite() {
    processes_race("sqlite:FOLDER/db?mode=rwc", "phield_key_store").await;
}

#[tokio::test]
async fn processes_race_on_postgres() {
    processes_race(&PostgresServer::shared().url(), "race").await;
}

#[tokio::test]
async fn processes_race_on_mariadb() {
    processes_race(&MariaDbServer::shared().url(), "race").await;
}

#[tokio::test]
async fn a_process_is_killed_on_sqlite() {
    a_process_is_killed("sqlite:FOLDER/db?mode=rwc", "phield_key_store").await;
}

#[tokio::test]
async fn a_process_is_killed_on_postgres() {
    a_process_is_killed(&PostgresServer::shared().url(), "killed").await;
}

#[tokio::test]
async fn a_process_is_killed_on_mariadb() {
    a_process_is_killed(&MariaDbServer::shared().url(), "killed").await;
}

fn is_store_error(error: &RingError) {
    assert!(matches!(error, RingError::Store { .. }), "{error:?}");
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!("{error} {error:?}");
        cause = error.source();
    }
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn postgres_goes_and_comes_back() {
    let mut server = PostgresServer::with_settings(&[]);
    let made = InTable::new(&server.url(), "phield_key_store").await;
    let ring = made.open().await;
    ring.load().await.unwrap();
    server.kill();
    is_store_error(&ring.load().await.unwrap_err());
    is_store_error(&ring.update(touch).await.unwrap_err());
    made.open().await; // opening asks nobody
    server.restart();
    assert_eq!(ring.update(touch).await.unwrap().manifest().epoch, 2);
}

#[tokio::test]
async fn mariadb_goes_and_comes_back() {
    let mut server = MariaDbServer::with_options(&[]);
    let made = InTable::new(&server.url(), "phield_key_store").await;
    let ring = made.open().await;
    ring.load().await.unwrap();
    server.kill();
    is_store_error(&ring.load().await.unwrap_err());
    is_store_error(&ring.update(touch).await.unwrap_err());
    server.restart();
    assert_eq!(ring.update(touch).await.unwrap().manifest().epoch, 2);
}

/// Every key is re-wrapped while the database of the ring is killed: no key is lost, and the same command finishes.
async fn keys_are_rewrapped(made: &InTable, mut kill: impl FnMut()) {
    let ring = made.open().await;
    for _ in 0..REWRAPPED {
        let added = ring.add_key(KeyUse::Data, Some(Suite::Aes256Gcm), None);
        added.await.unwrap();
    }
    let before = ring.load().await.unwrap().manifest().clone();
    let kek = |provider: &'static str| {
        (
            ProviderName::from_static(provider),
            KekReference::new("1").unwrap(),
        )
    };
    let mut rekek = Rekek::new(kek("local"), kek("other"));
    (rekek.batch, rekek.calls_per_second) = (2, Some(60));
    let rewrapping = tokio::spawn(async move {
        let mut runs = 1;
        loop {
            match ring.rekek(&rekek, &mut |_| {}).await {
                Ok(done) => return (done, runs),
                Err(error) => is_store_error(&error),
            }
            runs += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut kills = 0;
    while !rewrapping.is_finished() && kills < KILLS {
        tokio::time::sleep(Duration::from_millis(150 + 20 * kills)).await;
        kill();
        kills += 1;
    }
    let (done, runs) = rewrapping.await.unwrap();
    println!("the server was killed {kills} times, {runs} runs");
    assert!(kills >= 3, "it was over too soon");
    assert!(done.failed.is_empty(), "{:?}", done.failed);
    let ring = made.open().await;
    let after = ring.load().await.unwrap();
    after.check_every_wrap(&ring.settings).await.unwrap();
    let keys = |manifest: &Manifest| {
        let key = |record: &KeyRecord| (record.context.key_id, record.check_value, record.state);
        manifest.records.iter().map(key).collect::<Vec<_>>()
    };
    assert_eq!(keys(after.manifest()), keys(&before));
    for record in &after.manifest().records {
        let wraps: Vec<_> = record.wraps.iter().map(|wrap| wrap.provider.as_str()).collect();
        assert_eq!(wraps, ["other"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rewrapped_while_postgres_is_killed() {
    let mut server = PostgresServer::start();
    let made = InTable::new(&server.url(), "phield_key_store").await;
    keys_are_rewrapped(&made, || {
        server.kill();
        server.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rewrapped_while_mariadb_is_killed() {
    let mut server = MariaDbServer::start();
    let made = InTable::new(&server.url(), "phield_key_store").await;
    keys_are_rewrapped(&made, || {
        server.kill();
        server.restart();
    })
    .await;
}

#[tokio::test]
async fn an_sqlite_database_that_is_not_there() {
    let ring = TestRing::new("clinic");
    let url = format!("sqlite:{}/db", ring.folder().display());
    let name = RingName::from_static("clinic-test");
    let store = TableKeyStore::<sqlx::Sqlite>::from_url(&url, name.clone()).unwrap();
    is_store_error(&store.read().await.unwrap_err());
    assert!(
        !ring.folder().join("db").exists(),
        "a wrong path makes no database"
    );
    let create = TableKeyStore::<sqlx::Sqlite>::from_url(&format!("{url}?mode=rwc"), name).unwrap();
    create.create_table().await.unwrap();
    assert_eq!(store.read().await.unwrap(), None);
}

#[tokio::test]
async fn passwords_stand_in_no_error() {
    for url in [
        "postgres://phield:s3cret@127.0.0.1:1/clinic",
        "postgres://phield@127.0.0.1:1/clinic?password=s3cret",
        "mysql://phield:s3cret@127.0.0.1:1/clinic",
    ] {
        let factory = phield::sqlx::TableKeyStores::new();
        let name = RingName::from_static("clinic-test");
        let store = phield::KeyStoreFactory::open(&factory, url, "phield_key_store", &name)
            .await
            .unwrap();
        assert_eq!(
            store.place(),
            "table phield_key_store of the database clinic at 127.0.0.1:1"
        );
        assert!(!format!("{store:?}").contains("s3cret"));
        is_store_error(&store.read().await.unwrap_err());
    }
    for wrong in ["postgres://user:s3cret@host:port/db", "mysql://u:s3cret@[/db"] {
        let factory = phield::sqlx::TableKeyStores::new();
        let name = RingName::from_static("clinic-test");
        let opened = phield::KeyStoreFactory::open(&factory, wrong, "phield_key_store", &name).await;
        let error = opened.expect_err("it is no URL");
        assert_eq!(
            error.to_string(),
            "the url of [key_store] is not one of a database"
        );
    }
}
