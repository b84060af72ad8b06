//! `ws send`: messages from the command line, replies to standard output.

use std::process::ExitCode;

use clap::Args;

#[derive(Args)]
pub(crate) struct Send {
    /// Where to
    url: String,
}

impl Send {
    pub(crate) fn run(self) -> ExitCode {
        let _ = self.url;
        ExitCode::SUCCESS
    }
}
