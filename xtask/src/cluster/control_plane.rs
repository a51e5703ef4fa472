//! The control plane: certificates, credentials, etcd, API server, controllers, scheduler, DNS. Its users have fixed
//! tokens, because only who is root on this machine can reach it.

use std::fs;
use std::process::Command;

use anyhow::Context as _;

use super::daemon;
use super::layout::{API_ADDRESS, Layout, NAME, NODES, node_name};
use crate::command;

/// The first address of the services' network, which Kubernetes gives to its own API.
const API_SERVICE_ADDRESS: &str = "10.96.0.1";

/// How long a node may be silent before its pods count as lost. Kubernetes' own default is 50 s; tests would wait as long.
const NODE_GRACE: &str = "16s";

/// Who may ask the API server for what: name of the credentials, user, group.
fn users() -> Vec<(String, String, &'static str)> {
    let mut users = vec![
        ("admin".to_owned(), "admin".to_owned(), "system:masters"),
        ("controllers".to_owned(), "system:kube-controller-manager".to_owned(), ""),
        ("scheduler".to_owned(), "system:kube-scheduler".to_owned(), ""),
        ("proxy".to_owned(), "system:kube-proxy".to_owned(), ""),
    ];
    let nodes = (0..NODES).map(node_name);
    users.extend(nodes.map(|node| (node.clone(), format!("system:node:{node}"), "system:nodes")));
    users
}

/// Write certificates, tokens and kubeconfigs.
pub(super) fn prepare(layout: &Layout) -> anyhow::Result<()> {
    certificates(layout).context("cannot make certificates")?;
    let mut tokens = String::new();
    for (name, user, group) in users() {
        tokens += &format!("{name}-token,{user},{name},{group}\n");
        fs::write(layout.kubeconfig(&name), kubeconfig(layout, &name))?;
    }
    fs::write(layout.path("tokens.csv"), tokens)?;
    fs::write(layout.path("resolv.conf"), format!("nameserver {API_ADDRESS}\n"))?;
    fs::write(layout.path("Corefile"), corefile(layout))?;
    Ok(())
}

/// Start the store of the API server and the API server itself; the latter needs a moment until it answers.
pub(super) fn start_api(layout: &Layout) -> anyhow::Result<()> {
    let mut etcd = Command::new(layout.tool("etcd"));
    etcd.arg("--data-dir").arg(layout.path("etcd"));
    // The test's own state may be lost with the machine; waiting for the disk would slow down the tested store.
    etcd.args("--listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 --unsafe-no-fsync".split(' '));
    daemon::start(layout, NAME, "etcd", &etcd)?;

    let mut api = Command::new(layout.tool("kube-apiserver"));
    let file = |option: &str, name: &str| format!("--{option}={}", layout.path(name).display());
    api.args([
        file("cert-dir", "certificates"),
        file("tls-cert-file", "server.crt"),
        file("tls-private-key-file", "server.key"),
        file("token-auth-file", "tokens.csv"),
        file("service-account-key-file", "server.key"),
        file("service-account-signing-key-file", "server.key"),
        format!("--advertise-address={API_ADDRESS}"),
    ]);
    api.args([
        "--etcd-servers=http://127.0.0.1:2379",
        "--secure-port=6443",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        // Nodes' names are not known to any DNS here.
        "--kubelet-preferred-address-types=InternalIP",
    ]);
    daemon::start(layout, NAME, "apiserver", &api)
}

/// Start what needs the API server.
pub(super) fn start_rest(layout: &Layout) -> anyhow::Result<()> {
    let configured = |program: &str, user: &str| {
        let mut command = Command::new(layout.tool(program));
        command.arg(format!("--kubeconfig={}", layout.kubeconfig(user).display()));
        command
    };
    let mut controllers = configured("kube-controller-manager", "controllers");
    controllers.arg(format!("--service-account-private-key-file={}", layout.path("server.key").display()));
    controllers.arg(format!("--root-ca-file={}", layout.path("ca.crt").display()));
    controllers.arg(format!("--node-monitor-grace-period={NODE_GRACE}"));
    controllers.args([
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--node-monitor-period=2s",
    ]);
    daemon::start(layout, NAME, "controllers", &controllers)?;

    let mut scheduler = configured("kube-scheduler", "scheduler");
    daemon::start(layout, NAME, "scheduler", scheduler.arg("--leader-elect=false"))?;

    let mut dns = Command::new(layout.tool("coredns"));
    daemon::start(layout, NAME, "dns", dns.arg("-conf").arg(layout.path("Corefile")))
}

/// One authority and one certificate of it: the API server's, whose key also signs service accounts' tokens.
fn certificates(layout: &Layout) -> anyhow::Result<()> {
    let request = |subject: &str, name: &str| {
        let mut openssl =
            command::words(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"]);
        openssl.args(["-subj", subject, "-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
        openssl.current_dir(&layout.folder);
        openssl
    };
    command::capture(&mut request("/CN=holdfast-test-authority", "ca"))?;
    let names = "DNS:localhost,DNS:kubernetes.default,DNS:kubernetes.default.svc";
    let names = format!("subjectAltName={names},IP:127.0.0.1,IP:{API_ADDRESS},IP:{API_SERVICE_ADDRESS}");
    let mut server = request("/CN=kube-apiserver", "server");
    server.args(["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", &names]);
    // Strict clients refuse an authority's certificate at a server.
    server.args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"]);
    command::capture(&mut server)?;
    Ok(())
}

fn kubeconfig(layout: &Layout, name: &str) -> String {
    let authority = layout.path("ca.crt");
    let authority = authority.display();
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: holdfast
  cluster: {{server: \"https://{API_ADDRESS}:6443\", certificate-authority: {authority}}}
users:
- name: me
  user: {{token: {name}-token}}
contexts:
- name: holdfast
  context: {{cluster: holdfast, user: me}}
current-context: holdfast
"
    )
}

fn corefile(layout: &Layout) -> String {
    let kubeconfig = layout.kubeconfig("admin");
    let kubeconfig = kubeconfig.display();
    format!(
        ".:53 {{
  bind {API_ADDRESS}
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
  cache 1
}}
"
    )
}
