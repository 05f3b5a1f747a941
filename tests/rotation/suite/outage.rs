//! The server of the database is killed while a rotation runs: it waits for the server, and goes on.

use phield::{KeyUse, RingSettings};
use phield_rotation_tests::ring;

use crate::lane::Start;
use crate::process;

const ROWS: i64 = 400;

macro_rules! on_server {
    ($($database:ident)*) => {
        $(
            mod $database {
                use std::time::Duration;

                use phield_rotation_tests::$database::table;

                use super::*;
                use crate::lane::$database as lane;

                /// Killed so often, at other moments each time: while rows are sealed, while they are counted.
                const KILLS: u64 = 6;

                async fn run(mode: &str, key_use: KeyUse) {
                    let start = Start::new();
                    let settings: &RingSettings = start.settings();
                    let mut server = lane::Server::start();
                    let url = lane::url(&server, start.folder.path(), "outage").await;
                    let pool = table::connect(&url, 1).await.unwrap();
                    let patients = table::fill(&pool, &start.ring.keyring(), ROWS).await.unwrap();
                    pool.close().await;
                    let folder = start.copy_ring("outage");
                    let ring = ring::of_copy(settings, &folder);
                    let old = ring::active(ring.load().await.unwrap().manifest(), key_use).unwrap();
                    ring::replace(&ring, key_use, old).await.unwrap();
                    let (folder_name, report) = (folder.display().to_string(), folder.join("report").display().to_string());
                    let mut rotator = process::rotator(&[
                        ("folder", &folder_name),
                        ("url", &url),
                        ("mode", mode),
                        ("report", &report),
                        ("batch", "8"),
                        ("rate", "250"),
                        ("alone", "yes"),
                        ("acknowledged", "yes"),
                    ]);
                    let rotation = tokio::spawn(async move { process::finish(&mut rotator).await });
                    while !table::is_rotating(&url).await && !rotation.is_finished() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    let mut kills = 0;
                    while kills < KILLS && !rotation.is_finished() {
                        server.kill();
                        server.restart();
                        kills += 1;
                        tokio::time::sleep(Duration::from_millis(350 + 60 * kills)).await;
                    }
                    rotation.await.unwrap().unwrap();
                    println!("{} {mode}: the server was killed {kills} times", stringify!($database));
                    assert!(kills >= 3, "it was over too soon");
                    let verified = ring.load().await.unwrap();
                    let keyring = verified.keyring(settings).await.unwrap();
                    let pool = table::connect(&url, 1).await.unwrap();
                    table::check(&pool, &keyring, &patients).await.unwrap();
                    let [tokens, values] = table::keys(&pool).await.unwrap();
                    let rotated = if key_use == KeyUse::Data { tokens } else { values };
                    assert!(rotated.keys().eq([&ring::active(verified.manifest(), key_use).unwrap()]));
                    let report = std::fs::read_to_string(&report).unwrap();
                    assert!(report.lines().any(|line| line == "quarantined 0"), "{report}");
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn data() {
                    run("data", KeyUse::Data).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn pepper() {
                    run("pepper", KeyUse::Index).await;
                }
            }
        )*
    };
}

on_server!(postgres mariadb);
