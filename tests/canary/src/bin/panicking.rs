//! The axum example with one more route, whose handler panics while it holds a patient, with a message that repeats
//! values: `panicking guarded URL`. For the control, `panicking bare URL` has that route alone, as axum and Rust treat it
//! when nobody does anything about it.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "says where it listens")]

use axum::routing::post;
use axum::{Json, Router};
use phield::Stretching;
use phield_canary::exercise::Outcome;
use service::{Body, Database, Patient, Service};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Outcome {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, url] = arguments.as_slice() else {
        return Err("panicking guarded|bare URL".into());
    };
    let router = if mode == "guarded" {
        service::log_panics_without_messages();
        let keyring = service::ring::load_or_create("ring".as_ref(), Stretching::minimal()).await?;
        let service = Service::new(Database::connect(url).await?, keyring);
        let routes = service::routes().route(
            "/panic",
            post(async |Body(patient): Body<Patient>| panics(&patient)),
        );
        service::guarded(routes.with_state(service))
    } else {
        Router::new().route(
            "/panic",
            post(async |Json(patient): Json<Patient>| panics(&patient)),
        )
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

/// What no handler should do.
#[allow(clippy::panic, reason = "it is what is tested")]
fn panics(patient: &Patient) {
    let (name, ssn) = (patient.name.expose(), patient.ssn.expose());
    let phone = patient.phone.as_ref().map(phield::Phi::expose);
    panic!("nothing to do for {name}, {ssn}, {phone:?}: {patient:?}");
}
