//! What the files of `examples/` for Docker Compose and Kubernetes say, beside the configuration that they run: nothing
//! leads around the program, and whoever ends it waits for as long as it may take.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portcullis_config::{Environment, Loaded, load_text};
use serde_json::Value;

use crate::needs;
use crate::rig::peer;
use crate::rig::shape::{examples, read_example};
use crate::rig::shipped::printed;

/// Beside `stop_grace`: the last lines of a log, and the database.
const MORE_THAN_GRACE: u64 = 20;

fn compose() -> Value {
    serde_saphyr::from_str(&read_example("compose/compose.yaml")).unwrap()
}

/// The manifests of one kind, in their order.
fn manifests(kind: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(&read_example("kubernetes/wiki.yaml")).unwrap();
    all.into_iter().filter(|manifest| manifest["kind"] == kind).collect()
}

/// The only manifest of a kind.
fn manifest(kind: &str) -> Value {
    let [only] =
        manifests(kind).try_into().unwrap_or_else(|found: Vec<_>| panic!("{} of {kind}", found.len()));
    only
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Loads a configuration as a start does, its secrets from elsewhere.
fn load(text: &str, secrets: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    for name in ["oidc", "scim", "master-key"] {
        write(name, &"0123456789abcdef".repeat(4));
    }
    let text = text.replace(secrets, &folder.path().display().to_string());
    let environment = Environment::with_variables([("HOME", "/home/nora")]);
    load_text(Path::new("portcullis.yaml"), text.as_bytes(), &environment)
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// What a ConfigMap holds, loaded.
fn loaded_of_kubernetes() -> Loaded {
    let map = manifest("ConfigMap");
    load(map["data"]["portcullis.yaml"].as_str().unwrap(), "/run/secrets/portcullis")
}

/// The file for Compose as docker compose's own library understands it.
fn compose_as_loaded() -> Value {
    let mut load = Command::new(peer::cache().join("compose/load"));
    load.arg(examples().join("compose/compose.yaml"));
    serde_json::from_str(&printed(&mut load)).unwrap()
}

#[test]
fn compose_is_read_by_the_library_of_docker_compose_as_it_is_read_here() {
    needs!("compose");
    let (here, there) = (compose(), compose_as_loaded());
    let (gate, loaded) = (&here["services"]["portcullis"], &there["services"]["portcullis"]);
    for key in ["image", "user", "read_only", "cap_drop", "security_opt", "tmpfs", "ulimits"] {
        assert!(!gate[key].is_null(), "{key}");
        assert_eq!(gate[key], loaded[key], "{key}");
    }
    assert_eq!(gate["healthcheck"]["test"], loaded["healthcheck"]["test"]);
    assert_eq!(loaded["stop_grace_period"], "1m0s");
    let published: BTreeSet<String> = loaded["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| format!("{}:{}", port["published"].as_str().unwrap(), port["target"]))
        .collect();
    assert_eq!(published, texts(&gate["ports"]).iter().map(|port| (*port).to_owned()).collect());
    assert!(there["services"]["app"]["ports"].is_null());
    assert_eq!(there["networks"]["inside"]["internal"], true);
    let granted: Vec<&str> =
        loaded["secrets"].as_array().unwrap().iter().map(|one| one["target"].as_str().unwrap()).collect();
    assert_eq!(
        granted,
        texts(&gate["secrets"]).iter().map(|name| format!("/run/secrets/{name}")).collect::<Vec<_>>()
    );
}

/// The versions that the manifests are for: the oldest that the README names, and the newest whose schemas are there.
#[test]
fn kubernetes_finds_nothing_wrong_with_the_manifests() {
    needs!("kubernetes");
    let readme = read_example("kubernetes/README.md");
    let oldest = readme.split_once("Kubernetes 1.").unwrap().1.split(' ').next().unwrap();
    let judge = |more: &[&str]| {
        let mut validate = Command::new(peer::cache().join("kubernetes/bin/kubernetes-validate"));
        validate.args(["--strict", "--no-warn"]).args(more).arg(examples().join("kubernetes/wiki.yaml"));
        let output = validate.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        (output.status.success(), said)
    };
    for more in [&["-k", &*format!("1.{oldest}")][..], &[]] {
        let (is_fine, said) = judge(more);
        assert!(is_fine && said.matches(" passed for resource ").count() == 6, "{said}");
    }
    // A node that is older does not know how to sleep.
    assert!(!judge(&["-k", "1.28"]).0);
}

#[test]
fn compose_publishes_no_port_of_the_application() {
    let said = compose();
    let (app, gate) = (&said["services"]["app"], &said["services"]["portcullis"]);
    for way in ["ports", "network_mode", "privileged", "links"] {
        assert!(app[way].is_null(), "{way}");
    }
    assert_eq!(texts(&app["networks"]), ["inside"]);
    assert_eq!(said["networks"]["inside"]["internal"], true, "nothing outside reaches that network");
    assert_eq!(texts(&gate["networks"]), ["inside", "outside"]);
    assert!(texts(&gate["depends_on"]).contains(&"app"), "what begins last ends first");
    for (name, network) in said["networks"].as_object().unwrap() {
        let services = said["services"].as_object().unwrap().values();
        let there = services.filter(|service| texts(&service["networks"]).contains(&name.as_str())).count();
        assert!(there > 0 && (network["internal"] == true || there == 1), "{name}");
    }
}

#[test]
fn compose_runs_what_the_configuration_says() {
    let said = compose();
    let gate = &said["services"]["portcullis"];
    let text = read_example("compose/portcullis.yaml");
    let of: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(of["upstream"], "http://app:3000", "the application by the name of its service");
    let inside: BTreeSet<&str> =
        texts(&gate["ports"]).iter().map(|port| port.rsplit_once(':').unwrap().1).collect();
    let port = |address: &Value| address.as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let listening = [
        port(&of["listen"]["proxy"]["address"]),
        port(&of["listen"]["proxy"]["redirect"]),
        port(&of["listen"]["scim"]["address"]),
    ];
    assert_eq!(inside, listening.iter().map(String::as_str).collect(), "health is published to nobody");
    // Every secret is granted and has a file, and no other is.
    let mut asked: Vec<&str> =
        text.split("${file:/run/secrets/").skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
    let mut granted = texts(&gate["secrets"]);
    asked.sort_unstable();
    granted.sort_unstable();
    assert_eq!(asked, granted);
    assert!(granted.iter().all(|name| said["secrets"][name]["file"].is_string()));
    let mounted = texts(&gate["volumes"]);
    let target = |mount: &str| mount.split(':').nth(1).unwrap().to_owned();
    let targets: Vec<String> = mounted.iter().map(|mount| target(mount)).collect();
    for needed in ["/etc/portcullis/portcullis.yaml", "/etc/portcullis/tls", of["state"].as_str().unwrap()] {
        assert!(targets.iter().any(|target| target == needed), "{needed}");
    }
    let health = texts(&gate["healthcheck"]["test"]);
    assert!(health.contains(&&*format!("--state={}", of["state"].as_str().unwrap())), "{health:?}");
    let wait: u64 = gate["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap();
    assert!(of["stop_grace"].is_null() && wait >= 30 + MORE_THAN_GRACE, "{wait}");
    // The image is that user's, and the folder of the state in it too.
    let image = read_example("compose/Dockerfile");
    let user = gate["user"].as_str().unwrap();
    assert!(image.contains(&format!("USER {user}")));
    let (uid, gid) = user.split_once(':').unwrap();
    assert!(image.contains(&format!("-o {uid} -g {gid} -m 0700 {}", of["state"].as_str().unwrap())));
}

/// The number of a port that a manifest names or writes.
fn port_number(container: &Value, port: &Value) -> u64 {
    port.as_u64().unwrap_or_else(|| {
        let ports = container["ports"].as_array().unwrap();
        let named = ports.iter().find(|one| one["name"] == *port);
        named.unwrap_or_else(|| panic!("no port is called {port}"))["containerPort"].as_u64().unwrap()
    })
}

#[test]
fn kubernetes_asks_where_the_program_answers() {
    let loaded = loaded_of_kubernetes();
    assert_eq!(loaded.warnings, []);
    let listen = &loaded.file.listen;
    let pod = &manifest("StatefulSet")["spec"]["template"]["spec"];
    let gate = &pod["containers"][0];
    assert_eq!(gate["name"], "portcullis");
    let health = u64::from(listen.health.address.port());
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let asked = &gate[probe]["httpGet"];
        assert_eq!(
            (&asked["path"], port_number(gate, &asked["port"])),
            (&Value::from(path), health),
            "{probe}"
        );
    }
    // A node asks the pod's address, so that one has to be listened on.
    for address in [listen.proxy.address, listen.scim.address, listen.health.address] {
        assert!(address.ip().is_unspecified(), "{address}");
    }
    let services = manifests("Service");
    let of_port = |port: u64| {
        let has_it = |service: &&Value| port_number(gate, &service["spec"]["ports"][0]["targetPort"]) == port;
        services.iter().find(has_it).unwrap()
    };
    assert!(services.iter().all(|service| service["spec"]["ports"].as_array().unwrap().len() == 1));
    assert!(of_port(listen.proxy.address.port().into())["spec"]["publishNotReadyAddresses"].is_null());
    let scim = of_port(listen.scim.address.port().into());
    assert_eq!(scim["spec"]["publishNotReadyAddresses"], true, "the directory is heard while it drains");
}

#[test]
fn kubernetes_waits_for_as_long_as_a_drain_may_take() {
    let loaded = loaded_of_kubernetes();
    let set = manifest("StatefulSet");
    let pod = &set["spec"]["template"]["spec"];
    let gate = &pod["containers"][0];
    // By the node: the image has no program that sleeps.
    let before = gate["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let wait = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    let needed = Duration::from_secs(before + MORE_THAN_GRACE) + loaded.file.stop_grace;
    assert!(before > 0 && wait >= needed, "{wait:?} of {needed:?}");
    // The application is there for as long: it is begun first and ended last.
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    assert_eq!(pod["initContainers"][0]["restartPolicy"], "Always");
    // One process has the state.
    assert_eq!(set["spec"]["replicas"], 1);
    assert_eq!(
        set["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"],
        serde_json::json!(["ReadWriteOncePod"])
    );
    let mounts = gate["volumeMounts"].as_array().unwrap();
    let state = mounts.iter().find(|mount| mount["name"] == "state").unwrap();
    // A folder below it, since the root of a volume is not the program's own.
    assert!(loaded.file.state.parent().unwrap() == Path::new(state["mountPath"].as_str().unwrap()));
}

#[test]
fn kubernetes_closes_the_way_around() {
    let loaded = loaded_of_kubernetes();
    let (host, app) = loaded.file.upstream.url.tcp().unwrap();
    assert_eq!(host.host(), "127.0.0.1");
    let app = u64::from(app);
    let set = manifest("StatefulSet");
    let pod = &set["spec"]["template"];
    let init = &pod["spec"]["initContainers"][0];
    assert!(init["ports"].is_null(), "no port of the application is named");
    assert!(
        texts(&init["args"]).iter().any(|word| word.ends_with(&format!("127.0.0.1:{app}"))),
        "it listens there alone"
    );
    let policy = manifest("NetworkPolicy");
    let policy = &policy["spec"];
    assert_eq!(texts(&policy["policyTypes"]), ["Ingress"]);
    let labels = pod["metadata"]["labels"].as_object().unwrap();
    for (label, value) in policy["podSelector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(labels[label], *value, "it is about these pods");
    }
    let listen = &loaded.file.listen;
    let ours =
        [listen.proxy.address, listen.scim.address, listen.health.address].map(|at| u64::from(at.port()));
    let mut open = BTreeSet::new();
    for rule in policy["ingress"].as_array().unwrap() {
        assert!(!rule["from"].as_array().unwrap().is_empty(), "nobody is let in by being unnamed");
        for port in rule["ports"].as_array().unwrap() {
            assert!(port["endPort"].is_null());
            open.insert(port["port"].as_u64().unwrap());
        }
    }
    assert_eq!(open, ours.into(), "what is open is what the program listens on");
    assert!(!open.contains(&app));
    // Nothing else leads there either.
    let gate = &pod["spec"]["containers"][0];
    for service in manifests("Service") {
        assert_ne!(port_number(gate, &service["spec"]["ports"][0]["targetPort"]), app);
    }
    assert!(pod["spec"]["hostNetwork"].is_null());
}
