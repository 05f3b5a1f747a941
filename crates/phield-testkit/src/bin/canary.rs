//! Looks for values that should be sealed in files where they should not be: logs, dumps, database files, backups.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use phield_testkit::{Encoding, FileHit, FolderScan, Scanner};

/// The longest list of values, in bytes.
const MAX_VALUES: u64 = 64 << 20;
/// Shorter values turn up in ciphertext by chance.
const SHORTEST: usize = 5;

/// Looks for values in files and folders: as UTF-8, UTF-16, hexadecimal and base64.
///
/// Prints where a value stands, how it is encoded and which one it is, by its line in the list; never the value.
/// Compressed and encrypted files are searched as the bytes that they are: unpack them first. Symbolic links in folders
/// are not followed. A value in another notation (123456789 for 123-45-6789) is another value: list both.
///
/// Exits with 0 when nothing was found, with 1 when a value was, and with 2 when something could not be read.
#[derive(Debug, Parser)]
#[command(name = "canary")]
struct Arguments {
    /// The values, one a line, in UTF-8; `-` for standard input. Never as arguments: others can read those
    #[arg(long, value_name = "FILE")]
    values_file: PathBuf,
    /// Take values of less than 5 bytes too, which turn up in ciphertext by chance
    #[arg(long)]
    short: bool,
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(Failed(message)) => {
            eprintln!("canary: {message}");
            ExitCode::from(2)
        }
    }
}

/// One sentence, without a value.
struct Failed(String);

fn run(arguments: &Arguments) -> Result<ExitCode, Failed> {
    let values = Values::read(&arguments.values_file, arguments.short)?;
    let scanner = Scanner::new(values.lines.iter().map(|(_, value)| value))
        .map_err(|_| Failed("these are more values than one scan takes".to_owned()))?;
    let (mut files, mut found, mut unread) = (0, 0, 0);
    for path in &arguments.paths {
        let scan = scanner.scan_folder(path);
        files += scan.files;
        found += scan.hits.len();
        unread += scan.unread.len();
        match print(&scan, &values) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break, // the reader has seen enough
            printed => printed.map_err(|error| Failed(format!("cannot print: {error}")))?,
        }
    }
    let values = values.lines.len();
    eprintln!("canary: {files} files searched for {values} values: {found} found, {unread} not read");
    Ok(match (found, unread, files) {
        (1.., _, _) => ExitCode::from(1),
        (0, 0, 1..) => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    })
}

fn print(scan: &FolderScan, values: &Values) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for FileHit { path, hit, .. } in &scan.hits {
        let line = values.lines.get(hit.needle).map_or(0, |(line, _)| *line);
        let encoding = match hit.encoding {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16 => "UTF-16",
            Encoding::Hex => "hexadecimal",
            Encoding::Base64 => "base64",
            _ => "another encoding",
        };
        let path = path.display();
        writeln!(
            out,
            "{path}: byte {}: {encoding}: the value of line {line}",
            hit.offset
        )?;
    }
    for (path, error) in &scan.unread {
        eprintln!("canary: cannot read {}: {error}", path.display());
    }
    Ok(())
}

/// Values with their lines, from 1.
struct Values {
    lines: Vec<(usize, String)>,
}

impl Values {
    fn read(path: &Path, short: bool) -> Result<Self, Failed> {
        let unreadable = |error| Failed(format!("cannot read the list of values: {error}"));
        let mut list = String::new();
        let limited = |reader: &mut dyn Read, list| reader.take(MAX_VALUES + 1).read_to_string(list);
        let read = if path == Path::new("-") {
            limited(&mut io::stdin().lock(), &mut list)
        } else {
            File::open(path).and_then(|mut file| limited(&mut file, &mut list))
        };
        if read.map_err(unreadable)? as u64 > MAX_VALUES {
            return Err(Failed("the list of values is longer than 64 MiB".to_owned()));
        }
        let numbered = list
            .lines()
            .enumerate()
            .map(|(i, value)| (i + 1, value.to_owned()));
        let lines: Vec<_> = numbered.filter(|(_, value)| !value.is_empty()).collect();
        if lines.is_empty() {
            return Err(Failed("the list of values is empty".to_owned()));
        }
        match lines.iter().find(|(_, value)| value.len() < SHORTEST) {
            Some((line, _)) if !short => Err(Failed(format!(
                "the value of line {line} has less than {SHORTEST} bytes and would be found by chance; --short takes it"
            ))),
            _ => Ok(Self { lines }),
        }
    }
}
