//! As much of HTTP/1.1 as the SDK and the emulators speak.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Longest head or body: calls of KMS are small.
const LIMIT: usize = 1 << 20;
/// How long the server behind the proxy may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call of the SDK.
#[derive(Debug)]
pub(super) struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// The next one of a connection; `None` when it was closed.
    pub(super) fn read(stream: &mut impl Read) -> Result<Option<Self>> {
        let Some((head, mut body)) = read_head(stream)? else {
            return Ok(None);
        };
        let length = header(&head, "content-length").and_then(|length| length.parse().ok());
        let length = length
            .filter(|length| *length <= LIMIT)
            .ok_or(ErrorKind::InvalidData)?;
        let start = body.len().min(length);
        body.resize(length, 0);
        stream.read_exact(body.get_mut(start..).unwrap_or_default())?;
        Ok(Some(Self { head, body }))
    }

    /// `Decrypt`, of the header `x-amz-target: TrentService.Decrypt`.
    pub(super) fn operation(&self) -> &str {
        let target = header(&self.head, "x-amz-target").unwrap_or_default();
        target.rsplit('.').next().unwrap_or_default()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// What a server answers to it.
    pub(super) fn forward(&self, port: u16) -> Result<Answer> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        server.set_nodelay(true)?;
        server.set_read_timeout(Some(PATIENCE))?;
        let head = without(&self.head, "connection");
        server.write_all(&[format!("{head}connection: close\r\n\r\n").as_bytes(), &self.body].concat())?;
        let (head, mut body) = read_head(&mut server)?.ok_or(ErrorKind::UnexpectedEof)?;
        server.read_to_end(&mut body)?;
        let mut head = without(&head, "connection");
        if header(&head, "content-length").is_none() && header(&head, "transfer-encoding").is_none() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        Ok(Answer { head, body })
    }
}

/// An answer to the SDK.
#[derive(Debug)]
pub(super) struct Answer {
    /// Without its last, empty line.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(status: u16, kind: &str, body: &str) -> Self {
        let length = body.len();
        Self {
            head: format!(
                "HTTP/1.1 {status} As told\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n"
            ),
            body: body.as_bytes().to_vec(),
        }
    }

    /// An error as KMS gives it.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let json = format!(r#"{{"__type":"{code}","message":"The proxy was told to say so."}}"#);
        let mut answer = Self::text(status, "application/x-amz-json-1.1", &json);
        answer.head += "x-amzn-requestid: 00000000-0000-4000-8000-000000000000\r\n";
        answer
    }

    pub(super) fn write(&self, stream: &mut impl Write) -> Result<()> {
        stream.write_all(&[self.head.as_bytes(), b"\r\n", &self.body].concat())
    }
}

/// The lines of a head, without the empty one, and what was read behind them.
fn read_head(stream: &mut impl Read) -> Result<Option<(String, Vec<u8>)>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            bytes.truncate(end + 2);
            let head = String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData)?;
            return Ok(Some((head, body)));
        }
        match stream.read(&mut buffer)? {
            0 if bytes.is_empty() => return Ok(None),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            _ if bytes.len() > LIMIT => return Err(Error::other("a head without an end")),
            length => bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
        }
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then(|| value.trim()))
}

/// The head without the lines of this header.
fn without(head: &str, name: &str) -> String {
    let is_other = |line: &&str| {
        line.split_once(':')
            .is_none_or(|(field, _)| !field.eq_ignore_ascii_case(name))
    };
    head.lines()
        .filter(is_other)
        .flat_map(|line| [line, "\r\n"])
        .collect()
}
