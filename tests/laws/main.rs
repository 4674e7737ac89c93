//! The laws of docs/design.md, each as a property over generated evidence. Beside each law stands a
//! planted mutant, a guard that breaks just that law, and its property must catch it.

mod guards;
mod laws;
mod worlds;
