#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
//! No response makes a library open a file, a socket or a program: the kernel would kill whoever tries.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::cases::{Corpus, read_field};
use portcullis_sso::{SamlExpectations, verify_response};

/// The system calls that open something, by their numbers here (`asm/unistd_64.h`, and the table that newer ones share).
const OPENING: [i64; 12] = [
    2,   // open
    41,  // socket
    42,  // connect
    53,  // socketpair
    57,  // fork
    59,  // execve
    82,  // rename
    85,  // creat
    87,  // unlink
    257, // openat
    322, // execveat
    437, // openat2
];

/// Has the kernel kill this process where this thread opens anything, from now on and for good.
fn forbid_opening() {
    let arch = TargetArch::try_from("x86_64").unwrap();
    let killed = OPENING.iter().map(|call| (*call, Vec::new())).collect();
    let filter = SeccompFilter::new(killed, SeccompAction::Allow, SeccompAction::KillProcess, arch).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[test]
fn no_response_opens_a_file_a_socket_or_a_program() {
    let looked_at = std::thread::spawn(|| {
        let corpus = Corpus::read();
        let fields: Vec<_> = corpus.cases.iter().map(read_field).collect();
        let verify = |index: usize| {
            let (case, field) = (&corpus.cases[index], &fields[index]);
            corpus.with_expectations(case, |expected| {
                let expected = SamlExpectations { ask_engine_always: true, ..*expected };
                let _ = verify_response(field, &expected, &mut Vec::new());
            });
        };
        // The libraries read their own settings when they are used for the first time.
        (0..corpus.cases.len()).filter(|at| corpus.cases[*at]["expect"]["accepted"] == true).for_each(verify);
        println!("{} responses follow; the process dies if one of them opens anything", fields.len());
        forbid_opening();
        (0..fields.len()).for_each(verify);
        fields.len()
    });
    assert!(looked_at.join().unwrap() >= 700);
}

/// That the filter does kill is shown in a process of its own, which is this test again.
#[test]
fn who_opens_a_file_under_the_filter_is_killed() {
    use std::os::unix::process::ExitStatusExt as _;
    const CHILD: &str = "PORTCULLIS_TEST_OPENS_A_FILE";
    if std::env::var_os(CHILD).is_some() {
        forbid_opening();
        let _ = std::fs::read("/etc/hostname");
        return;
    }
    let ended = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_files::who_opens_a_file_under_the_filter_is_killed"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    const SIGSYS: i32 = 31;
    assert_eq!(ended.status.signal(), Some(SIGSYS), "{:?}", ended.status);
}
