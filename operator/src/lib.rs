//! Reconciles ReplicatedStore resources into Kubernetes objects.
