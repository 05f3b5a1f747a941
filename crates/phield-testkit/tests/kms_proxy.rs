//! The proxy in front of an emulator of KMS: that it fails as told, and comes back.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]

use std::io::{ErrorKind, Read as _, Result, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use phield_testkit::servers::{Fault, KmsProxy};

fn connect(proxy: &KmsProxy) -> Result<TcpStream> {
    let stream = TcpStream::connect(proxy.url().trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    Ok(stream)
}

/// Sends a call on a connection, and reads the beginning of what comes back.
fn call(stream: &mut TcpStream) -> Result<String> {
    stream
        .write_all(b"POST / HTTP/1.1\r\nX-Amz-Target: TrentService.Decrypt\r\ncontent-length: 2\r\n\r\n{}")?;
    let mut answer = vec![0; 1000];
    let length = stream.read(&mut answer)?;
    answer.truncate(length);
    Ok(String::from_utf8(answer).unwrap())
}

#[test]
fn refuses_and_comes_back_on_its_port() {
    let proxy = KmsProxy::alone();
    let mut open = connect(&proxy).unwrap();
    assert!(call(&mut open).unwrap().starts_with("HTTP/1.1 502"));
    for _ in 0..20 {
        proxy.set(Fault::Refuse);
        assert_eq!(connect(&proxy).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        // A connection that was open is closed, too.
        assert!(call(&mut open).map_or(true, |answer| answer.is_empty()));
        proxy.set(Fault::Throttle);
        open = connect(&proxy).unwrap();
        assert!(call(&mut open).unwrap().contains("ThrottlingException"));
        // On one connection, without a new one.
        proxy.set(Fault::AccessDenied);
        assert!(call(&mut open).unwrap().contains("AccessDeniedException"));
    }
    assert_eq!(
        (
            proxy.calls(),
            proxy.calls_of("Decrypt"),
            proxy.calls_of("Encrypt")
        ),
        (41, 41, 0)
    );
    assert_eq!((proxy.last_call().as_str(), proxy.most_at_once()), ("{}", 1));
}

#[test]
fn a_black_hole_takes_calls_and_ends() {
    let proxy = KmsProxy::alone();
    proxy.set(Fault::BlackHole);
    let mut open = connect(&proxy).unwrap();
    let error = call(&mut open).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    assert_eq!(proxy.calls(), 1);
    proxy.set(Fault::Disabled);
    assert_eq!(
        open.read(&mut [0; 8]).unwrap(),
        0,
        "the call ends without an answer"
    );
    assert!(
        call(&mut connect(&proxy).unwrap())
            .unwrap()
            .contains("DisabledException")
    );
}

/// Calls and answers go through as they are; chunks too.
#[test]
fn forwards_to_the_server_behind_it() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        for answer in [
            "content-length: 2\r\n\r\nok",
            "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "\r\nok",
        ] {
            let mut client = server.accept().unwrap().0;
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(
                String::from_utf8(request)
                    .unwrap()
                    .contains("TrentService.Decrypt")
            );
            client
                .write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes())
                .unwrap();
        }
    });
    let proxy = KmsProxy::start(port);
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let (mut open, started) = (connect(&proxy).unwrap(), Instant::now());
    assert!(call(&mut open).unwrap().ends_with("content-length: 2\r\n\r\nok"));
    assert!(started.elapsed() >= Duration::from_millis(100));
    proxy.set(Fault::None);
    assert!(
        call(&mut open)
            .unwrap()
            .ends_with("chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    );
    assert!(call(&mut open).unwrap().ends_with("content-length: 2\r\n\r\nok"));
    served.join().unwrap();
}
