//! The seeds of the fuzz targets: the conversations and heads of the corpus, as files.
//!
//! `cargo run -p ws-tests --example seeds` writes them to `fuzz/corpus`. Files there with other
//! names are captures and findings; they stay.

use ws_proto::Role;

use crate::{
    corpus::{self, heads},
    frames::Frames,
    fuzz,
};

/// A fuzz target: its name, the function it calls, and its seeds by name.
pub struct Target {
    /// The name, of the binary as well as of the directory.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// The seeds that are generated.
    pub seeds: Vec<(String, Vec<u8>)>,
}

/// Seeds are to be small: a fuzzer learns more from many short ones.
const LONGEST: usize = 1500;

/// All targets.
pub fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "frame_header",
            run: fuzz::frame_header,
            seeds: frame_headers(),
        },
        // Each scene is a seed of one role: the mask apart, the other would learn nothing new.
        Target {
            name: "server",
            run: fuzz::server,
            seeds: conversations(Role::Server, 0),
        },
        Target {
            name: "client",
            run: fuzz::client,
            seeds: conversations(Role::Client, 1),
        },
        Target {
            name: "request",
            run: fuzz::request,
            seeds: named(heads::REQUESTS),
        },
        Target {
            name: "response",
            run: fuzz::response,
            seeds: named(heads::RESPONSES),
        },
        Target {
            name: "close_and_utf8",
            run: fuzz::close_and_utf8,
            seeds: closes_and_texts(),
        },
        Target {
            name: "splits",
            run: fuzz::splits,
            seeds: splits(),
        },
    ]
}

fn named(heads: &[heads::Named]) -> Vec<(String, Vec<u8>)> {
    let seed = |(name, bytes): &heads::Named| ((*name).to_owned(), bytes.to_vec());
    heads.iter().map(seed).collect()
}

/// Every third scene.
fn conversations(role: Role, offset: usize) -> Vec<(String, Vec<u8>)> {
    let all = corpus::all().into_iter();
    let of_role = all.filter(|c| c.role == role).skip(offset).step_by(3);
    let short = of_role.filter(|c| (1..=LONGEST).contains(&c.received.len()));
    short.map(|c| (c.name, c.received)).collect()
}

/// Some conversations, each with three cuts; see [`fuzz::splits`].
fn splits() -> Vec<(String, Vec<u8>)> {
    let roles = [Role::Server, Role::Client].into_iter().enumerate();
    let seeds = roles.flat_map(|(choice, role)| {
        conversations(role, 1 - choice)
            .into_iter()
            .step_by(4)
            .zip((choice as u8..).step_by(2))
            .map(|((name, bytes), choice)| {
                let cuts = [0, 1, 0, 4, 0, 9];
                (name, [&[choice, 3][..], &cuts, &bytes].concat())
            })
    });
    seeds.collect()
}

fn frame_headers() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (masked, role) in [("masked", Role::Client), ("plain", Role::Server)] {
        for (form, len) in [(0, 5), (2, 126), (2, 125), (8, 65_536), (8, 1 << 63)] {
            let bytes = Frames::of(role).declared(0x82, form, len, b"Hello").take();
            seeds.push((format!("{masked}_{len}_in_{form}_bytes"), bytes));
        }
    }
    seeds
}

fn closes_and_texts() -> Vec<(String, Vec<u8>)> {
    let seeds: &[(&str, &[u8])] = &[
        ("close_without_code", b""),
        ("close_one_byte", b"\x03"),
        ("close_1000", b"\x03\xe8"),
        ("close_1005", b"\x03\xed"),
        (
            "close_4999_with_reason",
            b"\x13\x87auf Wiedersehen \xe4\xb8\x96",
        ),
        ("close_bad_reason", b"\x03\xe8\xed\xa0\x80"),
        ("text_ascii", b"\x03Hello"),
        (
            "text_cut_in_a_character",
            b"\x02\xf0\x9f\x98\x80 and \xc3\xa9",
        ),
        ("text_surrogate", b"\x01\xed\xa0\x80"),
        ("text_overlong", b"\x02a\xe0\x80\xaf"),
        ("text_beyond_unicode", b"\x02\xf4\x90\x80\x80"),
        ("text_truncated", b"\x04abcd\xf0\x9f\x98"),
    ];
    let seed = |(name, bytes): &(&str, &[u8])| ((*name).to_owned(), bytes.to_vec());
    seeds.iter().map(seed).collect()
}
