//! Colours for light and dark surroundings.

/// Classes have a prefix because a style in a drawing holds for the whole page. The four colours differ in lightness too.
pub(crate) const STYLE: &str = "\
.hf-ink{fill:#1b1f24}.hf-dim{fill:#5c6670}.hf-grid{stroke:#d8dde2}.hf-line{stroke:#1b1f24}.hf-dot{fill:none;stroke:#1b1f24}\
.hf-0{fill:#8f979f}.hf-1{fill:#e0a94a}.hf-2{fill:#5fa8d8}.hf-3{fill:#4fb08b}\
.hf-s0{stroke:#8f979f}.hf-s1{stroke:#e0a94a}.hf-s2{stroke:#5fa8d8}.hf-s3{stroke:#4fb08b}\
@media(prefers-color-scheme:dark){.hf-ink{fill:#e8ebee}.hf-dim{fill:#a3adb7}.hf-grid{stroke:#3a424a}.hf-line{stroke:#e8ebee}\
.hf-dot{stroke:#e8ebee}.hf-0{fill:#6b747d}.hf-1{fill:#9a6f1e}.hf-2{fill:#2f6f9c}.hf-3{fill:#257a58}\
.hf-s0{stroke:#a3adb7}.hf-s1{stroke:#d9a441}.hf-s2{stroke:#6db3e0}.hf-s3{stroke:#4fbf97}}";

/// How many colours [`STYLE`] has.
pub(crate) const COLOURS: usize = 4;
