//! A directory as source and as sink.
