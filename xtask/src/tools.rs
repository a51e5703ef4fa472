//! The programs of the test cluster and of the comparison with other systems that Debian does not have: Kubernetes, etcd,
//! helm, CoreDNS, NATS, built from Go modules whose every version is pinned in `xtask/tools/`. They live outside the
//! checkout, so that several checkouts share them. Nothing but Go modules is fetched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::command;

/// The Kubernetes that is built; `xtask/tools/kubernetes/go.mod` must say the same.
const KUBERNETES: &str = "v1.34.4";

/// A Go module under `xtask/tools/` and the programs that are built from it: package, program.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    folder: &'static str,
    programs: &'static [(&'static str, &'static str)],
}

const KUBERNETES_MODULE: Module = Module {
    folder: "kubernetes",
    programs: &[
        ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
        ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
        ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    ],
};
const ETCD: Module = Module {
    folder: "etcd",
    programs: &[
        ("go.etcd.io/etcd/server/v3", "etcd"),
        ("go.etcd.io/etcd/etcdctl/v3", "etcdctl"),
        ("go.etcd.io/etcd/v3/tools/benchmark", "benchmark"),
    ],
};
const HELM: Module = Module { folder: "helm", programs: &[("helm.sh/helm/v3/cmd/helm", "helm")] };
const COREDNS: Module = Module { folder: "coredns", programs: &[(".", "coredns")] };
const PAUSE: Module = Module { folder: "pause", programs: &[(".", "pause")] };
const NATS: Module =
    Module { folder: "nats", programs: &[("github.com/nats-io/nats-server/v2", "nats-server")] };

/// What the test cluster runs.
pub const CLUSTER: &[Module] = &[KUBERNETES_MODULE, ETCD, HELM, COREDNS, PAUSE];

/// What `bench` compares with, as far as Debian does not have it.
pub const BENCH: &[Module] = &[ETCD, NATS];

/// Where the programs are: `$HOLDFAST_TOOLS`, else the user's cache folder.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("HOLDFAST_TOOLS") {
        return PathBuf::from(folder);
    }
    let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
    home.join(".cache/holdfast-kube/bin")
}

/// Build what is missing of `modules` or was built from other sources, one program at a time. A few minutes the first time.
///
/// # Errors
///
/// If there is no Go, or a build fails.
pub fn ensure(modules: &[Module]) -> anyhow::Result<()> {
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lock = fs::File::create(folder.join(".lock")).context("cannot make the tools' lock")?;
    lock.lock().context("cannot wait for another build of the tools")?;
    for module in modules {
        build(module, &folder).with_context(|| format!("cannot build {}", module.folder))?;
    }
    Ok(())
}

fn build(module: &Module, folder: &Path) -> anyhow::Result<()> {
    let source = crate::checkout().join("xtask/tools").join(module.folder);
    let stamp = folder.join(format!(".{}.stamp", module.folder));
    let wanted = fingerprint(&source)?;
    let fresh = fs::read(&stamp).is_ok_and(|built_from| built_from == wanted);
    if fresh && module.programs.iter().all(|(_, program)| folder.join(program).is_file()) {
        return Ok(());
    }
    if !command::exists("go") {
        bail!("Go is needed to build it, and there is no `go` on the path");
    }
    for (package, program) in module.programs {
        crate::say(format_args!("building {program} from Go modules"));
        let output = folder.join(format!(".{program}.new"));
        let mut go = command::words(["go", "build", "-trimpath", "-ldflags", &link_flags(), "-o"]);
        go.arg(&output).arg(package).current_dir(&source).env("CGO_ENABLED", "0");
        command::capture(&mut go)?;
        // A rename also replaces a program that is running just now.
        fs::rename(&output, folder.join(program))
            .with_context(|| format!("cannot put {program} in place"))?;
    }
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Everything that decides what comes out of a module: its files and the flags. It is compared as it is; a hash would
/// save a few kilobytes and cost a dependency.
fn fingerprint(source: &Path) -> anyhow::Result<Vec<u8>> {
    let mut paths = fs::read_dir(source)
        .with_context(|| format!("cannot list {}", source.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let mut all = link_flags().into_bytes();
    for path in paths {
        all.extend(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(all)
}

/// Kubernetes asks its own binaries for their version when it decides what they may do, so they must know it.
fn link_flags() -> String {
    let mut numbers = KUBERNETES.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let version = "k8s.io/component-base/version";
    format!(
        "-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_told_to_kubernetes_is_the_one_that_is_built() {
        let manifest = crate::checkout().join("xtask/tools/kubernetes/go.mod");
        let manifest = fs::read_to_string(manifest).expect("the module's manifest");
        assert!(manifest.contains(&format!("require k8s.io/kubernetes {KUBERNETES}\n")));
        assert!(link_flags().contains("gitMajor=1 ") && link_flags().ends_with("gitMinor=34"));
    }

    #[test]
    fn every_module_is_there() {
        for module in CLUSTER.iter().chain(BENCH) {
            let folder = crate::checkout().join("xtask/tools").join(module.folder);
            assert!(folder.join("go.mod").is_file(), "{}", folder.display());
        }
    }
}
