//! Change feeds.
