//! What the project's commands do: code generation, checks, the test cluster.
