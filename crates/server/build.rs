//! The pages are embedded as they were built: build again when they change, or appear.

use std::path::Path;

fn main() {
    for page in ["../../web/demo", "../../web/planner"] {
        let built = format!("{page}/dist");
        let watched = match Path::new(&built).exists() {
            true => &built,
            false => page,
        };
        println!("cargo::rerun-if-changed={watched}");
    }
}
