//! One of several processes: commands come on standard input, standard output tells how far it is.
//!
//! ```text
//!   parent ─► {"do":"open","at_ns":…}   {"do":"play",…}   {"do":"finish"}
//!   child  ─► {"status":{…}} ten times a second, and at once when a command is done
//!             {"tally":{…}} in answer to `finish`, then it ends;  {"error":"…"} when it fails
//! ```
//!
//! When standard input ends, the parent is gone: the child ends at once, whatever it does.

use std::{
    io::{self, BufRead, Write},
    process::{ExitCode, exit},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    LoadError, Target,
    part::{Command, Part},
    plan::{Plan, Share},
    process::{give_way, raise_descriptors},
};

const TELL_EVERY: Duration = Duration::from_millis(100);

/// Serves a parent until that is satisfied, or gone.
pub(crate) fn serve(target: &Target, plan: &Plan, share: Share) -> ExitCode {
    raise_descriptors();
    if plan.is_patient(share) {
        give_way();
    }
    let outcome = obey(target, plan, share);
    let last_word = match &outcome {
        Ok(tally) => json!({"tally": tally}),
        Err(error) => json!({"error": error.to_string()}),
    };
    tell(&last_word);
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn obey(target: &Target, plan: &Plan, share: Share) -> Result<Value, LoadError> {
    let mut part = Part::new(target, plan, share)?;
    let commands = listen(part.waker()?);
    let mut told = (Instant::now(), part.status());
    loop {
        while let Ok(command) = commands.try_recv() {
            match Command::from_json(&command) {
                Some(command) => part.begin(command)?,
                None if command["do"] == "finish" => return Ok(part.tally().to_json()),
                None => return Err(LoadError::Command(command.to_string())),
            }
        }
        part.turn(TELL_EVERY)?;
        let status = part.status();
        let is_news = (status.task, status.done_ns) != (told.1.task, told.1.done_ns);
        if is_news || told.0.elapsed() >= TELL_EVERY {
            tell(&json!({"status": status.to_json()}));
            told = (Instant::now(), status);
        }
    }
}

/// Reads commands on a thread of its own, which ends this process when there are no more.
fn listen(waker: std::sync::Arc<mio::Waker>) -> Receiver<Value> {
    let (sender, commands) = channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let command = serde_json::from_str(&line).unwrap_or(Value::String(line));
            if sender.send(command).is_err() || waker.wake().is_err() {
                return;
            }
        }
        exit(1);
    });
    commands
}

fn tell(what: &Value) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{what}").and_then(|()| out.flush()).is_err() {
        // Nobody listens any more.
        exit(1);
    }
}
