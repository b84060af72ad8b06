//! The command line.

use std::{error::Error, path::PathBuf};

use crate::{
    memory,
    race::{Contender, Plan},
};

pub(crate) const OURS: &str = "wsd";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const RAW: &str = "raw TCP echo";

/// What to measure, and how.
pub(crate) struct Options {
    pub(crate) plan: Plan,
    pub(crate) memory: memory::Plan,
    pub(crate) only: Option<String>,
    pub(crate) plots: Option<PathBuf>,
    pub(crate) ours: Contender,
    pub(crate) floor: Contender,
    pub(crate) raw: Contender,
    pub(crate) peers: Vec<Contender>,
}

impl Options {
    pub(crate) fn parse() -> Result<Self, Box<dyn Error>> {
        const FLAGS: [&str; 8] = [
            "--quick",
            "--realtime",
            "--only",
            "--plots",
            "--ours",
            "--floor",
            "--raw",
            "--peer",
        ];
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let starts_flag = |word: &&str| FLAGS.contains(word);
        if !arguments
            .iter()
            .map(String::as_str)
            .take(1)
            .all(|word| starts_flag(&word))
        {
            return Err(format!("the first argument is one of {}", FLAGS.join(", ")).into());
        }
        let mut flags: Vec<&[String]> = Vec::new();
        let mut start = 0;
        for end in 1..=arguments.len() {
            if arguments
                .get(end)
                .is_none_or(|word| starts_flag(&word.as_str()))
            {
                flags.push(&arguments[start..end]);
                start = end;
            }
        }
        let all = |flag: &'static str| {
            let of_flag = flags.iter().filter(move |words| words[0] == flag);
            of_flag.map(|words| &words[1..])
        };
        let one = |flag: &'static str| all(flag).next();
        let word = |flag: &'static str| one(flag).and_then(<[String]>::first).cloned();
        let command = |flag: &'static str, name: &str| match one(flag) {
            Some(command) if !command.is_empty() => Ok(Contender::new(name, command)),
            _ => Err(format!("{flag} COMMAND..")),
        };
        let quick = one("--quick").is_some();
        let mut plan = if quick { Plan::QUICK } else { Plan::FULL };
        if one("--realtime").is_some() {
            plan.repeats = 0;
        }
        Ok(Self {
            plan,
            memory: if quick {
                memory::Plan::QUICK
            } else {
                memory::Plan::FULL
            },
            only: word("--only"),
            plots: word("--plots").map(PathBuf::from),
            ours: command("--ours", OURS)?,
            floor: command("--floor", FLOOR)?,
            raw: command("--raw", RAW)?,
            peers: all("--peer")
                .map(|words| match words {
                    [name, command @ ..] if !command.is_empty() => {
                        Ok(Contender::new(name, command))
                    }
                    _ => Err("--peer NAME COMMAND.."),
                })
                .collect::<Result<_, _>>()?,
        })
    }

    /// Floor and ours side by side, then the peers.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        let first = [self.floor.clone(), self.ours.clone()];
        first
            .into_iter()
            .chain(self.peers.iter().cloned())
            .collect()
    }

    pub(crate) fn wants(&self, workload: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|word| workload.contains(word.as_str()))
    }
}
