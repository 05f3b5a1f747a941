//! The harness: a command is killed at its writes, what it leaves is looked at, and the same command finishes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use phield_rotation_tests::Failed;
use sqlx::Pool;

use super::table::{self, Db};
use super::lane;
use crate::kill_points;
use crate::lane::Start;
use crate::process::{self, Ended, KillPoint};

/// Processes at a time.
const LANES: usize = 2;
/// Longer than a server takes to see that a process is gone.
const SERVER_PATIENCE: Duration = Duration::from_secs(30);

/// A command of the rotator, and what must hold of what it leaves.
pub(crate) trait Command: Send + Sync + Sized + 'static {
    /// What the application wrote between the kill and the second run.
    type Written: Default + Send + Sync;

    /// As the rotator knows it.
    fn mode(&self) -> &'static str;

    fn start(&self) -> &Start;

    /// A run makes more writes than these; otherwise they are not counted.
    fn least_writes(&self) -> u64 {
        50
    }

    /// About how many of the kill points CI takes.
    fn spread(&self) -> usize {
        30
    }

    /// What the rotator is told beside where everything is.
    fn arguments(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Makes the rows that every run begins with in an empty database, and keeps them.
    fn fill(&self, pool: &Pool<Db>) -> impl Future<Output = Result<(), Failed>> + Send;

    /// Makes them anew of what was kept.
    fn reset(&self, pool: &Pool<Db>) -> impl Future<Output = Result<(), Failed>> + Send;

    /// What holds at any moment. Then the application may write.
    fn killed(&self, site: &Site) -> impl Future<Output = Result<Self::Written, Failed>> + Send;

    /// What holds once a run came to its end. Gives the end state, which is the same of every run.
    fn ended(&self, site: &Site, written: Self::Written) -> impl Future<Output = Result<String, Failed>> + Send;
}

/// The database and the ring of one run.
pub(crate) struct Site {
    pub(crate) pool: Pool<Db>,
    /// Of the ring, and of the report.
    pub(crate) folder: PathBuf,
}

impl Site {
    pub(crate) fn report(&self) -> Result<String, Failed> {
        Ok(std::fs::read_to_string(self.folder.join("report"))?)
    }
}

/// The process of a command.
pub(crate) fn rotator(command: &impl Command, url: &str, folder: &Path, pace: &[(&str, &str)]) -> tokio::process::Command {
    let (folder_name, report) = (folder.display().to_string(), folder.join("report").display().to_string());
    let more = command.arguments();
    let mut arguments = vec![
        ("folder", folder_name.as_str()),
        ("url", url),
        ("mode", command.mode()),
        ("report", &report),
        ("alone", "yes"),
        ("acknowledged", "yes"),
    ];
    arguments.extend(pace);
    arguments.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
    process::rotator(&arguments)
}

/// A database and a folder for one run at a time.
struct Lane {
    name: String,
    url: String,
}

/// What all lanes share.
struct Kills<C> {
    command: C,
    /// The end state of the run that nobody killed.
    end: String,
    points: Vec<KillPoint>,
    next: AtomicUsize,
    killed: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Lane {
    async fn new(command: &impl Command, number: usize, pragma: Option<&'static str>) -> Result<Self, Failed> {
        let name = format!("lane_{number}_");
        let folder = command.start().folder.path();
        let url = lane::url(lane::server(), folder, &name).await;
        let pool = table::connect(&url, 1).await?;
        if let Some(pragma) = pragma {
            sqlx::query(pragma).execute(&pool).await?;
        }
        command.fill(&pool).await?;
        pool.close().await;
        lane::copy(folder, &name, &format!("{name}kept"));
        Ok(Self { name, url })
    }

    /// The rows as they were, and a fresh copy of the ring.
    async fn reset(&self, command: &impl Command) -> Result<PathBuf, Failed> {
        if !lane::copy(command.start().folder.path(), &format!("{}kept", self.name), &self.name) {
            let pool = table::connect(&self.url, 1).await?;
            command.reset(&pool).await?;
            pool.close().await;
        }
        Ok(command.start().copy_ring(&self.name))
    }

    async fn site(&self, folder: PathBuf) -> Result<Site, Failed> {
        let pool = table::connect(&self.url, 1).await?;
        if let Some(others) = lane::OTHERS {
            // The server ends the statement that a killed process sent last, and then sees that it is gone.
            let start = Instant::now();
            while sqlx::query_scalar::<_, i64>(others).fetch_one(&pool).await? > 0 {
                if start.elapsed() > SERVER_PATIENCE {
                    return Err("the server still works for a process that is gone".into());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(Site { pool, folder })
    }

    /// What the connections of the server do, and the shares of the rotation.
    async fn activity(&self) -> String {
        let Some(activity) = lane::ACTIVITY else { return String::new() };
        let shares = "SELECT concat_ws(' ', rotation, tbl, share_no, place, owner, lease) FROM phield_rotation_share";
        let mut lines = Vec::new();
        if let Ok(pool) = table::connect(&self.url, 1).await {
            for statement in [activity, shares] {
                let found = sqlx::query_scalar::<_, String>(statement).fetch_all(&pool).await;
                lines.extend(found.unwrap_or_else(|error| vec![error.to_string()]));
            }
        }
        lines.join("\n")
    }

    fn rotator(&self, command: &impl Command, folder: &Path) -> tokio::process::Command {
        rotator(command, &self.url, folder, &[("batch", "4")])
    }

    /// One kill: what is left holds, and the same command finishes. Gives the end state.
    async fn kill<C: Command>(&self, command: &C, point: KillPoint) -> Result<(Ended, String), Failed> {
        let folder = self.reset(command).await?;
        let ended = process::kill_at(&mut self.rotator(command, &folder), point).await?;
        let site = self.site(folder).await?;
        let written = command.killed(&site).await.map_err(|error| format!("after the kill: {error}"))?;
        site.pool.close().await;
        let second = process::finish_or(&mut self.rotator(command, &site.folder), async || self.activity().await).await;
        second.map_err(|error| format!("the second run: {error}"))?;
        let site = self.site(site.folder).await?;
        let end = command.ended(&site, written).await.map_err(|error| format!("in the end: {error}"))?;
        site.pool.close().await;
        Ok((ended, end))
    }

    /// A run that nobody kills: the writes that it makes, and its end state.
    async fn count<C: Command>(&self, command: &C) -> Result<(Vec<(String, u64)>, String), Failed> {
        let folder = self.reset(command).await?;
        let total = folder.join("total");
        let counts = process::count(&mut self.rotator(command, &folder), &total).await?;
        let site = self.site(folder).await?;
        let end = command.ended(&site, C::Written::default()).await?;
        site.pool.close().await;
        Ok((counts, end))
    }
}

impl<C: Command> Kills<C> {
    /// Takes kill points until none is left.
    async fn take(&self, lane: &Lane) {
        while let Some(point) = self.points.get(self.next.fetch_add(1, Ordering::SeqCst)) {
            let failed = match lane.kill(&self.command, *point).await {
                Ok((_, end)) if end != self.end => {
                    format!("the end state is\n{end}\nand without a kill it is\n{}", self.end)
                }
                Ok((Ended::Killed, _)) => {
                    self.killed.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                // It made fewer writes than the one that was counted.
                Ok((Ended::Done, _)) => continue,
                Err(error) => error.to_string(),
            };
            self.failures.lock().unwrap().push(format!("{point:?}: {failed}"));
        }
    }
}

/// Kills a command at each of its writes, or at a spread of them, and prints how many kill points there were.
pub(crate) async fn at_every_write<C: Command>(command: C, pragma: Option<&'static str>, database: &str) {
    let mut lanes = Vec::new();
    for number in 0..LANES {
        lanes.push(Lane::new(&command, number, pragma).await.unwrap());
    }
    let mode = command.mode();
    let (counts, end) = lanes.first().unwrap().count(&command).await.unwrap();
    println!("{database} {mode}: {counts:?}");
    let writes = counts.first().map_or(0, |(_, total)| *total);
    assert!(writes > command.least_writes(), "these are not all the writes");
    let points = kill_points::of(writes, command.spread());
    let kills = Arc::new(Kills {
        command,
        end,
        points,
        next: AtomicUsize::new(0),
        killed: AtomicUsize::new(0),
        failures: Mutex::new(Vec::new()),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for lane in lanes {
        let kills = Arc::clone(&kills);
        tasks.spawn(async move { kills.take(&lane).await });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let (points, killed) = (kills.points.len(), kills.killed.load(Ordering::SeqCst));
    let failures = kills.failures.lock().unwrap();
    println!(
        "{database} {mode}: {writes} writes, {points} kill points, killed at {killed} of them, {} failed",
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // The last writes of a run may be one or two fewer than of another.
    assert!(killed * 10 >= points * 9, "most runs ended before they were killed");
}
