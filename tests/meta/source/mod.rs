//! Rust sources as far as these tests must read them: tokens, paths, modules with their items and imports.

pub(crate) mod lexer;
pub(crate) mod modules;
pub(crate) mod paths;
