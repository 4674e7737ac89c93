//! Suites that any implementor of a port can run.
