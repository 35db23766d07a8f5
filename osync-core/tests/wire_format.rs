//! docs/wire-format.md is right where it shows bytes.

use bytes::Bytes;
use osync_core::model::fidelity::Fidelity;
use osync_core::model::sink_id::SinkId;
use osync_core::wire::encode;
use osync_core::wire::message::{Envelope, Message};

const DOCUMENT: &str = include_str!("../../docs/wire-format.md");

#[test]
fn the_example_in_the_document_is_what_is_sent() {
    let sink = SinkId::new("sink").unwrap();
    let message = Message::Hello { sink, fidelity: Fidelity::FULL };
    let frame = encode::frame(&Envelope { session: 0, sequence: 0, message }, Bytes::new());

    let line = DOCUMENT.lines().find(|line| line.starts_with("4f 53 59 4e")).unwrap();
    let shown: Vec<u8> =
        line.split_whitespace().map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect();
    assert_eq!(frame.header, shown);
}

#[test]
fn the_document_lists_every_message_with_its_number() {
    let source = include_str!("../src/wire/message.rs");
    let (_, messages) = source.split_once("pub enum Message {").unwrap();
    let (messages, _) = messages.split_once("\n}").unwrap();
    let names = messages.lines().filter_map(|line| {
        let rest = line.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_uppercase))?;
        Some(rest.trim_end_matches([' ', ',', '{']))
    });

    for (number, name) in names.enumerate() {
        let row = format!("| {number} | `{name}` |");
        assert!(DOCUMENT.contains(&row), "no row that begins {row}");
    }
}
