# What can be done here. The logic is in xtask/.

# List the verbs.
default:
    @just --list

# Every test: unit, simulation, processes, Prometheus, Kubernetes. `just test unit` runs only the first two.
test *kinds:
    cargo xtask test {{kinds}}

# Formatting, warnings, dependencies.
lint:
    cargo xtask lint

# What continuous integration runs.
ci:
    .ci/run

# The three-member sample on this machine.
up *arguments:
    cargo run --release --bin holdfast -- up -f manifests/store-three-members.yaml {{arguments}}

# Whole clusters under faults, for so many minutes.
soak minutes="10":
    cargo run --release -p holdfast-sim -- --minutes {{minutes}}

# Holdfast and its peers side by side, into docs/performance/. `just bench --quick` takes three minutes.
bench *arguments:
    cargo run --release -p holdfast-bench -- {{arguments}}

# Mutated bytes for one fuzz target or all of them, so many minutes each.
fuzz target="all" minutes="10":
    cargo run --release -p holdfast-fuzz -- {{target}} --minutes {{minutes}}

# A real Kubernetes of three nodes: build, up, down, kubectl, helm, cut, restore, kill, start.
cluster *arguments:
    cargo xtask cluster {{arguments}}

# The container images, from programs compiled with --release.
image:
    cargo build --release --bin holdfast-operator --bin holdfast-sidecar --bin holdfast-lab --bin holdfast-chat
    cargo xtask image
