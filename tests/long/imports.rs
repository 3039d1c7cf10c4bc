//! Promise 4 for imports, at length: killed twenty times in the middle of files of fifty thousand people.

use crate::rig::import_crash::{Crash, survive_kills};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_in_the_middle_of_imports_of_fifty_thousand_leave_whole_people() {
    survive_kills(Crash { people: 50_000, kills: 20 }).await;
}
