//! The osync program.
fn main() {}
