//! The `quorate` binary.

fn main() {
    println!("quorate");
}
