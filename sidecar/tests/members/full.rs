//! A member whose disk is full: it goes on, refuses what makes it larger, and takes it again when there is space.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_sidecar::core::{Consistency, Failure, RefusalCode};
use holdfast_sidecar::member::{Member, MemberOptions};
use holdfast_store::{Command, Expect, Operation};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tokio::net::TcpListener;

use crate::cluster::{Cluster, PATIENCE, get, put, write};

/// Room for some segments and checkpoints.
const DISK_BYTES: u64 = 4 * 1024 * 1024;

/// A file system in memory that ends with the mount.
struct Small(tempfile::TempDir);

impl Small {
    /// Nothing if this process may not mount.
    fn mount() -> Option<Small> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let size = CString::new(format!("size={DISK_BYTES}")).expect("no zero");
        let mounted = mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), size.as_c_str());
        if let Err(error) = mounted {
            assert!(std::env::var_os("CI").is_none(), "left out, because nothing can be mounted: {error}");
            return None;
        }
        Some(Small(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Take all space that is left.
    fn fill(&self) {
        for (count, bytes) in
            (0..10).flat_map(|round| [256 * 1024, 16 * 1024, 4096].map(|bytes| (round, bytes)))
        {
            let mut at = 0;
            while fs::write(self.path().join(format!("ballast-{count}-{bytes}-{at}")), vec![1; bytes]).is_ok()
            {
                at += 1;
            }
        }
    }

    fn free(&self) {
        for item in fs::read_dir(self.path()).expect("a folder") {
            let path = item.expect("an item").path();
            if path.is_file() {
                fs::remove_file(path).expect("removed");
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_a_full_disk_takes_deletes_and_serves_reads_and_goes_on_by_itself() {
    let Some(disk) = Small::mount() else { return };
    let mut cluster = Cluster::start(1).await;
    cluster.stop(0).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let options = MemberOptions { data: disk.path().join("data"), ..cluster.options(0, listener) };
    cluster.members[0] = Some(Member::start(options).await.expect("a member"));
    cluster.leader().await;
    let handle = cluster.handle(0);
    write(&handle, put("first", "value")).await.expect("written");

    disk.fill();
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        match write(&handle, put("key", vec![7; 4096])).await {
            Ok(_) => assert!(Instant::now() < deadline, "it is never full"),
            Err(refused) => break refused,
        }
    };
    let Failure::Refused { code: RefusalCode::DiskFull, retryable: true, .. } = refused else {
        panic!("{refused:?}");
    };
    assert!(cluster.status(0).await.note.is_some_and(|note| note.contains("the disk has been full")));
    assert!(handle.figures().await.expect("figures").disk_full);
    let delete = Operation::Delete { key: Bytes::from_static(b"key"), expect: Expect::Any };
    let request = holdfast_sidecar::core::WriteRequest {
        command: Command { session: None, operation: delete }.encode(),
        ..put("", "")
    };
    write(&handle, request).await.expect("deletes are taken");
    assert_eq!(get(&handle, "first", Consistency::Linearizable).await.as_deref(), Some(&b"value"[..]));
    assert_eq!(get(&handle, "key", Consistency::Linearizable).await, None);

    disk.free();
    while let Err(error) = write(&handle, put("last", "value")).await {
        assert!(Instant::now() < deadline, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.stop(0).await;
}
