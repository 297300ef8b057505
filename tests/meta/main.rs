//! What is said about the code is held to the code: arrows between modules, names in the pages, bytes of the formats, and
//! that every test is one that runs.

mod architecture;
mod bodies;
mod circles;
mod data_path;
mod docs;
mod golden;
mod included;
mod mutants;
mod repository;
mod source;
mod words;
