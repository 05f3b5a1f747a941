//! The server of the database is killed while a command runs. A rotation waits for the server, and goes on; what else ends, the
//! same command finishes. (Keys that are re-wrapped are in a file here; of those in a database `tests/databases` kills the server.)

macro_rules! on_server {
    ($($database:ident)*) => {
        $(
            mod $database {
                use std::time::Duration;

                use phield_rotation_tests::$database::table;

                use crate::$database::killed::Rotation;
                use crate::$database::kills::{Command, Site, rotator};
                use crate::$database::migrated::{Migrate, People, Unseal};
                use crate::$database::new_index::NewIndex;
                use crate::lane::$database as lane;
                use crate::process;

                const ROWS: i64 = 400;
                const PACE: [(&str, &str); 2] = [("batch", "8"), ("rate", "250")];
                /// Killed so often, at other moments each time: while rows are written, while they are counted.
                const KILLS: u64 = 6;
                /// More than the times that a command can end for.
                const RUNS: u64 = KILLS + 2;

                /// Of a rotation, that it has begun.
                const ROTATION: &str = "SELECT 1 FROM phield_rotation";

                /// Kills the server once `begun` finds a row. Gives how often the command was run.
                async fn run<C: Command>(command: C, begun: &str) -> u64 {
                    let mut server = lane::Server::start();
                    let url = lane::url(&server, command.start().folder.path(), "outage").await;
                    let pool = table::connect(&url, 1).await.unwrap();
                    command.fill(&pool).await.unwrap();
                    pool.close().await;
                    let folder = command.start().copy_ring("outage");
                    let site = async || Site { pool: table::connect(&url, 1).await.unwrap(), folder: folder.clone() };
                    let (mut kills, mut written) = (0, None);
                    for runs in 1..=RUNS {
                        let mut process = rotator(&command, &url, &folder, &PACE);
                        let process = tokio::spawn(async move { process::finish(&mut process).await });
                        while !table::finds(&url, begun).await && !process.is_finished() {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        while kills < KILLS && !process.is_finished() {
                            server.kill();
                            server.restart();
                            kills += 1;
                            tokio::time::sleep(Duration::from_millis(350 + 60 * kills)).await;
                        }
                        let Err(error) = process.await.unwrap() else {
                            let (database, mode) = (stringify!($database), command.mode());
                            println!("{database} {mode}: the server was killed {kills} times, {runs} runs");
                            assert!(kills >= 3, "it was over too soon");
                            command.ended(&site().await, written.unwrap_or_default()).await.unwrap();
                            return runs;
                        };
                        println!("{error}");
                        if written.is_none() {
                            written = Some(command.killed(&site().await).await.unwrap());
                        }
                    }
                    panic!("it does not come to its end");
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn data() {
                    assert_eq!(run(Rotation::new("data", ROWS).await, ROTATION).await, 1);
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn pepper() {
                    assert_eq!(run(Rotation::new("pepper", ROWS).await, ROTATION).await, 1);
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn index() {
                    assert_eq!(run(NewIndex::new(ROWS), ROTATION).await, 1);
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn migrate() {
                    run(Migrate(People::new(ROWS)), "SELECT 1 FROM phield_migration").await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn unseal() {
                    run(Unseal(People::new(ROWS)), "SELECT 1 FROM people WHERE ssn IS NOT NULL").await;
                }
            }
        )*
    };
}

on_server!(postgres mariadb);
