//! What the service manager is told, in its order: it waits for a start, a reload and an end by these words.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::rig::application::Application;
use crate::rig::program::{MANAGER, Program};
use crate::rig::settings::Settings;

/// The next message; the bound is a net.
async fn next(manager: &UnixDatagram) -> String {
    let manager = manager.try_clone().unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let received = tokio::task::spawn_blocking(move || {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).into_owned()
    });
    received.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_a_reload_and_an_end_are_told() {
    let app = Application::start().await;
    let mut program = Program::install(Settings::new(app.address));
    let manager = UnixDatagram::bind(program.folder().join(MANAGER)).unwrap();
    program.begin().await;
    assert_eq!(next(&manager).await, "READY=1\nSTATUS=Serves");

    // Taken or not, a reload has an end.
    for good in [true, false] {
        if !good {
            program.settings.more = "nonsense: 1\n".to_owned();
            program.write();
        }
        assert_eq!(program.hang_up().await, good);
        let began = next(&manager).await;
        assert!(began.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{began}");
        assert_eq!(next(&manager).await, "READY=1\nSTATUS=Serves");
    }
    program.signal(Signal::TERM);
    assert_eq!(next(&manager).await, "STOPPING=1\nSTATUS=Lets end what is in flight");
    assert!(program.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_is_told_by_whoever_was_the_main_process() {
    let app = Application::start().await;
    let mut program = Program::install(Settings::new(app.address));
    let manager = UnixDatagram::bind(program.folder().join(MANAGER)).unwrap();
    program.begin().await;
    assert_eq!(next(&manager).await, "READY=1\nSTATUS=Serves");
    let before = program.upgrade().await;
    assert_eq!(next(&manager).await, format!("MAINPID={}\nREADY=1\nSTATUS=Serves", program.pid()));
    // It speaks for itself from there on, and the other one says nothing.
    assert_eq!(next(&manager).await, "READY=1\nSTATUS=Serves");
    before.is_gone().await;
    program.signal(Signal::TERM);
    assert_eq!(next(&manager).await, "STOPPING=1\nSTATUS=Lets end what is in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_under_way_ends_before_the_program_does() {
    let app = Application::start().await;
    let mut program = Program::install(Settings::new(app.address));
    let manager = UnixDatagram::bind(program.folder().join(MANAGER)).unwrap();
    let fifo = program.folder().join("gate");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    program.begin().await;
    assert_eq!(next(&manager).await, "READY=1\nSTATUS=Serves");

    program.settings.upstream = format!(
        "\n  url: http://{}\n  secret_header:\n    name: X-Gate\n    value: ${{run:cat {}}}\n",
        app.address,
        fifo.display()
    );
    program.write();
    program.signal(Signal::HUP);
    assert!(next(&manager).await.starts_with("RELOADING=1\n"));
    program.signal(Signal::TERM);
    assert!(next(&manager).await.starts_with("STOPPING=1\n"));
    // Its command speaks only now.
    let mut speaks = Command::new("timeout");
    speaks.args(["20", "sh", "-c", "echo 0123456789abcdef0123456789abcdef >\"$0\""]).arg(&fifo);
    let spoke = tokio::task::spawn_blocking(move || speaks.status());
    assert!(spoke.await.unwrap().unwrap().success());
    assert!(program.ended().await.success());
    program.logged(&["the configuration is in force, on everything that runs"]).await;
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 16]).is_err(), "what leaves is not ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_tells_nothing_and_a_manager_that_is_gone_holds_up_none() {
    let app = Application::start().await;
    let mut program = Program::install(Settings::new(app.address));
    let manager = UnixDatagram::bind(program.folder().join(MANAGER)).unwrap();
    program.settings.more = "nonsense: 1\n".to_owned();
    program.write();
    assert!(program.try_begin().await.is_err());
    manager.set_nonblocking(true).unwrap();
    assert!(manager.recv(&mut [0; 16]).is_err());
    drop(manager);
    program.settings.more = String::new();
    program.write();
    program.begin().await;
    program.logged(&["the service manager (NOTIFY_SOCKET) cannot be told"]).await;
}
