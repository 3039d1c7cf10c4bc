//! The threads that verify messages of SAML: few, and behind everybody else.
//!
//! Strangers may post as many messages as they like, and each costs more than a thousand requests of people who are signed
//! in. So the work has threads of its own, as many as there are processors, and these give way to all others.

use std::any::Any;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::setpriority_process;
use tokio::sync::{Semaphore, oneshot};

use super::login::NotIn;
use super::reasons::BUSY;

/// The time that a message may wait for a thread, and the time that it may take there.
const WAIT: Duration = Duration::from_secs(5);
const VERIFIED: Duration = Duration::from_secs(2);
/// The niceness of the threads: a tenth of what a processor gives to others that want it as well.
const NICENESS: i32 = 10;

type SamlJob = Box<dyn FnOnce() + Send>;

/// The threads, which begin with the first message.
pub(super) struct SamlThreads {
    /// As many turns as there are threads: a job that is handed over is begun at once.
    turns: Arc<Semaphore>,
    count: usize,
    jobs: OnceLock<Sender<SamlJob>>,
}

impl Default for SamlThreads {
    fn default() -> Self {
        let count = std::thread::available_parallelism().map_or(2, NonZero::get);
        Self { turns: Arc::new(Semaphore::new(count)), count, jobs: OnceLock::new() }
    }
}

impl SamlThreads {
    /// Runs work of SAML on one of the threads. Work that takes too long is left to its end, and its outcome thrown away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotIn> {
        let turn = tokio::time::timeout(WAIT, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(NotIn::busy(BUSY, "too many messages of SAML are verified at once"));
        };
        let (tell, told) = oneshot::channel();
        let job: SamlJob = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_words(&*panic));
            drop(turn);
            let _ = tell.send(outcome);
        });
        let jobs = self.jobs.get_or_init(|| start_threads(self.count));
        let failed =
            |why: &str| NotIn::busy(BUSY, &format!("a message of SAML could not be verified: {why}"));
        jobs.send(job).map_err(|_| failed("its threads are gone"))?;
        match tokio::time::timeout(VERIFIED, told).await {
            Ok(Ok(Ok(outcome))) => Ok(outcome),
            Ok(Ok(Err(panic))) => Err(failed(&panic)),
            Ok(Err(_)) => Err(failed("its thread is gone")),
            Err(_) => Err(NotIn::busy(BUSY, "a message of SAML was not verified within 2 s")),
        }
    }
}

fn panic_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(|s| &**s));
    text.unwrap_or("a panic").to_owned()
}

/// Starts the threads; they end once nobody can hand them a job any more.
fn start_threads(count: usize) -> Sender<SamlJob> {
    let (jobs, taken) = channel();
    let taken = Arc::new(Mutex::new(taken));
    for _ in 0..count {
        let taken = taken.clone();
        let started =
            std::thread::Builder::new().name("saml".to_owned()).spawn(move || run_jobs(&taken)).map(drop);
        if let Err(error) = started {
            tracing::error!(%error, "a thread for SAML could not be started");
        }
    }
    jobs
}

fn run_jobs(taken: &Mutex<Receiver<SamlJob>>) {
    if let Err(error) = setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread for SAML has the priority of all others");
    }
    loop {
        let job = taken.lock().recv();
        let Ok(job) = job else { return };
        job();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use super::*;

    #[tokio::test]
    async fn work_runs_behind_everybody_else_and_a_panic_costs_one_message() {
        let threads = SamlThreads::default();
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(threads.run(nice).await.ok(), Some(before.max(NICENESS)));
        assert_eq!(nice(), before, "nobody else's priority changes");
        for _ in 0..threads.count + 1 {
            let failed: NotIn = threads
                .run(|| -> () { resume_unwind(Box::new("a fault of a library")) })
                .await
                .err()
                .unwrap();
            assert!(failed.text.contains("a fault of a library"), "{}", failed.text);
        }
        assert_eq!(threads.run(|| 7).await.ok(), Some(7));
    }
}
