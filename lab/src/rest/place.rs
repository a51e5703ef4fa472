//! Where the one store of the routes lives: processes of this machine, or pods of a cluster. Manager and routes know no more of it than this.

use std::future::Future;

use bytes::Bytes;
use holdfast_client::NativeClient;

use crate::experiment::fault::Fault;
use crate::experiment::recovery::Recovered;
use crate::{Configuration, FailureKind, Measurement, Protocol, TestbedError};

/// What a recovery asks for: a key, and what was stored under it, if anything was.
pub(crate) type Sample = (String, Option<Bytes>);

/// Where stores are made.
pub(crate) trait Place: Send + Sync + 'static {
    /// A store there.
    type Store: SharedStore;
    /// Held by whoever uses the store, or measures its recovery. Nobody measures anything else meanwhile.
    type Turn: Send + 'static;

    /// What can fail there.
    fn kinds(&self) -> Vec<FailureKind>;

    /// Lets a request use the store.
    ///
    /// # Errors
    /// Somebody is measuring who would be disturbed: who that is, and what to do.
    fn turn(&self) -> Result<Self::Turn, String>;

    /// Makes a store and waits until it is ready; with `links` one whose connections can be cut, where that can be had.
    fn make(
        &self,
        configuration: &Configuration,
        links: bool,
    ) -> impl Future<Output = Result<Self::Store, TestbedError>> + Send;
}

/// A failure that has happened.
pub(crate) struct Struck<H> {
    /// What failed.
    pub(crate) fault: Fault,
    /// What the store must know to watch and to mend it.
    pub(crate) how: H,
    /// Whether those that failed come back although nobody mends it.
    pub(crate) returns: bool,
}

/// The store that all clients share.
pub(crate) trait SharedStore: Send + Sync + 'static {
    /// See [`Struck`].
    type How: Send + Sync + 'static;

    /// The way to whichever member answers.
    fn client(&self) -> NativeClient;

    /// Runs one experiment. The store is whole again afterwards, as far as it can be.
    fn measure(
        &self,
        configuration: &Configuration,
        protocol: &Protocol,
        run_id: u32,
    ) -> impl Future<Output = Result<Measurement, TestbedError>> + Send;

    /// Has a failure happen that lasts until it is mended, as far as that can be had. `chance` chooses among members that are alike.
    fn fail(
        &self,
        kind: FailureKind,
        node_count: u8,
        chance: u64,
    ) -> impl Future<Output = Result<Struck<Self::How>, TestbedError>> + Send;

    /// Measures from the failure until somebody answers who needs no mending.
    fn watch(&self, struck: &Struck<Self::How>, sample: Sample) -> impl Future<Output = Recovered> + Send;

    /// Ends a failure.
    fn mend(&self, struck: &Struck<Self::How>) -> impl Future<Output = Result<(), TestbedError>> + Send;

    /// Ends a failure, and measures from now until somebody answers.
    fn mend_and_watch(
        &self,
        struck: &Struck<Self::How>,
        sample: Sample,
    ) -> impl Future<Output = Result<Recovered, TestbedError>> + Send;

    /// Waits until every member is well, or says that they are not in time.
    fn is_whole(&self) -> impl Future<Output = bool> + Send;

    /// Ends the store, and leaves nothing.
    fn discard(&self) -> impl Future<Output = Result<(), TestbedError>> + Send;
}
