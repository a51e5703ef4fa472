//! A store that is installed and serves.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use holdfast_e2e::kubernetes::{NAMESPACE, PATIENCE, Pod};
use holdfast_e2e::suite::note;
use holdfast_e2e::{runtime, wait};

use crate::shared::{OPERATOR, SAMPLE, Shared};

/// The promise: from the first `kubectl apply` to a store of which all members are ready.
const READY_MAX: Duration = Duration::from_secs(15);

pub(crate) fn installed(shared: &mut Shared) -> anyhow::Result<()> {
    let begin = Instant::now();
    shared.kubernetes.apply_file(OPERATOR)?;
    // The API server needs a moment before it knows a new kind.
    wait::until("the sample is taken", PATIENCE, || shared.kubernetes.apply_file(SAMPLE))?;
    let (pods, _) = shared.settled()?;
    wait::until("the store says that it is ready", PATIENCE, || {
        let ready = shared.condition("Ready")?;
        ensure!(ready["status"] == "True", "{ready}");
        Ok(())
    })?;
    let took = begin.elapsed();
    note(format_args!("from the first apply to all Ready: {took:.1?}"));
    let mut nodes = pods.iter().map(Pod::node).collect::<anyhow::Result<Vec<_>>>()?;
    nodes.sort_unstable();
    ensure!(nodes == [0, 1, 2], "the members run on the nodes {nodes:?}");
    shared.columns_are_true(3)?;
    ensure!(took <= READY_MAX, "it took {took:?}");
    Ok(())
}

pub(crate) fn written_here_read_there(shared: &mut Shared) -> anyhow::Result<()> {
    let (pods, _) = shared.settled()?;
    for writer in &pods {
        let revision = shared.put(writer, "greeting", writer.name())?;
        for reader in &pods {
            let read = runtime().block_on(shared.http.get(&reader.base(), "greeting"))?;
            let written = Some((writer.name().to_owned().into(), revision));
            ensure!(read == written, "{} reads {read:?} after {written:?}", reader.name());
        }
    }
    Ok(())
}

pub(crate) fn invalid_refused(shared: &mut Shared) -> anyhow::Result<()> {
    for (spec, words) in [
        ("{replicas: 3, strategy: Baseline}", "replicas: 1"),
        ("{replicas: 3, strategy: Hybrid, durability: Memory}", "Hybrid"),
        ("{replicas: 1, consensus: InSync}", "InSync"),
        ("{replicas: 3, heartbeat: {interval: 100ms, timeout: 200ms}}", "timeout"),
        ("{replicas: 8}", "7"),
        ("{replicas: 3, replicaz: 3}", "replicaz"),
    ] {
        let metadata = format!("{{name: wrong, namespace: {NAMESPACE}}}");
        let manifest = format!(
            "apiVersion: holdfast.dev/v1alpha1\nkind: ReplicatedStore\nmetadata: {metadata}\nspec: {spec}\n"
        );
        refused(shared.kubernetes.apply(&manifest), spec, words)?;
    }
    for (patch, words) in [
        (r#"{"spec":{"storage":{"size":"1Mi"}}}"#, "shrink"),
        (r#"{"spec":{"durability":"Memory"}}"#, "durability"),
    ] {
        refused(shared.patch(patch), patch, words)?;
    }
    Ok(())
}

fn refused(answer: anyhow::Result<String>, what: &str, words: &str) -> anyhow::Result<()> {
    let Err(error) = answer else { bail!("{what} is taken") };
    ensure!(format!("{error:#}").contains(words), "{words:?} is missing in: {error:#}");
    Ok(())
}
