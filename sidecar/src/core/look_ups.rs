//! Reads: at once from what is at hand, or from the committed state once the leader has confirmed how far that must be.

use holdfast_engine::{Input, ReadToken};
use holdfast_store::{MessagesQuery, RangeQuery, ReadError, View};

use super::Core;
use super::asking::Client;
use super::handle::{
    Answer, Consistency, Failure, OVERLOAD_PAUSE, Query, ReadReply, ReadRequest, RefusalCode,
};
use super::reads::Read;

impl Core {
    /// Somebody wants to read.
    pub(super) fn read(&mut self, request: ReadRequest, client: Client<ReadReply>) {
        let ReadRequest { query, consistency, timeout } = request;
        match consistency {
            Consistency::Local => {
                let result = self.look_up(query, View::Executed);
                client.answer(result, &mut self.unsent);
            }
            Consistency::Committed => {
                let result = self.look_up(query, View::Committed);
                client.answer(result, &mut self.unsent);
            }
            Consistency::Linearizable => {
                let read = Read { query, deadline: self.now + timeout, client };
                if let Err(Read { client, .. }) = self.reads.add(read) {
                    let failure = Failure::Refused {
                        code: RefusalCode::Overloaded,
                        detail: "too many reads wait for this member".to_owned(),
                        retryable: true,
                        retry_after: Some(OVERLOAD_PAUSE),
                    };
                    client.answer(Err(failure), &mut self.unsent);
                }
            }
        }
    }

    /// One question for all reads that wait.
    pub(super) fn ask_for_reads(&mut self) {
        if self.reads.wants_to_ask(self.now) {
            let token = ReadToken(self.next_token());
            self.reads.ask(token, self.now);
            self.step(Input::Read { token });
        }
    }

    /// Serve all reads that the state has come far enough for.
    pub(super) fn serve_reads(&mut self) {
        for Read { query, client, .. } in self.reads.take_ready(self.store.committed()) {
            let result = self.look_up(query, View::Committed);
            client.answer(result, &mut self.unsent);
        }
    }

    pub(super) fn read_expired(&mut self, read: Read) {
        let failure = Failure::Refused {
            code: RefusalCode::NoLeader,
            detail: "no leader confirmed itself in time; read=local needs none".to_owned(),
            retryable: true,
            retry_after: None,
        };
        read.client.answer(Err(failure), &mut self.unsent);
    }

    fn look_up(&self, query: Query, view: View) -> Result<ReadReply, Failure> {
        let answer = match query {
            Query::Get { key, at } => self.store.get(&key, at, view).map(Answer::Get),
            Query::Range { prefix, after, limit, at } => {
                self.store.range(RangeQuery { prefix, after, limit, at, view }).map(Answer::Range)
            }
            Query::Logs => Ok(Answer::Logs(self.store.logs(view))),
            Query::Log { log } => Ok(Answer::Log(self.store.log(&log, view))),
            Query::Messages { log, from, limit, bytes_max } => {
                Ok(Answer::Messages(self.store.messages(&MessagesQuery {
                    log,
                    from,
                    limit,
                    bytes_max,
                    view,
                })))
            }
            Query::Message { log, sequence } => Ok(Answer::Message(self.store.message(&log, sequence, view))),
        };
        let answer = answer.map_err(|error| Failure::Refused {
            code: match error {
                ReadError::Compacted { .. } => RefusalCode::Compacted,
                ReadError::FutureRevision { .. } => RefusalCode::FutureRevision,
            },
            detail: error.to_string(),
            retryable: matches!(error, ReadError::FutureRevision { .. }),
            retry_after: None,
        })?;
        Ok(ReadReply { revision: self.store.revision(view), answer })
    }
}
