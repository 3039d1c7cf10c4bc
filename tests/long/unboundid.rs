//! UnboundID's Java client through a life: it sends bodies in chunks without a length, and goes on with no resource whose
//! `meta.location` is not below the base URL. At each step that takes access away the person holds a WebSocket.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::needs;
use crate::rig::peer;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

const NAME: &str = "ona@corp.test";

/// The client: a word in, a line out. It ends with its standard input.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(base: &str, token: &str) -> Self {
        let folder = peer::cache().join("unboundid");
        let mut child = Command::new("java")
            .arg("-cp")
            .arg(format!("{0}:{0}/lib/*", folder.display()))
            .args(["Life", base])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut client = Self { child, input, output };
        client.write(token);
        client
    }

    fn write(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Says a word and reads the answer.
    fn say(&mut self, words: &str) -> String {
        self.write(words);
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn says(&mut self, words: &str, wanted: &str) {
        let said = self.say(words);
        assert_eq!(said, wanted, "{words}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unboundids_client_lives_a_life() {
    needs!("unboundid");
    let mut stage = Stage::seeded(
        |settings| {
            // It wants the resource back from every PATCH.
            settings.groups_answer = "200";
            settings.bindings = Some(
                "version: 1\nroles: [app.ops]\nconflicts: []\nbindings:\n  - group: Ops\n    role: app.ops\n"
                    .to_owned(),
            );
            settings.more =
                "routes:\n  - path: /ws\n    allow: [app.ops]\n  - path: /**\n    allow: signed-in\n"
                    .to_owned();
        },
        &[],
    )
    .await;
    let settings = &stage.program.settings;
    let mut client = Client::start(&settings.scim_base(), &settings.scim_token);
    client.says("discover", "true 3 2");
    client.says(&format!("find {NAME}"), "0");
    let id = client.say(&format!("create {NAME}"));
    assert_eq!(stage.directory.read(&id).await.json()["userName"], NAME, "{id}");
    let again = client.say(&format!("create {NAME}"));
    assert!(again.contains("must be unique"), "{again}");
    client.says(&format!("find {NAME}"), "1");
    let visitor = stage.another_session(NAME).await;
    // The program was restarted: what the client kept open is noticed by a request that it repeats by itself.
    client.says("discover", "true 3 2");
    client.says("update", "Boss");
    let group = client.say("group Ops");
    assert_eq!(stage.directory.read(&id).await.json()["title"], "Boss");
    client.says("join", "done");
    let now = stage.directory.read(&id).await.json();
    assert_eq!(now["groups"][0]["value"], group.as_str());

    cuts(&stage, &visitor, &mut client, "leave", "done").await;
    assert_eq!((visitor.status("/").await, visitor.socket("/ws").await.err()), (200, Some(403)));
    client.says("join", "done");
    cuts(&stage, &visitor, &mut client, "deactivate", "false").await;
    assert_eq!(visitor.status("/").await, 401);
    client.says("reactivate", "true");
    assert_eq!(visitor.status("/").await, 401, "who comes back signs in anew");
    let visitor = stage.another_session(NAME).await;
    // The program was restarted: what the client kept open is noticed by a request that it repeats by itself.
    client.says("discover", "true 3 2");
    cuts(&stage, &visitor, &mut client, "delete", "done").await;
    assert_eq!(visitor.status("/").await, 401);
    client.says(&format!("find {NAME}"), "0");
    let again = client.say("delete");
    assert!(again.contains("there is no User"), "{again}");
}

/// Holds a WebSocket while a word is carried out: what is written after the answer never arrives.
async fn cuts(stage: &Stage, visitor: &Visitor, client: &mut Client, word: &str, wanted: &str) {
    let mut socket = visitor.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    tokio::task::block_in_place(|| client.says(word, wanted));
    let mark = format!("written-after-{word}");
    stage.app.mark(&mark).await;
    assert!(!socket.read_out().await.contains(&mark), "{word}");
}
