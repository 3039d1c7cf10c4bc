//! Promise 4, two hundred times: killed right behind the answer, started again, still out.

use crate::rig::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_crashes_right_behind_the_answer_bring_nobody_back() {
    let people: Vec<String> = (0..200).map(|number| format!("p{number}@corp.test")).collect();
    let names: Vec<&str> = people.iter().map(String::as_str).collect();
    let mut stage = Stage::seeded(|_| {}, &names).await;
    for (round, name) in names.iter().enumerate() {
        let mut socket = stage.visitor(name).socket("/ws").await.unwrap();
        socket.echo("mine").await.unwrap();
        if round % 2 == 0 {
            stage.directory.deactivate(stage.id(name)).await;
        } else {
            assert_eq!(stage.directory.delete(stage.id(name)).await, 204);
        }
        stage.program.kill();
        stage.program.begin().await;
        socket.read_out().await;
        for out in &names[..=round] {
            assert_eq!(stage.visitor(out).status("/").await, 401, "{out} after crash {round}");
        }
        if let Some(next) = names.get(round + 1) {
            assert_eq!(stage.visitor(next).status("/").await, 200, "{next} after crash {round}");
        }
    }
}
