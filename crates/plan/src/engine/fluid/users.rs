//! Who wants to be connected, and who is.

use super::machines::Cut;
use crate::{
    histogram::Histogram,
    network::Network,
    plan::{Clients, Jitter, Session},
};

/// Users that were cut off together and wait for their next try.
#[derive(Debug, Clone, Copy)]
struct Cohort {
    users: f64,
    cut_at: f64,
    /// They try evenly between these.
    from: f64,
    to: f64,
    tries: i32,
}

/// Groups of those that wait at most; more are put together.
const COHORTS_MAX: usize = 512;

#[derive(Debug)]
pub(super) struct Users<'a> {
    network: &'a Network,
    clients: Clients,
    pub session: f64,
    line: usize,
    pub wanted: f64,
    pub connected: f64,
    /// Not connected and want to be, on average over the last step.
    pub away: f64,
    cohorts: Vec<Cohort>,
    /// They knocked and wait for their handshake; the sum of the moments at which they were cut off.
    knocking: f64,
    knocking_cut_at: f64,
    /// Those of them that just came.
    fresh: f64,
    /// Users that are sent away each second, and until when.
    sent_away: Vec<(f64, f64)>,
    pub reconnect: Histogram,
    /// Tries so far, and those that failed; who waits in line is neither.
    pub connects: f64,
    pub failed: f64,
}

impl<'a> Users<'a> {
    pub fn new(network: &'a Network) -> Self {
        let session = match network.session {
            Session::Weibull { shape, scale } => scale * libm::tgamma(1.0 + 1.0 / shape.max(0.05)),
            Session::Exponential { mean } => mean,
            Session::Fixed { length } => length,
        };
        let wanted = network.users.first().map_or(0.0, |&(_, users)| users.max(0.0));
        Self {
            network,
            clients: network.clients,
            session: if session.is_finite() {
                session.clamp(1.0, 1e9)
            } else {
                1e9
            },
            line: 0,
            wanted,
            connected: wanted,
            away: 0.0,
            cohorts: Vec::new(),
            knocking: 0.0,
            knocking_cut_at: 0.0,
            fresh: 0.0,
            sent_away: Vec::new(),
            reconnect: Histogram::default(),
            connects: 0.0,
            failed: 0.0,
        }
    }

    fn wanted_at(&mut self, at: f64) -> f64 {
        let users = &self.network.users;
        while self.line + 2 < users.len() && users[self.line + 1].0 <= at {
            self.line += 1;
        }
        let Some(&(from, a)) = users.get(self.line) else {
            return 0.0;
        };
        let Some(&(to, b)) = users.get(self.line + 1) else {
            return a.max(0.0);
        };
        let share = ((at - from) / (to - from).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        (a + (b - a) * share).max(0.0)
    }

    /// Whether someone waits to be back.
    pub fn are_disturbed(&self) -> bool {
        !self.sent_away.is_empty() || self.wanted - self.connected > 0.002 * self.wanted + 0.5
    }

    /// Goes a step; so many handshakes a second can be had. Returns those made.
    pub fn step(&mut self, now: f64, step: f64, cut: Cut, handshakes: f64) -> f64 {
        let wanted = self.wanted_at(now + step);
        if wanted < self.wanted {
            // Who leaves is as likely to be waiting as anybody.
            let share = if self.wanted > 0.0 {
                wanted / self.wanted
            } else {
                0.0
            };
            self.connected *= share;
            self.knocking *= share;
            self.knocking_cut_at *= share;
            self.fresh *= share;
            for cohort in &mut self.cohorts {
                cohort.users *= share;
            }
        } else {
            self.fresh += wanted - self.wanted;
        }
        self.wanted = wanted;
        // Sessions end, and as many begin: not all at once, however long the step.
        let churned = self.connected * (1.0 - libm::exp(-step / self.session));
        self.connected -= churned;
        self.fresh += churned;
        if cut.share > 0.0 {
            let users = self.connected * cut.share;
            self.connected -= users;
            self.fail(users, now, now, 0);
        }
        if cut.sent_away > 0.0 {
            let over = cut.over.max(1.0);
            self.sent_away
                .push((now + over, self.connected * cut.sent_away.min(1.0) / over));
        }
        let mut leave = 0.0;
        for &(until, rate) in &self.sent_away {
            leave += rate * step.min((until - now).max(0.0));
        }
        self.sent_away.retain(|&(until, _)| until > now + step);
        let leave = leave.min(self.connected);
        let away = self.wanted - self.connected - self.fresh;
        self.connected -= leave;
        // They are told where to go, and do it at once.
        self.knocking += leave;
        self.knocking_cut_at += leave * now;
        self.retry(now, step);
        let made = self.shake_hands(now, step, handshakes);
        self.away = ((away + self.wanted - self.connected) / 2.0).max(0.0);
        made
    }

    /// Those whose wait is over knock.
    fn retry(&mut self, now: f64, step: f64) {
        let end = now + step;
        let (mut knock, mut cut_at) = (0.0, 0.0);
        self.cohorts.retain_mut(|cohort| {
            if cohort.from >= end {
                return true;
            }
            let from = cohort.from.max(now);
            let left = cohort.to - from;
            let share = if left <= end - from {
                1.0
            } else {
                (end - from) / left
            };
            let users = cohort.users * share;
            knock += users;
            cut_at += users * cohort.cut_at;
            cohort.users -= users;
            cohort.from = end;
            if share < 1.0 {
                return true;
            }
            false
        });
        self.knocking += knock;
        self.knocking_cut_at += cut_at;
    }

    fn shake_hands(&mut self, now: f64, step: f64, handshakes: f64) -> f64 {
        let all = self.knocking + self.fresh;
        if all <= 0.0 {
            return 0.0;
        }
        self.connects += all;
        let made = all.min(handshakes * step);
        let share = made / all;
        let back = self.knocking * share;
        if back > 0.0 {
            let since = now + step / 2.0 - self.knocking_cut_at / self.knocking;
            self.reconnect.record(since.max(0.0), back);
        }
        self.connected += made;
        self.knocking *= 1.0 - share;
        self.knocking_cut_at *= 1.0 - share;
        self.fresh *= 1.0 - share;
        // They wait in line for as long as they have patience; who could not be served by then tries again later.
        let line = handshakes * self.clients.timeout.max(0.0);
        let left = self.knocking + self.fresh;
        self.connects -= left.min(line);
        if left > line {
            let out = 1.0 - line / left;
            let (users, fresh) = (self.knocking * out, self.fresh * out);
            let cut_at = if self.knocking > 0.0 {
                self.knocking_cut_at / self.knocking
            } else {
                now
            };
            self.knocking -= users;
            self.knocking_cut_at -= users * cut_at;
            self.fresh -= fresh;
            let tries = self.tries_of(now - cut_at);
            self.failed += users + fresh;
            self.fail(users, cut_at, now, tries);
            self.fail(fresh, now, now, 1);
        }
        made
    }

    /// Tries that fit into the time since they were cut off.
    fn tries_of(&self, since: f64) -> i32 {
        let (mut wait, mut sum, mut tries) = (self.clients.backoff_first.max(1e-3), 0.0, 1);
        while sum < since && tries < 30 {
            sum += wait.min(self.clients.backoff_max.max(0.0)).max(1e-3) / 2.0;
            wait *= 2.0;
            tries += 1;
        }
        tries
    }

    fn fail(&mut self, users: f64, cut_at: f64, now: f64, tries: i32) {
        if users <= 0.0 {
            return;
        }
        let clients = &self.clients;
        let first = clients.backoff_first.clamp(0.0, 1e6).max(0.0);
        let wait = (first * libm::ldexp(1.0, tries.min(30))).min(clients.backoff_max.max(first).min(1e6));
        let (least, most) = match clients.jitter {
            Jitter::None => (wait, wait),
            Jitter::Equal => (wait / 2.0, wait),
            Jitter::Full => (0.0, wait),
        };
        // Nobody who was refused is back within a blink.
        let cohort = Cohort {
            users,
            cut_at,
            from: now + least.max(0.05),
            to: now + most.max(0.05),
            tries,
        };
        let is_full = self.cohorts.len() >= COHORTS_MAX;
        match self.cohorts.last_mut() {
            Some(last) if is_full || is_near(last, &cohort) => {
                let all = last.users + users;
                let mean = |a: f64, b: f64| (a * last.users + b * users) / all;
                *last = Cohort {
                    users: all,
                    cut_at: mean(last.cut_at, cohort.cut_at),
                    from: mean(last.from, cohort.from),
                    to: mean(last.to, cohort.to),
                    ..cohort
                };
            }
            _ => self.cohorts.push(cohort),
        }
    }
}

fn is_near(a: &Cohort, b: &Cohort) -> bool {
    a.tries == b.tries && (a.cut_at - b.cut_at).abs() < 1.0 && (a.from - b.from).abs() < 0.1
}
