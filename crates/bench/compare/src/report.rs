//! The tables, as docs/evidence/speed.md has them.

use crate::Figures;

/// One line: what was done, by which system, with how many clients, and each round's figures.
#[derive(Debug, Clone)]
pub struct Row {
    pub operation: &'static str,
    pub system: &'static str,
    pub clients: u32,
    pub rounds: Vec<Figures>,
}

/// Medians of all rows; the rate with its least and most.
pub fn print_table(rows: &[Row], servers: &str) {
    println!(
        "| operation | system | clients | per second | least to most | p50 us | p99 us | CPU us each, {servers} | CPU us each, client | not ok |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let rates = row.rounds.iter().map(|one| one.per_second);
        let (least, most) = (rates.clone().fold(f64::MAX, f64::min), rates.fold(0.0, f64::max));
        let all = Figures::medians(&row.rounds);
        let client =
            if all.client_us.is_nan() { "in it".to_owned() } else { format!("{:.1}", all.client_us) };
        println!(
            "| {} | {} | {} | {:.0} | {least:.0} to {most:.0} | {:.0} | {:.0} | {:.1} | {client} | {:.0} |",
            row.operation,
            row.system,
            row.clients,
            all.per_second,
            all.p50_us,
            all.p99_us,
            all.servers_us,
            all.not_ok
        );
    }
}

/// How many times the rate and the p50 of `peer` the others have: medians of the ratios within each round.
pub fn print_ratios(rows: &[Row], peer: &str) {
    println!("| operation | system | clients | rate / {peer} | least to most | p50 / {peer} |");
    println!("|---|---|---|---|---|---|");
    for row in rows.iter().filter(|row| row.system != peer) {
        let is_peer = |other: &&Row| {
            other.system == peer && other.operation == row.operation && other.clients == row.clients
        };
        let Some(peer) = rows.iter().find(is_peer) else { continue };
        let ratios = |pick: fn(&Figures) -> f64| -> Vec<f64> {
            row.rounds.iter().zip(&peer.rounds).map(|(own, other)| pick(own) / pick(other)).collect()
        };
        let rates = ratios(|one| one.per_second);
        let (least, most) =
            (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
        println!(
            "| {} | {} | {} | {:.2} | {least:.2} to {most:.2} | {:.2} |",
            row.operation,
            row.system,
            row.clients,
            quorate_bench::median(rates),
            quorate_bench::median(ratios(|one| one.p50_us))
        );
    }
}
