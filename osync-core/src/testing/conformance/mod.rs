//! What every implementation of a port must do, as tests to call.

pub mod transport;
pub mod change_feed;
pub mod sink;
pub mod source;

/// Names that are legal and break careless code: not UTF-8, control characters, options, the longest.
fn odd_names() -> Vec<Vec<u8>> {
    vec![
        b"\xff\xfe".to_vec(),
        b"new\nline".to_vec(),
        b"\x1b[31m".to_vec(),
        b"-rf".to_vec(),
        b"...".to_vec(),
        b" ".to_vec(),
        b"back\\slash".to_vec(),
        vec![b'n'; 255],
    ]
}

/// A directory path longer than `PATH_MAX`: 20 levels of 250 bytes.
fn deep_directory() -> Vec<u8> {
    let levels: Vec<Vec<u8>> = (b'a'..).take(20).map(|letter| vec![letter; 250]).collect();
    levels.join(&b'/')
}
