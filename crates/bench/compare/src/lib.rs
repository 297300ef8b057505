//! What both comparisons need: a closed loop of clients, a clock of processor time, and the table.

mod figures;
mod load;
mod report;

pub use figures::Figures;
pub use load::{Load, closed_loop};
pub use report::{Row, print_ratios, print_table};
