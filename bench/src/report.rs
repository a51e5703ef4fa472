//! What becomes of the figures: `results.json` with all of them, `results.md` with tables, and plots.

mod plots;
mod table;
mod targets;

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use self::targets::Target;
use crate::figure::Results;

/// Write everything into `folder`. A plot without figures is not written, and one of an earlier run is removed, so that
/// everything in the folder is of one run.
///
/// # Errors
///
/// If a file cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let plots = plots::of(results);
    for (name, svg) in &plots {
        match svg {
            Some(svg) => put(name, svg)?,
            None => drop(fs::remove_file(folder.join(name))),
        }
    }
    let shown: Vec<&str> = plots.iter().filter(|(_, svg)| svg.is_some()).map(|(name, _)| *name).collect();
    put("results.md", &table::of(results, &shown))?;
    put("results.json", &format!("{}\n", serde_json::to_string_pretty(results)?))
}

/// Tell the person at the terminal what the report says of the goals.
pub(crate) fn say_targets(results: &Results) {
    for Target { what, goal, measured, met } in targets::of(results) {
        let met = if met { "met   " } else { "MISSED" };
        crate::say(format_args!("{met} {what}: {measured} (goal {goal})"));
    }
}

#[cfg(test)]
mod tests;
