//! The demo's pages are embedded as they were built: build again when they change, or appear.

use std::path::Path;

fn main() {
    let built = "../../web/demo/dist";
    let watched = match Path::new(built).exists() {
        true => built,
        false => "../../web/demo",
    };
    println!("cargo::rerun-if-changed={watched}");
}
