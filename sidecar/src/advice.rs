//! What a person can do when a member does not start or ends by itself: the last part of the one message that says so.
//!
//! It refuses to advise what loses data without saying that it does.

use holdfast_storage::OpenError;

use crate::core::Broken;
use crate::member::StartError;
use crate::process::RunError;

const OTHER_FOLDER: &str =
    "make it writable for this process, or give another folder by --data (HOLDFAST_DATA)";
const IN_USE: &str = "end that process, or give another folder by --data (HOLDFAST_DATA)";
const FOREIGN: &str = "give this member's own folder by --data (HOLDFAST_DATA); nothing was changed in the one that it was given";
const POLICY: &str = "go back to the settings that the folder was made with, or begin anew in an empty folder by --data (HOLDFAST_DATA)";
const DAMAGED: &str = "the member does not serve what it cannot read. Put the file back from a copy; or keep the folder \
    aside and start with an empty one: the member then copies the state from the others, if there are any, and takes \
    its own place";
const VERSION: &str = "run the version that wrote it, or a newer one";
const DISK: &str = "look after the disk and its free space; what was acknowledged is durable, and a new start goes on \
    from there";
const FOUND: &str = "the next start repairs it from the other members; if this comes again, replace the disk";
const DIVERGED: &str = "keep the folder aside for a report and start with an empty one; the member then copies the \
    state from the others and takes its own place";
const REMOVED: &str = "nothing is missing in the store. To have a member at this ordinal again, start it with an empty \
    folder by --data (HOLDFAST_DATA), and see that the store is to have so many members";
const OLD_DISK: &str = "start it again: it copies what it lacks from the others and takes its own place as another \
    incarnation; or put the newest folder back before that";

const OVERRULED: &str = "start it again: it copies the state from the others and takes its own place as another incarnation. What it had \
    is in the folder `damaged` of its data folder until something is put aside there again: copy it, if anybody needs it";

/// What to do about it, unless the error says so itself.
pub(crate) fn advice(error: &RunError) -> Option<&'static str> {
    match error {
        RunError::Start(StartError::Open { source, .. }) => Some(for_folder(source)),
        RunError::Start(StartError::Checkpoint { .. } | StartError::State { .. }) => Some(DAMAGED),
        RunError::Broken(Broken::Log(_)) => Some(DISK),
        RunError::Broken(Broken::Damaged(_)) => Some(FOUND),
        RunError::Broken(Broken::Removed) => Some(REMOVED),
        RunError::Broken(Broken::OldDisk { .. }) => Some(OLD_DISK),
        RunError::Broken(Broken::Overruled { .. }) => Some(OVERRULED),
        RunError::Broken(Broken::Diverged { .. }) => Some(DIVERGED),
        _ => None,
    }
}

fn for_folder(error: &OpenError) -> &'static str {
    match error {
        OpenError::Create { .. } | OpenError::Unwritable { .. } | OpenError::Io { .. } => OTHER_FOLDER,
        OpenError::Locked { .. } => IN_USE,
        OpenError::ForeignStore { .. } | OpenError::ForeignMember { .. } | OpenError::Name { .. } => FOREIGN,
        OpenError::Policy { .. } => POLICY,
        OpenError::Damaged { .. } => DAMAGED,
        OpenError::Version { .. } => VERSION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_what_to_do() {
        let locked = OpenError::Locked { path: "/d/lock".into() };
        let error = RunError::Start(StartError::Open { path: "/d".into(), source: locked });
        assert!(advice(&error).is_some_and(|advice| advice.contains("--data")));
        assert_eq!(advice(&RunError::AtOnce), None);
    }
}
