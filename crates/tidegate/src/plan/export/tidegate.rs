//! The server's limits, drain and namespaces by a plan and a run of it: one machine of `ws`.
//!
//! Every line has beside it what it was computed from. What a plan says nothing of is left to the server's
//! defaults (`tidegate config example`).

use std::fmt::Write;

use tidegate_plan::plan::{Class, NewestOf};

use super::{
    super::report::shown::{count, share, time},
    needs::{MIB, Needs, up},
};

/// Where the server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine that the file is read on: loopback, development mode, until keys are set.
    Here,
    /// In a container: all addresses, tokens by a secret of the environment, its log on a volume.
    Container,
}

/// Largest frame and outbox that a configuration takes.
const FRAME_MAX: u64 = 16 << 20;
const OUTBOX_MAX: u64 = 1 << 30;
/// Beside the payload in a frame: what the server counts, with room.
const OVERHEAD: u64 = 4 << 10;

/// A `tidegate.toml`.
pub fn tidegate(needs: &Needs, place: Place) -> String {
    let mut toml = Toml::default();
    match place {
        Place::Here => {
            toml.line(
                "listen = \"127.0.0.1:8600\"",
                "this machine only, until there are keys in [auth]",
            );
        }
        Place::Container => {
            toml.line("listen = \"0.0.0.0:8600\"", "behind the load balancer");
        }
    }
    toml.line(
        "shards = \"auto\"",
        &format!("one a core; a {} has {}", needs.size.name, needs.size.cores),
    );
    toml.section("[engine]");
    match place {
        Place::Here => toml.line("dir = \"data\"", "beside this file"),
        Place::Container => toml.line("dir = \"/var/lib/tidegate\"", "a volume"),
    }
    match place {
        Place::Here => toml.text.push_str(
            "\n# To be reached from elsewhere, give it keys and another address:\n\
             # listen = \"0.0.0.0:8600\"\n# [auth]\n# secret = \"env:TIDEGATE_SECRET\"\n",
        ),
        Place::Container => {
            toml.section("[auth]");
            toml.line(
                "secret = \"env:TIDEGATE_SECRET\"",
                "at least 32 bytes; tokens are made with it",
            );
        }
    }
    limits(&mut toml, needs);
    admission(&mut toml, needs);
    drain(&mut toml, needs);
    for class in &needs.plan.scenario.classes {
        namespace(&mut toml, needs, class);
    }
    toml.text
}

/// Lines with their reasons beside them.
#[derive(Default)]
struct Toml {
    text: String,
}

impl Toml {
    fn section(&mut self, name: &str) {
        let _ = writeln!(self.text, "\n{name}");
    }

    fn line(&mut self, line: &str, why: &str) {
        let _ = writeln!(self.text, "{line:<36} # {why}");
    }
}

fn limits(toml: &mut Toml, needs: &Needs) {
    let plan = needs.plan;
    toml.section("[limits]");
    toml.line(
        &format!("connections_max = {}", needs.connections_max()),
        &needs.connections_why(),
    );
    toml.line(
        &format!("memory_max = \"{}MiB\"", needs.memory_max()),
        &format!("four fifths of a {}", needs.size.name),
    );
    let payloads = plan.scenario.classes.iter().map(payload_max);
    let payload = payloads.max().unwrap_or(1024);
    // In base64, and what is around it.
    let frame = (payload / 3 * 4 + OVERHEAD)
        .next_power_of_two()
        .clamp(64 << 10, FRAME_MAX);
    toml.line(
        &format!("frame_bytes_max = \"{}\"", size(frame)),
        &format!(
            "the largest payload below, {}, in base64; at least 64 KiB",
            size(payload)
        ),
    );
    let planned = u64::from(needs.options.outbox_bytes.unwrap_or(1 << 20));
    let least = frame + payload / 3 * 4 + OVERHEAD;
    let outbox = planned.clamp(least.min(OUTBOX_MAX), OUTBOX_MAX);
    toml.line(
        &format!("outbox_bytes_max = \"{}\"", size(outbox)),
        &match outbox == planned {
            true => format!("the plan's `outbox_bytes` of `{}`", needs.ws.id),
            false => format!(
                "the plan has {}; one frame and one publication must fit",
                size(planned)
            ),
        },
    );
    // Whoever is this far behind gets nothing in time: better to come back by position.
    let age = match needs.promise(None) {
        Some((_, within)) => (within * plan.contract.late_factor).clamp(1.0, 600.0),
        None => 5.0,
    };
    toml.line(
        &format!("outbox_age_max = \"{}\"", duration(age)),
        &match needs.promise(None) {
            Some((_, within)) => format!(
                "{} times the strictest promise, {}: later is as bad as never; from 1 s on",
                plan.contract.late_factor,
                time(within)
            ),
            None => "the server's default: no latency was promised".to_owned(),
        },
    );
    let coalescible: Vec<&Class> = plan
        .scenario
        .classes
        .iter()
        .filter(|class| class.coalescible)
        .collect();
    let soft = coalescible.iter().filter_map(|class| needs.promise(Some(class)));
    if let Some(within) = soft.map(|(_, within)| within).min_by(f64::total_cmp) {
        toml.line(
            &format!("outbox_age_soft = \"{}\"", duration(within.clamp(0.01, age))),
            &format!("what is coalescible was promised within {}", time(within)),
        );
    }
    let window = needs.connections / needs.reconnects.max(1.0);
    let most = plan
        .contract
        .reconnect
        .map_or(600.0, |within| within / 2.0)
        .clamp(2.0, 600.0);
    toml.line(
        &format!(
            "reconnect_window = \"{}\"",
            duration(window.ceil().clamp(2.0, most))
        ),
        &format!(
            "after a crash {} come back; `{}` bears {} a second beside its work; from 2 s on{}",
            count(needs.connections),
            needs.reconnects_by,
            count(needs.reconnects),
            match plan.contract.reconnect {
                Some(within) => format!(", up to half of the promised {}", time(within)),
                None => String::new(),
            }
        ),
    );
}

fn admission(toml: &mut Toml, needs: &Needs) {
    toml.section("[admission]");
    let each = needs.user_publishes();
    let abuse = match needs.plan.scenario.abuse > 0.0 {
        true => format!(
            "; {} of the users send ten times what they may",
            share(needs.plan.scenario.abuse)
        ),
        false => String::new(),
    };
    toml.line(
        &format!("connection_publishes = {}", needs.connection_publishes()),
        &format!(
            "a user sends {} a second while it is loud: twice that, and two{abuse}",
            count(each)
        ),
    );
    toml.line(
        &format!("server_publishes = {}", needs.publishes_max()),
        &format!(
            "{} a second in the busiest minute, more in a burst's seconds{}, and a fifth more",
            count(needs.publishes),
            match needs.machines {
                1 => String::new(),
                machines => format!(", over {machines} machines of which one is away"),
            }
        ),
    );
}

fn drain(toml: &mut Toml, needs: &Needs) {
    toml.section("[drain]");
    let (within, pace, why) = needs.drain();
    toml.line(&format!("within = \"{}\"", duration(within)), &why);
    toml.line(
        &format!("reconnects_per_second = {pace}"),
        &format!(
            "{} connections within {}",
            count(needs.connections_max() as f64),
            time(within)
        ),
    );
    match needs.machines {
        1 => toml.line(
            "come_back = \"here\"",
            "one machine: they come back to its successor",
        ),
        machines => toml.line(
            "come_back = \"elsewhere\"",
            &format!("{machines} machines: each client is served until its slot, and goes to another"),
        ),
    }
}

/// A namespace of its own for a class: a room is `class:name`.
fn namespace(toml: &mut Toml, needs: &Needs, class: &Class) {
    let (largest, mean) = needs.room(class);
    let loud = class.rate * needs.factor(class);
    let peak = needs.peak_rate(class);
    let rooms = format!("rooms of {}, {} at most", count(mean), count(largest));
    toml.section("[[namespace]]");
    toml.line(
        &format!("name = \"{}\"", class.name),
        &format!("a user publishes {} a second, in {rooms}", count(class.rate)),
    );
    let is_lossy =
        !class.coalescible && !class.durable && class.priority == 0 && needs.plan.contract.loss.is_some();
    if class.coalescible {
        toml.line(
            "lane = \"latest\"",
            "coalescible: a newer one makes an older one worthless",
        );
        let (keys, whose) = match class.newest_of {
            NewestOf::User => (up(largest).min(1_000_000), "one a user of the largest room"),
            NewestOf::Room => (1, "one: the newest of the room"),
        };
        toml.line(&format!("keys_max = {keys}"), whose);
        if let Some(rate) = needs.options.conflate_rate.filter(|rate| *rate > 0.0) {
            let _ = writeln!(
                toml.text,
                "# Its subscribers join with `max_rate` {}: the plan's `conflate_rate`.",
                count(rate)
            );
        }
    } else if is_lossy {
        toml.line(
            "lane = \"lossy\"",
            "not durable, shed first, and some loss was agreed to",
        );
        let within = needs
            .promise(Some(class))
            .map_or(0.5, |(_, within)| within * needs.plan.contract.late_factor);
        toml.line(
            &format!("deadline = \"{}\"", duration(within.clamp(0.001, 3_600.0))),
            "later is as bad as never",
        );
    } else {
        toml.line("lane = \"reliable\"", "not coalescible: each one counts");
    }
    match class.durable {
        true => toml.line(
            "durability = \"sync\"",
            "durable: stored before it is acknowledged",
        ),
        false => toml.line("durability = \"append\"", "not durable"),
    }
    toml.line(
        &format!("payload_bytes_max = \"{}\"", size(payload_max(class))),
        &format!("four times the plan's {} B, headers included", count(class.bytes)),
    );
    let room = up(largest * peak * 2.0).min(1_000_000_000);
    toml.line(
        &format!("room_publish_rate = {room}"),
        &format!(
            "twice what a room of {} publishes in its busiest seconds",
            count(largest)
        ),
    );
    let all = up(needs.users * peak * 1.5).min(1_000_000_000);
    toml.line(
        &format!("publish_rate = {all}"),
        &format!(
            "one and a half times what all {} users publish then",
            count(needs.users)
        ),
    );
    let resume = needs.options.resume_window.unwrap_or(0.0);
    let kept = up(largest * loud * resume * 1.5).clamp(100, 1_000_000);
    let age = match class.durable {
        true => 86_400.0,
        false => (2.0 * resume).clamp(60.0, 86_400.0),
    };
    toml.line(
        &format!("history = {{ count = {kept}, age = \"{}\" }}", duration(age)),
        &format!(
            "what the largest room publishes in the plan's `resume_window`, {}, and half more",
            time(resume)
        ),
    );
    toml.line(&format!("replay_max = {kept}"), "all of that may be caught up on");
}

/// Largest payload of a class: a power of two, four times what was planned.
fn payload_max(class: &Class) -> u64 {
    let bytes = (class.bytes * 4.0).clamp(1024.0, FRAME_MAX as f64 / 2.0) as u64;
    bytes.next_power_of_two().min(FRAME_MAX / 2)
}

/// Bytes as a configuration has them.
fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= MIB as u64 && bytes.is_multiple_of(MIB as u64) => format!("{}MiB", bytes >> 20),
        _ if bytes >= 1024 && bytes.is_multiple_of(1024) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

/// Seconds as a configuration has them: whole, in the largest unit that keeps them so.
pub fn duration(seconds: f64) -> String {
    let ms = (seconds * 1e3).round().max(0.0) as u64;
    for (unit, of) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= of && ms.is_multiple_of(of) {
            return format!("{}{unit}", ms / of);
        }
    }
    match ms {
        0 => "0s".to_owned(),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_whole_in_their_unit() {
        assert_eq!([1 << 20, 64 << 10, 1_500].map(size), ["1MiB", "64KiB", "1500B"]);
        assert_eq!(
            [0.0, 0.12, 1.2, 30.0, 120.0, 86_400.0].map(duration),
            ["0s", "120ms", "1200ms", "30s", "2m", "1d"]
        );
    }
}
