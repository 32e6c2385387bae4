//! The scenarios that come with the planner: each asks, and beside it stands a design that answers.

use rust_embed::RustEmbed;

/// `scenarios/`.
#[derive(RustEmbed)]
#[folder = "../../scenarios"]
struct Files;

/// All names, in their order: `viral-room`, and `viral-room.holds` for the design that holds.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = Files::iter()
        .filter_map(|file| file.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The text of one; none if there is none of that name.
pub fn text(name: &str) -> Option<String> {
    let file = Files::get(&format!("{name}.toml"))?;
    String::from_utf8(file.data.into_owned()).ok()
}

/// The title of one, for lists.
pub fn title(name: &str) -> Option<String> {
    let plan = tidegate_plan::file::parse(&text(name)?).ok()?;
    Some(plan.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_title_and_a_design_that_answers() {
        let names = names();
        assert!(names.len() >= 20, "{names:?}");
        for name in &names {
            assert!(title(name).is_some_and(|title| !title.is_empty()), "{name}");
            let question = name.strip_suffix(".holds").unwrap_or(name);
            assert!(names.contains(&format!("{question}.holds")), "{name}");
        }
        assert!(text("../Cargo").is_none() && text("").is_none());
    }
}
