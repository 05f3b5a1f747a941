//! Child processes: what they print, and what is in their memory.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use crate::{Markers, Search};

/// What a child says when it has done its work and waits.
pub const READY: &str = "ready";

/// A process that was given markers. It is killed when dropped.
#[derive(Debug)]
pub struct Running {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a program in a folder, its standard error in the file `stderr` there, and gives it the markers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: &str, arguments: &[&str], folder: &Path, markers: &[&Markers]) -> io::Result<Self> {
        let mut process = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("stderr"))?)
            .spawn()?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(io::Error::other("no pipes"));
        };
        for markers in markers {
            stdin.write_all(markers.to_lines().as_bytes())?;
        }
        let stdout = BufReader::new(stdout);
        Ok(Self {
            process,
            stdin: Some(stdin),
            stdout,
        })
    }

    /// The next line that it prints; empty when it has ended.
    ///
    /// # Errors
    /// When the pipe breaks.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// What stands in its memory: of every mapping that can be read, its stacks, its heap and its libraries among them.
    /// That is what a core dump holds, but for the registers, and more: a core leaves out what files hold already.
    ///
    /// # Errors
    /// When this process may not read it.
    pub fn search_memory(&self, search: &Search) -> io::Result<Vec<String>> {
        let id = self.process.id();
        // A thread that ends takes its stack with it between the list of mappings and the reading: then once more from the
        // start. One pass has to succeed.
        let mut passes = 0;
        loop {
            passes += 1;
            match search_mappings(id, search) {
                Err(error) if error.raw_os_error() == Some(EIO) && passes < MOST_PASSES => {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
                done => return done,
            }
        }
    }

    /// Lets it go on, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn finish(mut self) -> io::Result<ExitStatus> {
        if let Some(mut stdin) = self.stdin.take() {
            // One that has ended already has closed the pipe.
            let _ = stdin.write_all(b"\n");
        }
        self.process.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is read of memory that is mapped no more.
const EIO: i32 = 5;
/// How often the memory of a process is read from the start.
const MOST_PASSES: u32 = 10;

fn search_mappings(id: u32, search: &Search) -> io::Result<Vec<String>> {
    let mut memory = File::open(format!("/proc/{id}/mem"))?;
    let mut found = Vec::new();
    for line in fs::read_to_string(format!("/proc/{id}/maps"))?.lines() {
        let Some((start, end)) = readable(line) else {
            continue;
        };
        memory.seek(SeekFrom::Start(start))?;
        let place = format!(
            "memory ({})",
            line.split_whitespace().nth(5).unwrap_or("anonymous")
        );
        found.extend(search.reader(&place, (&memory).take(end - start))?);
    }
    Ok(found)
}

/// The range of a mapping of a process that can be read. What the kernel itself maps there (`[vvar]`, `[vsyscall]`)
/// cannot.
fn readable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let of_kernel = line.ends_with(']') && line.contains(" [v");
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    (permissions.starts_with('r') && !of_kernel).then_some((number(start)?, number(end)?))
}

/// What stands in a core file (ELF, 64 bits, little-endian), but for its notes: those hold the registers of the threads.
///
/// A vector register keeps what an instruction left in it until the next one writes there: after opening, the AES code
/// of aws-lc leaves the last block that it decrypted, 16 bytes. No Rust code can reach it, and nothing would keep the
/// kernel from having saved it before.
///
/// # Errors
/// When the file cannot be read, or is no core file.
pub fn search_core(search: &Search, path: &Path) -> io::Result<Vec<String>> {
    let mut core = fs::read(path)?;
    for (start, end) in notes(&core).ok_or_else(|| io::Error::other("no core file"))? {
        core.get_mut(start..end).unwrap_or_default().fill(0);
    }
    Ok(search.bytes("the core file", &core))
}

/// Where the notes of a core file are.
fn notes(core: &[u8]) -> Option<Vec<(usize, usize)>> {
    const NOTE: u32 = 4;
    let word = |at: usize| {
        Some(usize::from(u16::from_le_bytes(
            core.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let long = |at: usize| usize::try_from(u64::from_le_bytes(core.get(at..at + 8)?.try_into().ok()?)).ok();
    if !core.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (long(32)?, word(54)?, word(56)?);
    let mut notes = Vec::new();
    for header in (0..count).map(|number| table + number * size) {
        let kind = u32::from_le_bytes(core.get(header..header + 4)?.try_into().ok()?);
        if kind == NOTE {
            let start = long(header + 8)?;
            notes.push((start, start + long(header + 32)?));
        }
    }
    (!notes.is_empty()).then_some(notes)
}
