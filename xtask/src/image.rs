//! Container images, built without a daemon and without a registry: Debian's `buildah` runs the project's own
//! `Containerfile` on binaries that were compiled here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::{checkout, command, packages, tools};

/// The image of every pod's first process. It has the name of Kubernetes' own, which waits just the same, so that samples
/// which use that run here too.
pub const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10";

/// Where the product's images are published, and so the names that its manifests ask for.
const REGISTRY: &str = "ghcr.io/holdfast-dev";

/// The product's images: targets of the `Containerfile`. Each holds the one program `holdfast-TARGET`.
const TARGETS: [&str; 4] = ["chat", "lab", "operator", "sidecar"];

/// What `cargo xtask image` is told.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder with the compiled programs.
    #[arg(long, default_value = "target/release")]
    binaries: PathBuf,
}

/// An image in a file.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name, as a pod asks for it.
    pub name: String,
    /// The file.
    pub archive: PathBuf,
}

/// Build all images and say where they are.
///
/// # Errors
///
/// See [`build`].
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    packages::ensure(packages::CLUSTER)?;
    for image in build(&arguments.binaries)? {
        crate::say(format_args!("{} is in {}", image.name, image.archive.display()));
    }
    Ok(())
}

/// Build all images from the programs in `binaries`, stripped of what only a debugger reads.
///
/// # Errors
///
/// If a program is missing, or the image builder fails.
pub fn build(binaries: &Path) -> anyhow::Result<Vec<Image>> {
    let folder = folder();
    // The builder keeps every layer that it ever made; none of them is worth keeping.
    for old in ["storage", "context", "base"] {
        if folder.join(old).exists() {
            fs::remove_dir_all(folder.join(old)).with_context(|| format!("cannot remove the old {old}"))?;
        }
    }
    let context = folder.join("context");
    fs::create_dir_all(&context).context("cannot make the images' folder")?;
    let programs = TARGETS.map(|target| format!("holdfast-{target}"));
    for program in &programs {
        strip(&binaries.join(program), &context.join(program))?;
    }
    let base = base(&folder.join("base"), &programs.each_ref().map(|program| context.join(program)))?;
    let version = env!("CARGO_PKG_VERSION");
    let mut images = Vec::new();
    for (target, program) in TARGETS.iter().zip(&programs) {
        let archive = folder.join(format!("{program}.tar"));
        let image = Image { name: format!("{REGISTRY}/{program}:{version}"), archive };
        let mut bud = buildah(&["bud", "--isolation=chroot", "--pull-never", "--layers=false"]);
        bud.arg(format!("--target={target}")).arg(format!("--build-arg=BASE={base}"));
        bud.arg(format!("--build-arg=VERSION={version}"));
        bud.arg(format!("--file={}", checkout().join("Containerfile").display()));
        bud.arg(format!("--tag={}", image.name)).arg(&context);
        command::capture(&mut bud).with_context(|| format!("cannot build the image {target}"))?;
        save(&image)?;
        images.push(image);
    }
    Ok(images)
}

/// Build the image of every pod's first process, if its file is not there.
///
/// # Errors
///
/// If the image builder fails.
pub fn ensure_pause() -> anyhow::Result<()> {
    let (program, archive) = (tools::folder().join("pause"), pause_archive());
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    if time(&archive).is_ok_and(|built| time(&program).is_ok_and(|program| program < built)) {
        return Ok(());
    }
    let container = from_nothing()?;
    run_buildah(&["copy", &container, &program.to_string_lossy(), "/pause"])?;
    run_buildah(&["config", "--entrypoint", "[\"/pause\"]", "--user", "65532", &container])?;
    run_buildah(&["commit", "--rm", &container, PAUSE_IMAGE])?;
    save(&Image { name: PAUSE_IMAGE.to_owned(), archive })
}

/// The file with the image of every pod's first process.
pub fn pause_archive() -> PathBuf {
    tools::folder().join("pause.tar")
}

/// The smallest root in which the programs run: the libraries of this machine that they load, and nothing else. A
/// registry's `distroless` images hold the same; this one needs no registry.
fn base(root: &Path, programs: &[PathBuf]) -> anyhow::Result<String> {
    fs::create_dir_all(root.join("etc")).context("cannot make the base")?;
    for program in programs {
        let libraries = command::capture(command::words(["ldd"]).arg(program))?;
        let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        for library in paths {
            let copy = root.join(&library[1..]);
            fs::create_dir_all(copy.parent().expect("a file's folder")).context("cannot make the base")?;
            fs::copy(library, copy).with_context(|| format!("cannot copy {library}"))?;
        }
    }
    let name = "localhost/holdfast-base:local";
    let container = from_nothing()?;
    run_buildah(&["copy", &container, &root.to_string_lossy(), "/"])?;
    run_buildah(&["commit", "--rm", &container, name])?;
    Ok(name.to_owned())
}

fn from_nothing() -> anyhow::Result<String> {
    Ok(run_buildah(&["from", "scratch"])?.trim().to_owned())
}

/// Write an image that was built into its file.
fn save(image: &Image) -> anyhow::Result<()> {
    // The builder adds to a file that is there.
    let _ = fs::remove_file(&image.archive);
    let to = format!("docker-archive:{}:{}", image.archive.display(), image.name);
    run_buildah(&["push", "--quiet", &image.name, &to])?;
    Ok(())
}

fn strip(program: &Path, into: &Path) -> anyhow::Result<()> {
    let mut strip = command::words(["strip", "-o"]);
    command::capture(strip.arg(into).arg(program))
        .with_context(|| format!("cannot strip {}", program.display()))?;
    Ok(())
}

fn run_buildah(arguments: &[&str]) -> anyhow::Result<String> {
    command::capture(&mut buildah(arguments))
}

/// The storage lies in the build folder, so that nothing piles up in the machine's own.
fn buildah(arguments: &[&str]) -> std::process::Command {
    let storage = folder().join("storage");
    let mut buildah = command::words(["buildah", "--storage-driver=vfs"]);
    buildah.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run")).args(arguments);
    buildah
}

fn folder() -> PathBuf {
    checkout().join("target/image")
}
