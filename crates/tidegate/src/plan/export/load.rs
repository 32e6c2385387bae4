//! A shell script of `tidegate load` commands: the traffic of a plan's busiest minute, class by class.
//!
//! ```text
//!   room law               command                   what it keeps
//!   fixed, geometric       rooms                     rooms of the mean size, each user's rate
//!   … coalescible          mixed, only its ticks     the same, in the lane `latest`
//!   zipf, its largest      viral                     the largest room
//!   everyone               viral, or slow            one room; slow readers, where it is coalescible
//!   bursts                 the same, at their rate
//!   a machine dies         storm                     so many connections at once
//! ```
//!
//! The generator plays one workload at a time: classes are not played on top of each other.

use std::fmt::Write;

use tidegate_plan::plan::{Burst, Class, NewestOf, RoomLaw};

use super::{
    super::report::shown::{count, plain, time},
    needs::{Needs, reaction},
};

/// Connections that one machine opens to one address, with room below the ports there are.
pub const CONNECTIONS_MAX: f64 = 20_000.0;
/// Members of `mixed` at most, all of which are in one process.
const MEMBERS_MAX: f64 = 10_000.0;
/// What the server's and the generator's frames add to a payload.
const AROUND: f64 = 150.0;
/// A payload carries its number and its time.
const PAYLOAD_MIN: f64 = 32.0;
/// Of a command, seconds: a burst may be shorter.
const SECONDS: f64 = 30.0;
const SECONDS_MIN: f64 = 5.0;

/// The script; `scale` is the share of the users it stands for, as many as one machine can open if absent.
pub fn load(needs: &Needs, scale: Option<f64>) -> String {
    let scale = scale.unwrap_or_else(|| (CONNECTIONS_MAX / needs.users).min(1.0));
    let users = (needs.users * scale).max(1.0);
    let mut text = format!(
        "#\n# For {} of {} users: rates and rooms of all are as many as that, rooms keep their size.\n\
         # Each class is played by itself, for {SECONDS:.0} s, as in its busiest minute; what the server then says of itself\n\
         # (p50, p99, CPU) is to be compared with the plan's. `tidegate load --help` tells what each command accounts for.\n\
         #\n# The server needs the generator's namespaces, and lets one connection stand for many users:\n\
         #   [limits]\n#   in_flight_max = 1000\n#   [[namespace]]\n#   name = \"load\"\n#   [[namespace]]\n#   name = \"latest\"\n#   lane = \"latest\"\n\
         #   [[namespace]]\n#   name = \"lossy\"\n#   lane = \"lossy\"\n\
         set -eu\nurl=${{TIDEGATE_URL:-ws://127.0.0.1:8600/v1/ws}}\ntidegate=${{TIDEGATE:-tidegate}}\n",
        count(users),
        count(needs.users)
    );
    let script = Script { users, scale };
    for class in &needs.plan.scenario.classes {
        let _ = writeln!(
            text,
            "\n# {}: {} a second of each user, {} B{}",
            class.name,
            count(class.rate),
            count(class.bytes),
            if class.durable { ", durable" } else { "" }
        );
        script.class(&mut text, needs, class, 1.0, SECONDS);
        for burst in &needs.plan.scenario.bursts {
            script.burst(&mut text, needs, class, burst);
        }
    }
    let each = (needs.connections * scale).max(1.0);
    let promise = match needs.plan.contract.reconnect {
        Some(within) => format!("; 95 % are promised to be back within {}", time(within)),
        None => String::new(),
    };
    let _ = writeln!(
        text,
        "\n# A machine dies, and its {} connections come back at once{promise}",
        count(each)
    );
    script.command(
        &mut text,
        "storm",
        &[
            ("connections", whole(each)),
            ("rooms", whole((each / 10.0).max(1.0))),
            ("rate", "1".to_owned()),
        ],
        PAYLOAD_MIN,
        SECONDS,
    );
    text
}

struct Script {
    /// At the peak, of the share that is played.
    users: f64,
    scale: f64,
}

impl Script {
    /// A class at so many times its rate.
    fn class(&self, to: &mut String, needs: &Needs, class: &Class, factor: f64, seconds: f64) {
        let rate = class.rate * factor;
        let (largest, mean) = needs.room(class);
        match class.room {
            RoomLaw::Everyone => self.one_room(to, needs, class, self.users, needs.users * rate, seconds),
            RoomLaw::Fixed { .. } | RoomLaw::Geometric { .. } => self.rooms(to, class, mean, rate, seconds),
            RoomLaw::Zipf { .. } => {
                let members = (largest * self.scale).max(2.0);
                self.one_room(to, needs, class, members, largest * rate, seconds);
                // Those of the other rooms, as large as a publication finds them without the largest.
                let others = (self.users - members).max(0.0);
                if others >= 2.0 {
                    let size = mean.min(others).clamp(2.0, 50.0);
                    Self {
                        users: others,
                        ..*self
                    }
                    .rooms(to, class, size, rate, seconds);
                }
            }
        }
    }

    /// Everybody in one room: its rate is the whole's, its readers are those that are played.
    fn one_room(&self, to: &mut String, needs: &Needs, class: &Class, members: f64, rate: f64, seconds: f64) {
        let slow = needs.plan.scenario.slow_readers;
        if !class.coalescible && slow <= 0.0 {
            let words = [
                ("subscribers", whole(members)),
                ("rate", decimal(rate)),
                ("quiet", "0".to_owned()),
            ];
            return self.command(to, "viral", &words, class.bytes, seconds);
        }
        let mut words = vec![
            ("subscribers", whole(members)),
            ("rate", decimal(rate)),
            ("stopped", "0".to_owned()),
        ];
        if slow > 0.0 {
            let bytes = (needs.plan.scenario.slow_reader_rate / 1e3).clamp(0.1, 1e7);
            words.push(("trickling", whole((members * slow).max(1.0).min(members))));
            words.push(("trickle", format!("{}kB", decimal(bytes))));
        }
        if class.coalescible {
            let keys = match class.newest_of {
                NewestOf::User => members.min(1e6),
                NewestOf::Room => 1.0,
            };
            words.extend([
                ("namespace", "latest".to_owned()),
                ("lane", "latest".to_owned()),
                ("keys", whole(keys)),
            ]);
        }
        self.command(to, "slow", &words, class.bytes, seconds);
    }

    /// Many rooms of a size, in which each member publishes so often.
    fn rooms(&self, to: &mut String, class: &Class, size: f64, rate: f64, seconds: f64) {
        let size = size.round().clamp(1.0, self.users.max(1.0));
        let mut rooms = (self.users / size).round().max(1.0);
        if class.coalescible && rooms * size > MEMBERS_MAX {
            rooms = (MEMBERS_MAX / size).floor().max(1.0);
            let _ = writeln!(
                to,
                "# {} of the users: all of them publish here, from one process",
                count(rooms * size)
            );
        }
        let words = match class.coalescible {
            true => vec![
                ("rooms", whole(rooms)),
                ("members", whole(size)),
                ("ticks", decimal(rate * size)),
                ("keys", whole(size)),
                ("chat", "0".to_owned()),
                ("cursors", "0".to_owned()),
                ("churn", "0".to_owned()),
            ],
            false => vec![
                ("rooms", whole(rooms)),
                ("subscribers", whole(size)),
                ("rate", decimal(rate * rooms * size)),
            ],
        };
        let workload = if class.coalescible { "mixed" } else { "rooms" };
        self.command(to, workload, &words, class.bytes, seconds);
    }

    /// What a burst makes of a class.
    fn burst(&self, to: &mut String, needs: &Needs, class: &Class, burst: &Burst) {
        match burst {
            Burst::Mmpp {
                factor,
                loud,
                classes,
                ..
            } if classes.is_empty() || classes.contains(&class.name) => {
                let _ = writeln!(
                    to,
                    "# … while it is loud: {} times as much, for {}",
                    count(*factor),
                    time(*loud)
                );
                self.class(to, needs, class, *factor, loud.clamp(SECONDS_MIN, SECONDS));
            }
            Burst::Cluster {
                share,
                delay_p50,
                delay_p95,
                ..
            } => {
                let Some(more) = reaction(burst, class).filter(|_| class.rate > 0.0) else {
                    return;
                };
                let _ = writeln!(
                    to,
                    "# … when {:.0} % react, half of them within {}",
                    share * 100.0,
                    time(*delay_p50)
                );
                let factor = (class.rate + more) / class.rate;
                self.class(to, needs, class, factor, delay_p95.clamp(SECONDS_MIN, SECONDS));
            }
            Burst::Mmpp { .. } => {}
        }
    }

    fn command(&self, to: &mut String, workload: &str, words: &[(&str, String)], bytes: f64, seconds: f64) {
        let _ = write!(to, "\"$tidegate\" load {workload} --url \"$url\"");
        for (name, value) in words {
            let _ = write!(to, " --{name} {}", plain(value));
        }
        let payload = (bytes - AROUND).clamp(PAYLOAD_MIN, 1e6);
        let _ = writeln!(to, " --payload {} --seconds {}", whole(payload), decimal(seconds));
    }
}

fn whole(value: f64) -> String {
    format!("{:.0}", value.clamp(0.0, 1e9).round())
}

/// To three figures, without an exponent.
fn decimal(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.5}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tidegate_plan::{compile, engine, file};

    use super::*;
    use crate::Arguments;

    /// Words as a shell splits these lines: nothing in them is quoted but the two variables.
    fn words(line: &str) -> Vec<String> {
        let line = line
            .replace("\"$tidegate\"", "tidegate")
            .replace("\"$url\"", "ws://127.0.0.1:8600/v1/ws");
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_generator_takes_every_command_of_every_scenario() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        let mut seen = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).expect("the library") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("readable");
            let plan = file::parse(&text).expect("a plan");
            let network = compile::compile(&plan).expect("it runs");
            let outcome = engine::fluid::run(&network);
            let Ok(needs) = Needs::of(&plan, &network, &outcome) else {
                continue;
            };
            for scale in [None, Some(0.001), Some(1.0)] {
                let script = load(&needs, scale);
                let commands: Vec<&str> = script
                    .lines()
                    .filter(|line| line.starts_with("\"$tidegate\""))
                    .collect();
                assert!(commands.len() > plan.scenario.classes.len(), "{script}");
                for command in commands {
                    let words = words(command);
                    seen.insert(words[2].clone());
                    if let Err(error) = Arguments::try_parse_from(&words) {
                        panic!("{}: {command}\n{error}", path.display());
                    }
                }
            }
        }
        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        assert_eq!(seen, ["mixed", "rooms", "slow", "storm", "viral"]);
        assert!(Arguments::try_parse_from(words("\"$tidegate\" load rooms --members 3")).is_err());
    }

    #[test]
    fn numbers_have_no_exponent() {
        assert_eq!(
            [0.000_02, 0.5, 2.0, 33.333, 1e7].map(decimal),
            ["0.00002", "0.5", "2", "33.33", "10000000"]
        );
    }
}
