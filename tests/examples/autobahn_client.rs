//! The client that the Autobahn suite tests: `AUTOBAHN_URL` says where its server is.

use std::env;

use ws_std::{Client, Config, Error, Limit};

const AGENT: &str = "ws-std";

/// The longest messages of 9.* have 16 MiB.
const MAX_MESSAGE: Limit = Limit::At(16 << 20);
/// 9.3.1 and 9.4.1 send 4 MiB in frames of 64 bytes, and an empty last one.
const MAX_FRAGMENTS: Limit = Limit::At((4 << 20) / 64 + 1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("AUTOBAHN_URL")?;
    let mut config = Config::new();
    config.limits.max_message = MAX_MESSAGE;
    config.limits.max_fragments = MAX_FRAGMENTS;
    let client = Client::new().config(config);

    let count = client.connect(&format!("{url}/getCaseCount"))?.recv()?;
    let count: u32 = count.as_text().ok_or("the count is no text")?.parse()?;
    for case in 1..=count {
        let mut socket = client.connect(&format!("{url}/runCase?case={case}&agent={AGENT}"))?;
        match socket.for_each(|message, reply| reply.send(message)) {
            // Breaking rules is what most cases are about.
            Ok(_) | Err(Error::Violation(_) | Error::Truncated | Error::Io(_)) => {}
            Err(error) => return Err(format!("case {case}: {error}").into()),
        }
    }
    client
        .connect(&format!("{url}/updateReports?agent={AGENT}"))?
        .wait_closed()?;
    Ok(())
}
