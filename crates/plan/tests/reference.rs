//! The pages of the book that are made from tables of the planner.

use std::{env, fs, path::Path};

#[test]
fn the_reference_in_the_docs_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/plan-file.md");
    let made = tidegate_plan::file::reference();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == made,
        "run `UPDATE_DOCS=1 cargo test -p tidegate-plan --test reference` to write it anew"
    );
}
