//! How many responses one core verifies in a second of its own time, and what the dearest costs: printed, as it is no
//! promise of this machine's.

use std::time::Duration;

use portcullis_sso::verify_response;
use rustix::time::{ClockId, clock_gettime};

use crate::cases::{Corpus, read_field};

#[test]
#[ignore = "a figure, not a check: run it with --release -- --ignored --nocapture"]
fn verifications_in_a_second_on_one_core() {
    let corpus = Corpus::read();
    for name in ["response-signed", "assertion-signed", "both-signed", "encrypted-inside-signed-aes256-gcm"] {
        let case = corpus.case(name);
        let field = read_field(case);
        corpus.with_expectations(case, |expected| {
            let begun = read_cpu_time();
            let mut verified = 0;
            while read_cpu_time() - begun < Duration::from_secs(2) {
                verify_response(&field, expected, &mut Vec::new()).unwrap();
                verified += 1;
            }
            println!("{name}: {:.0} a second", f64::from(verified) / (read_cpu_time() - begun).as_secs_f64());
        });
    }
}

#[test]
#[ignore = "a figure, not a check: run it with --release -- --ignored --nocapture"]
fn the_dearest_response() {
    let corpus = Corpus::read();
    let mut costs: Vec<(Duration, &str)> = corpus
        .cases
        .iter()
        .map(|case| {
            let field = read_field(case);
            // The least of three: what else the machine does is nobody's cost.
            let cost = (0..3).map(|_| {
                let begun = read_cpu_time();
                let _ = corpus
                    .with_expectations(case, |expected| verify_response(&field, expected, &mut Vec::new()));
                read_cpu_time() - begun
            });
            (cost.min().unwrap(), case["name"].as_str().unwrap())
        })
        .collect();
    costs.sort_unstable_by(|a, b| b.cmp(a));
    println!("of {} responses the dearest: {:?}", costs.len(), &costs[..8]);
}

/// The time that this thread has had a CPU.
fn read_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap())
}
