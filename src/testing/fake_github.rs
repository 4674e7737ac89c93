//! A GitHub on loopback with a truth, and a view of it that can lie.

/// A GitHub on loopback.
#[derive(Debug)]
pub struct FakeGitHub;
