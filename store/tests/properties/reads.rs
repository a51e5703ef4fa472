//! The store against the naive model: outcomes, reads at every revision in both views, listings, events, figures.

use std::collections::BTreeSet;

use holdfast_engine::{Index, Random};
use holdfast_store::{Event, Limits, RangeQuery, ReadError, Revision, Statistics, Store, View, covers};

use crate::commands::Commands;
use crate::model::{Model, item_bytes};
use crate::{SMALL, for_seeds, message_logs};

#[test]
fn outcomes_reads_events_and_figures_are_the_models() {
    for_seeds(60, |seed| run(seed, SMALL, 250));
}

#[test]
fn so_they_are_with_the_usual_limits() {
    for_seeds(10, |seed| run(seed, Limits::default(), 150));
}

/// The other tests are worth what their commands reach.
#[test]
fn the_commands_meet_every_outcome_but_the_largest() {
    let mut kinds = BTreeSet::new();
    for seed in 0..30 {
        let mut commands = Commands::new(seed);
        let mut model = Model::new(SMALL);
        for index in 1..=250 {
            commands.revision_is(model.revision());
            let told = format!("{:?}", model.execute(&commands.entry(index)));
            let words = told.split(|letter: char| !letter.is_alphabetic()).filter(|word| *word != "Some");
            kinds.extend(words.take(2).map(str::to_owned));
        }
    }
    // `ResultTooLarge` takes megabytes, and has a test of its own.
    for kind in "None Put Deleted Txn Compacted PreconditionFailed KeyEmpty KeyTooLarge ValueTooLarge \
        TooManyOperations DuplicateKey QuotaExceeded SessionExpired StaleSequence FutureRevision Malformed \
        Appended Duplicate LogConfigured LogDeleted LogTrimmed LogNameInvalid LogNotFound TooManyLogs \
        MessageKeyInvalid KeyReused LogSettingInvalid FutureSequence"
        .split_whitespace()
    {
        assert!(kinds.contains(kind), "{kind} never came: {kinds:?}");
    }
}

fn run(seed: u64, limits: Limits, entries: u64) {
    let mut commands = Commands::new(seed);
    let mut random = Random::new(!seed);
    let mut store = Store::with_limits(limits);
    // One for each index.
    let mut models = vec![Model::new(limits)];
    for index in 1..=entries {
        let mut model = models[index as usize - 1].clone();
        commands.revision_is(model.revision());
        let entry = commands.entry(index);
        assert_eq!(store.execute(&entry), model.execute(&entry), "index {index}: {entry:?}");
        models.push(model);
        if random.chance(0.3) {
            commit(&mut store, &models, &mut random);
        }
        if random.chance(0.2) {
            for (view, at) in [(View::Committed, store.committed()), (View::Executed, store.executed())] {
                check_reads(&store, &models[at.0 as usize], view, &mut commands, &mut random);
                let committed = &models[store.committed().0 as usize].logs;
                message_logs::check(&store, view, &models[at.0 as usize].logs, Some(committed));
            }
            check_events(&store, &models[store.committed().0 as usize], &mut commands, &mut random);
        }
    }
}

fn commit(store: &mut Store, models: &[Model], random: &mut Random) {
    let before = store.committed();
    let index = Index(before.0 + random.below(store.executed().0 - before.0 + 1));
    let events = store.commit(index);
    let (old, new) = (&models[before.0 as usize], &models[index.0 as usize]);
    assert_eq!(events, new.all_events(old.revision().0 + 1), "events of ({before}, {index}]");
    let now = new.maps.last().expect("at least revision 1");
    let Statistics {
        revision, compacted, keys, live_bytes, history_bytes, logs, messages, log_bytes, ..
    } = store.statistics();
    assert_eq!(revision, new.revision());
    assert_eq!(compacted.0, new.compacted);
    assert_eq!(keys, now.len() as u64);
    assert_eq!(live_bytes, now.values().map(|item| item_bytes(&item.key, &item.value)).sum::<u64>());
    assert_eq!(history_bytes, new.history_bytes());
    assert_eq!((logs, log_bytes), (new.logs.len() as u64, message_logs::cost(&new.logs)));
    let readable = store.logs(View::Committed).into_iter().map(|log| log.next.0 - log.first.0);
    assert_eq!(messages, readable.sum::<u64>());
}

/// What a read at a revision should say.
fn allowed(model: &Model, at: Option<Revision>) -> Result<Revision, ReadError> {
    match at {
        Some(at) if at > model.revision() => Err(ReadError::FutureRevision { current: model.revision() }),
        Some(at) if at.0 < model.compacted => {
            Err(ReadError::Compacted { compacted: Revision(model.compacted) })
        }
        _ => Ok(at.unwrap_or(model.revision())),
    }
}

fn check_reads(store: &Store, model: &Model, view: View, commands: &mut Commands, random: &mut Random) {
    assert_eq!(store.revision(view), model.revision());
    assert_eq!(store.compacted(view).0, model.compacted);
    for _ in 0..10 {
        let at = random.chance(0.8).then(|| commands.a_revision());
        let key = commands.key();
        let expected = allowed(model, at).map(|at| model.maps[at.0 as usize].get(&key).cloned());
        assert_eq!(store.get(&key, at, view), expected, "{key:?} at {at:?}");
        check_listing(
            store,
            model,
            RangeQuery { prefix: commands.prefix(), after: None, limit: 0, at, view },
            random,
        );
    }
}

/// List all pages of a random size.
fn check_listing(store: &Store, model: &Model, mut query: RangeQuery, random: &mut Random) {
    let at = match allowed(model, query.at) {
        Ok(at) => at,
        Err(error) => {
            assert_eq!(store.range(query), Err(error));
            return;
        }
    };
    let expected = model.maps[at.0 as usize].values().filter(|item| covers(&query.prefix, &item.key));
    let expected: Vec<_> = expected.cloned().collect();
    let counted = store.range(query.clone()).expect("a revision that can be read");
    assert_eq!((counted.count, counted.items.len()), (Some(expected.len() as u64), 0));
    assert_eq!(counted.more, !expected.is_empty(), "{query:?}");
    let mut listed = Vec::new();
    loop {
        query.limit = 1 + random.below(5) as usize;
        let page = store.range(query.clone()).expect("a revision that can be read");
        assert_eq!(page.revision, at);
        assert_eq!(page.count.is_some(), query.after.is_none());
        assert!(page.items.len() <= query.limit);
        listed.extend(page.items);
        assert_eq!(page.more, listed.len() < expected.len(), "{query:?}");
        if !page.more {
            break;
        }
        query.after = listed.last().map(|item| item.key.clone());
    }
    assert_eq!(listed, expected, "{query:?}");
}

fn check_events(store: &Store, model: &Model, commands: &mut Commands, random: &mut Random) {
    let (mut from, prefix) = (commands.a_revision(), commands.prefix());
    let compacted = Revision(model.compacted);
    if from < compacted {
        assert_eq!(store.events(from, &prefix, 10), Err(ReadError::Compacted { compacted }));
        return;
    }
    let expected = model.events(from.0, &prefix);
    let mut received: Vec<Event> = Vec::new();
    loop {
        let limit = 1 + random.below(4) as usize;
        let batch = store.events(from, &prefix, limit).expect("not compacted");
        let Some(last) = batch.last() else { break };
        let revisions = batch.chunk_by(|a, b| a.revision() == b.revision()).count();
        assert!(batch.len() <= limit || revisions == 1, "{batch:?} with limit {limit}");
        from = last.revision().next();
        received.extend(batch);
    }
    assert_eq!(received, expected);
}
