//! What all reads share: asking the core, and giving up on it.

use holdfast_store::KeyValue;

use super::Context;
use super::writes::CORE_GRACE;
use crate::core::{ReadReply, ReadRequest};
use crate::problem::{Code, Problem};

/// Read. A read can always be sent again, so that there is no unknown outcome.
pub(super) async fn read(context: &Context, request: ReadRequest) -> Result<ReadReply, Problem> {
    let patience = request.timeout + CORE_GRACE;
    let answer = context.running.handle()?.read(request);
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(failure)) => Err(Problem::of_failure(failure, true)),
        Err(_) => Err(Problem::new(Code::Overloaded, "this member did not answer in time")),
    }
}

/// A key as JSON has it.
pub(super) fn item(item: KeyValue) -> holdfast_api::http::KeyValue {
    holdfast_api::http::KeyValue::new(
        text(&item.key),
        item.value.into(),
        item.create_revision.0,
        item.mod_revision.0,
        item.version,
    )
}

/// A key as text. HTTP takes no other keys, so that nothing is ever replaced here.
pub(super) fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
