//! Other processes of this program, each with its share of the plan.
//!
//! A child is given the same words of the command line and `--part 2/3`. It then takes commands
//! on its standard input and tells how far it is on its standard output, one JSON object a line
//! (see `child`). Whatever goes wrong in one ends all: `Parts` kills what it started when it is
//! dropped, and a child ends by itself when its standard input does.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    LoadError,
    part::Command,
    tally::{Status, Tally},
};

/// A child tells something ten times a second; one that is silent for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(10);

struct Part {
    process: Child,
    commands: ChildStdin,
    status: Status,
    tally: Option<Tally>,
    heard: Instant,
}

/// A line that a child wrote; none when there will be no more.
type Said = (usize, Option<String>);

/// See the file.
pub(crate) struct Parts {
    parts: Vec<Part>,
    said: Receiver<Said>,
    /// Commands given so far: a status of an earlier one does not count.
    task_number: u64,
}

impl Parts {
    pub(crate) fn start(count: usize) -> Result<Self, LoadError> {
        let (sender, said) = channel();
        let mut parts = Self {
            parts: Vec::with_capacity(count),
            said,
            task_number: 0,
        };
        for index in 0..count {
            let part = start(index, count, sender.clone()).map_err(LoadError::system("another process"))?;
            parts.parts.push(part);
        }
        Ok(parts)
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(crate) fn begin(&mut self, command: &Command) -> Result<(), LoadError> {
        self.task_number += 1;
        self.tell_all(&command.to_json())
    }

    /// Waits at most so long for one of them to say something.
    pub(crate) fn step(&mut self, wait: Duration) -> Result<(), LoadError> {
        match self.said.recv_timeout(wait) {
            Ok(said) => self.on_said(said)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        // All that is there, before anyone is called silent: it may be us who slept.
        while let Ok(said) = self.said.try_recv() {
            self.on_said(said)?;
        }
        let silent = self
            .parts
            .iter()
            .position(|part| part.tally.is_none() && part.heard.elapsed() > SILENCE_MAX);
        match silent {
            None => Ok(()),
            Some(index) => {
                let seconds = SILENCE_MAX.as_secs();
                Err(self.failed(index, format!("has been silent for {seconds} s")))
            }
        }
    }

    /// All together, each as far as it last said.
    pub(crate) fn status(&self) -> Status {
        let current = |part: &Part| Status {
            done_ns: part
                .status
                .done_ns
                .filter(|_| part.status.task == self.task_number),
            ..part.status.clone()
        };
        let mut all = self.parts.iter().map(current);
        let first = all.next().unwrap_or_default();
        all.fold(first, |mut sum, other| {
            sum.merge(&other);
            sum
        })
    }

    /// What all of them counted, merged. They end.
    pub(crate) fn tally(mut self) -> Result<Tally, LoadError> {
        self.tell_all(&json!({"do": "finish"}))?;
        while self.parts.iter().any(|part| part.tally.is_none()) {
            self.step(Duration::from_millis(100))?;
        }
        let tallies = self.parts.iter().filter_map(|part| part.tally.as_ref());
        let merged = tallies.cloned().reduce(|mut sum, other| {
            sum.merge(&other);
            sum
        });
        Ok(merged.expect("at least one process, and each has told"))
    }

    fn tell_all(&mut self, command: &Value) -> Result<(), LoadError> {
        let line = format!("{command}\n");
        for index in 0..self.parts.len() {
            if self.parts[index].commands.write_all(line.as_bytes()).is_err() {
                // It has ended; what it said before that tells why.
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(1) {
                    self.step(Duration::from_millis(50))?;
                }
                return Err(self.failed(index, "takes no commands".to_owned()));
            }
        }
        Ok(())
    }

    fn on_said(&mut self, (index, line): Said) -> Result<(), LoadError> {
        let Some(line) = line else {
            return match self.parts[index].tally {
                Some(_) => Ok(()),
                None => {
                    let ended = self.parts[index].process.wait();
                    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    Err(self.failed(index, format!("ended early: {how}")))
                }
            };
        };
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(why) = said["error"].as_str() {
            return Err(self.failed(index, format!("failed: {why}")));
        }
        let part = &mut self.parts[index];
        part.heard = Instant::now();
        let is_understood = match (said.get("status"), said.get("tally")) {
            (Some(status), _) => Status::from_json(status)
                .map(|status| part.status = status)
                .is_some(),
            (_, Some(tally)) => {
                part.tally = Tally::from_json(tally);
                part.tally.is_some()
            }
            (None, None) => false,
        };
        match is_understood {
            true => Ok(()),
            false => Err(self.failed(index, format!("said {line:?}"))),
        }
    }

    fn failed(&self, index: usize, why: String) -> LoadError {
        LoadError::Part {
            number: index + 1,
            of: self.parts.len(),
            why,
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for part in &mut self.parts {
            let _ = part.process.kill();
        }
        for part in &mut self.parts {
            let _ = part.process.wait();
        }
    }
}

fn start(index: usize, count: usize, sender: Sender<Said>) -> std::io::Result<Part> {
    let mut process = Process::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .arg(format!("--part={}/{count}", index + 1))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let commands = process.stdin.take().expect("piped above");
    let said = process.stdout.take().expect("piped above");
    // Ends when the child's standard output does, as it does at the latest when `Parts` is dropped.
    thread::spawn(move || pass_on(index, said, &sender));
    Ok(Part {
        process,
        commands,
        status: Status::default(),
        tally: None,
        heard: Instant::now(),
    })
}

fn pass_on(index: usize, said: ChildStdout, sender: &Sender<Said>) {
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if sender.send((index, Some(line))).is_err() {
            return;
        }
    }
    let _ = sender.send((index, None));
}
