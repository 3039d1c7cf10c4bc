//! Random histories of the model, longer than the suite's and of seeds that nobody has seen. A run that fails prints
//! its seed and the steps, made fewer; `PORTCULLIS_SEED` plays that seed again, and only that.

use std::time::{Duration, Instant};

use crate::needs;
use crate::play::play_random;
use crate::rig::settings::rand;

const STEPS: usize = 200;
/// How long new ones are begun.
const RUN: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn long_random_histories_end_as_the_model_says() {
    needs!("op");
    if let Ok(seed) = std::env::var("PORTCULLIS_SEED") {
        play_random(seed.parse().unwrap(), STEPS).await;
        return;
    }
    let began = Instant::now();
    while began.elapsed() < RUN {
        let seed = rand();
        println!("seed {seed}");
        play_random(seed, STEPS).await;
    }
}
