//! What was published, and what the layers do: every experiment of the laboratories, each held to a bar, in virtual time.
//!
//! *The problem:* that a layer does what the paper says which it was made after is easily claimed, and seldom shown.
//!
//! *What to look at:* the table, a line for each figure: what was published, what came out here with its 95 % interval, what it is held to.
//! With fewer than twenty seeds, a figure whose interval reaches its bar is left open.
//!
//!     cargo run --release --package stonework-labs --bin oracles [-- --seeds N] [--only A,C] [--write FOLDER]
//!
//! It takes about six seconds of two cores for each seed, writes a page and its plots into the folder if there is one, and ends with
//! exit code 0 if every claim held.

mod page;

use std::process::ExitCode;

use stonework::base::BoxError;
use stonework_labs::experiments::ALL;
use stonework_labs::{ENOUGH, Judgement, Row, Verdict, Words, end};
use tokio::time::Instant;

use self::page::Page;

fn main() -> ExitCode {
    end(play())
}

fn play() -> Result<Verdict, BoxError> {
    let words = Words::read()?;
    let (seeds, chosen) = (words.seeds, words.chosen(&ALL)?);
    let page = words.folder.as_deref().map(|folder| Page::begin(folder, seeds)).transpose()?;
    println!("means over {seeds} seeds, with 95 % intervals");
    let (mut verdict, mut open, mut found) = (Verdict::default(), 0, Vec::new());
    let began = Instant::now();
    for experiment in chosen {
        let since = Instant::now();
        let finding = (experiment.examine)(seeds);
        let took = since.elapsed().as_secs_f64();
        println!("\n{}. {} ({took:.1} s)\n", experiment.letter, experiment.title);
        println!("          {:<84} | {:<34} | {:<30} | held to", "", "published", "here");
        for row in &finding.rows {
            match row.judge(seeds) {
                Judgement::Open => {
                    println!("  open:   {}", line(row));
                    open += 1;
                }
                judged => verdict.claim(judged == Judgement::Held, line(row)),
            }
        }
        found.push((experiment, finding));
    }
    println!("\n{:.0} s for all of them", began.elapsed().as_secs_f64());
    if open > 0 {
        println!("{open} figures are left open: {seeds} seeds cannot tell, {ENOUGH} can");
    }
    if let Some(page) = page {
        page.write(&found, words.chose_all())?;
    }
    Ok(verdict)
}

fn line(row: &Row) -> String {
    let published = if row.published.is_empty() { "-" } else { &row.published };
    format!("{:<84} | {published:<34} | {:<30} | {}", row.what, row.ours.to_string(), row.bar_text())
}
