//! Queues that can be solved with a pencil: what the fluid computes with, and what the engines are held against.
//!
//! A [`Queue`] is a station in its steady state. What is exact for exponential times (A. Erlang, 1917) is scaled by the
//! variability of others (A. Allen and C. Cunneen). Loads may come from a plan, so that any number is
//! taken: what has no steady state waits for ever, and is never NaN.

/// Servers above these are counted as these: the recursions take a step for each.
pub const SERVERS_MAX: u32 = 10_000;

/// One queue before several servers, with Poisson arrivals and exponential times unless a function says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    pub servers: u32,
    /// Arrivals a second.
    pub rate: f64,
    /// Mean seconds of one service.
    pub service: f64,
}

/// Squared coefficients of variation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variability {
    /// Of the times between arrivals: 1 of Poisson's.
    pub arrivals: f64,
    /// Of the services: 1 of exponential ones, 0 of fixed ones.
    pub services: f64,
}

impl Variability {
    /// Of Poisson arrivals and exponential services.
    pub const MARKOV: Self = Self {
        arrivals: 1.0,
        services: 1.0,
    };
}

impl Queue {
    /// Servers that are busy on average, if it can keep up.
    pub fn load(self) -> f64 {
        let load = self.rate * self.service;
        if load.is_finite() { load.max(0.0) } else { f64::MAX }
    }

    /// Share of the servers that is busy; above 1 it falls behind.
    pub fn utilisation(self) -> f64 {
        self.load() / f64::from(self.servers.max(1))
    }

    /// Share of the arrivals that has to wait.
    pub fn waits(self) -> f64 {
        erlang_c(self.servers, self.load())
    }

    /// Mean wait, seconds: M/M/c.
    pub fn wait_mean(self) -> f64 {
        self.wait_mean_of(Variability::MARKOV)
    }

    /// Mean wait, seconds, of other arrivals and services: exact for M/M/c and M/G/1, close for the rest.
    pub fn wait_mean_of(self, variability: Variability) -> f64 {
        let room = 1.0 - self.utilisation();
        if room <= 0.0 {
            return f64::INFINITY;
        }
        let half = (variability.arrivals.max(0.0) + variability.services.max(0.0)) / 2.0;
        half * self.waits() * self.service.max(0.0) / (f64::from(self.servers.max(1)) * room)
    }

    /// Share that waits longer than so many seconds.
    ///
    /// Exact for M/M/c. With other variability the tail stays exponential, with its mean: close from the 90th percentile
    /// on for services with light tails (J. Abate, G. Choudhury and W. Whitt, 1995).
    pub fn wait_above(self, seconds: f64, variability: Variability) -> f64 {
        let waits = self.waits();
        let mean = self.wait_mean_of(variability);
        if mean == f64::INFINITY {
            return 1.0;
        }
        if mean <= 0.0 || waits <= 0.0 {
            return 0.0;
        }
        waits * libm::exp(-seconds.max(0.0) * waits / mean)
    }

    /// Seconds within which a share of all, 0 to 1, has waited.
    pub fn wait_quantile(self, share: f64, variability: Variability) -> f64 {
        let waits = self.waits();
        let mean = self.wait_mean_of(variability);
        let above = 1.0 - share;
        if above >= waits || mean == 0.0 {
            0.0
        } else if mean == f64::INFINITY || above <= 0.0 {
            f64::INFINITY
        } else {
            libm::log(waits / above) * mean / waits
        }
    }

    /// Share of the arrivals that finds no room, if so many may wait: M/M/c/K with K = servers + `waiting_max`.
    pub fn refused(self, waiting_max: u32) -> f64 {
        let blocked = erlang_b(self.servers, self.load());
        if blocked <= 0.0 {
            return 0.0;
        }
        let busy = self.utilisation();
        let places = f64::from(waiting_max);
        // Weights of the states, relative to that in which all servers are busy and nobody waits: all up to that one
        // weigh 1 / blocked, each further one `busy` times the last.
        if busy <= 1.0 {
            let full = libm::pow(busy, places);
            full / (1.0 / blocked + geometric(busy, places))
        } else {
            // Relative to the full one instead, so that nothing grows without bound.
            let down = 1.0 / busy;
            1.0 / (libm::pow(down, places) / blocked + geometric(down, places) / down)
        }
    }
}

/// Sum of x, x², … of so many terms, for x of 0 to 1.
fn geometric(x: f64, terms: f64) -> f64 {
    if 1.0 - x < 1e-9 {
        return terms;
    }
    x * (1.0 - libm::pow(x, terms)) / (1.0 - x)
}

/// Share of the arrivals that is refused by so many servers without a queue, of a load in servers: Erlang's B.
pub fn erlang_b(servers: u32, load: f64) -> f64 {
    if load.is_nan() || load <= 0.0 {
        return 0.0;
    }
    let mut blocked = 1.0;
    for server in 1..=servers.min(SERVERS_MAX) {
        // Divided by the load, so that a huge one stays finite.
        blocked = blocked / (f64::from(server) / load + blocked);
    }
    blocked
}

/// Share of the arrivals that has to wait for so many servers: Erlang's C.
pub fn erlang_c(servers: u32, load: f64) -> f64 {
    if load.is_nan() {
        return 0.0;
    }
    let servers = servers.clamp(1, SERVERS_MAX);
    let busy = load.max(0.0) / f64::from(servers);
    if busy >= 1.0 {
        return 1.0;
    }
    let blocked = erlang_b(servers, load);
    (blocked / (1.0 - busy * (1.0 - blocked))).clamp(0.0, 1.0)
}

/// Mean wait before one server with Poisson arrivals, seconds: F. Pollaczek and A. Khinchine.
pub fn pollaczek_khinchine(rate: f64, service: f64, services_cv2: f64) -> f64 {
    let busy = rate * service;
    if busy.is_nan() || busy >= 1.0 {
        return f64::INFINITY;
    }
    rate * service * service * (1.0 + services_cv2) / (2.0 * (1.0 - busy))
}

/// Utilisation at which the 95th percentile of the wait is one service: above it, each percent costs more than the last.
///
/// 0.12 of one server, 0.35 of two, 0.58 of four, 0.75 of eight, 0.86 of 16, 0.92 of 32.
pub fn knee(servers: u32) -> f64 {
    let servers = servers.clamp(1, SERVERS_MAX);
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let busy = (low + high) / 2.0;
        let queue = Queue {
            servers,
            rate: busy * f64::from(servers),
            service: 1.0,
        };
        if queue.wait_above(1.0, Variability::MARKOV) > 0.05 {
            high = busy;
        } else {
            low = busy;
        }
    }
    low
}

/// Tries for each thing wanted, if each try fails with that chance and so many retries follow.
///
/// A budget allows so many retries for each success: then there are at most 1 / (1 - budget × (1 - fails)).
pub fn tries(fails: f64, retries: u32, budget: Option<f64>) -> f64 {
    let fails = if fails.is_nan() {
        0.0
    } else {
        fails.clamp(0.0, 1.0)
    };
    let all = 1.0 + geometric(fails, f64::from(retries));
    let allowed = budget.map_or(f64::INFINITY, |budget| {
        let paid = budget.max(0.0) * (1.0 - fails);
        if paid < 1.0 {
            1.0 / (1.0 - paid)
        } else {
            f64::INFINITY
        }
    });
    all.min(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, relative: f64) {
        assert!((a - b).abs() <= relative * b.abs().max(1e-300), "{a} is not {b}");
    }

    fn queue(servers: u32, busy: f64) -> Queue {
        Queue {
            servers,
            rate: busy * f64::from(servers) * 10.0,
            service: 0.1,
        }
    }

    #[test]
    fn erlang_agrees_with_the_tables() {
        // Published tables of traffic: 1 % blocking at 4.46 erlangs of 10 servers, and at 84.06 of 100.
        near(erlang_b(10, 4.461), 0.01, 0.001);
        near(erlang_b(100, 84.064), 0.01, 0.001);
        near(erlang_b(1, 1.0), 0.5, 1e-12);
        near(erlang_b(2, 1.0), 0.2, 1e-12);
        // C(c, a) by hand: one server waits with its utilisation; two at a = 1: 1/3.
        near(erlang_c(1, 0.7), 0.7, 1e-12);
        near(erlang_c(2, 1.0), 1.0 / 3.0, 1e-12);
    }

    #[test]
    fn any_load_and_any_number_of_servers_is_answered() {
        for servers in [0, 1, 7, 10_000, u32::MAX] {
            for load in [
                0.0,
                -1.0,
                1e-300,
                0.5,
                9_999.0,
                1e9,
                1e308,
                f64::INFINITY,
                f64::NAN,
            ] {
                for share in [erlang_b(servers, load), erlang_c(servers, load)] {
                    assert!((0.0..=1.0).contains(&share), "{servers} {load}");
                }
                let queue = Queue {
                    servers,
                    rate: load,
                    service: 1.0,
                };
                for waiting in [0, 1, 100, u32::MAX] {
                    assert!(
                        (0.0..=1.0).contains(&queue.refused(waiting)),
                        "{servers} {load} {waiting}"
                    );
                }
                assert!(
                    !queue.wait_mean().is_nan() && !queue.wait_quantile(0.95, Variability::MARKOV).is_nan()
                );
            }
        }
    }

    #[test]
    fn a_single_server_waits_as_the_books_say() {
        // M/M/1: rho / (1 - rho) services, and P(W > t) = rho exp(-(1 - rho) t / s).
        let queue = queue(1, 0.8);
        near(queue.wait_mean(), 0.4, 1e-12);
        near(
            queue.wait_above(0.5, Variability::MARKOV),
            0.8 * libm::exp(-1.0),
            1e-12,
        );
        near(
            queue.wait_quantile(0.95, Variability::MARKOV),
            0.5 * libm::log(16.0),
            1e-12,
        );
        // M/D/1 waits half of that, and agrees with Pollaczek and Khinchine.
        let fixed = Variability {
            arrivals: 1.0,
            services: 0.0,
        };
        near(queue.wait_mean_of(fixed), 0.2, 1e-12);
        near(pollaczek_khinchine(8.0, 0.1, 0.0), 0.2, 1e-12);
        near(pollaczek_khinchine(8.0, 0.1, 3.0), 0.8, 1e-12);
        assert_eq!(pollaczek_khinchine(10.0, 0.1, 1.0), f64::INFINITY);
    }

    #[test]
    fn a_finite_buffer_refuses_as_the_states_say() {
        for (servers, waiting) in [(1_u32, 0_u32), (1, 5), (3, 4), (8, 20)] {
            for busy in [0.2, 0.9, 1.0, 1.7] {
                // The states one by one.
                let load = busy * f64::from(servers);
                let (mut weight, mut all) = (1.0, 1.0);
                for state in 1..=servers + waiting {
                    weight *= load / f64::from(state.min(servers));
                    all += weight;
                }
                near(queue(servers, busy).refused(waiting), weight / all, 1e-9);
            }
        }
        // Far above what it can do, all that is more is refused.
        near(queue(4, 5.0).refused(1_000_000), 0.8, 1e-9);
    }

    #[test]
    fn the_knee_grows_with_the_servers() {
        for (servers, at) in [(1, 0.12), (2, 0.35), (4, 0.58), (8, 0.75), (16, 0.86), (32, 0.92)] {
            assert!((knee(servers) - at).abs() < 0.008, "{servers}: {}", knee(servers));
        }
    }

    #[test]
    fn retries_multiply_unless_a_budget_pays_for_them() {
        near(tries(1.0, 3, None), 4.0, 1e-9);
        near(tries(0.5, 3, None), 1.875, 1e-12);
        near(tries(0.0, 3, Some(0.1)), 1.0, 1e-12);
        near(tries(0.5, 3, Some(0.1)), 1.0 / 0.95, 1e-12);
        near(tries(1.0, 3, Some(0.1)), 1.0, 1e-12);
        assert!(tries(f64::NAN, u32::MAX, None) == 1.0);
    }
}
