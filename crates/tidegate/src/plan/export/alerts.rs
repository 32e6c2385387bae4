//! Alert rules for Prometheus: reality leaves what was planned, or comes near the knee, or a promise is in danger.
//!
//! Thresholds are the plan's: a rule that fires says that the plan no longer describes what runs. Only metrics of
//! docs/metrics.md are used; what Tidegate does not measure itself (how long a delivery takes to its
//! reader) has no rule that pretends to.

use std::fmt::Write;

use super::{
    super::report::shown::{count, share, time},
    needs::{KNEE, Needs, up},
    yaml::quoted,
};

/// How long it must last.
const AT_ONCE: &str = "1m";
const SOON: &str = "5m";
const SLOWLY: &str = "15m";

/// A rule file.
pub fn alerts(needs: &Needs) -> String {
    let mut rules = Rules {
        text: String::from("groups:\n  - name: tidegate-plan\n    rules:\n"),
    };
    capacity(&mut rules, needs);
    promises(&mut rules, needs);
    refusals(&mut rules);
    rules.text
}

struct Rules {
    text: String,
}

#[derive(Clone, Copy)]
struct Rule<'a> {
    name: &'a str,
    expression: &'a str,
    lasts: &'a str,
    /// Somebody must act now; else it waits for the day.
    is_urgent: bool,
    summary: &'a str,
    /// What the plan says, and what to do.
    description: &'a str,
}

impl Rules {
    fn add(&mut self, rule: Rule) {
        let severity = if rule.is_urgent { "critical" } else { "warning" };
        let _ = write!(
            self.text,
            "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          severity: {severity}\n        \
             annotations:\n          summary: {}\n          description: {}\n",
            rule.name,
            quoted(rule.expression),
            rule.lasts,
            quoted(rule.summary),
            quoted(rule.description),
        );
    }
}

/// More of it than was planned, and what a machine bears.
fn capacity(rules: &mut Rules, needs: &Needs) {
    let users = up(needs.users * 1.1);
    rules.add(Rule {
        name: "TidegateUsersAbovePlan",
        expression: &format!("sum(tidegate_connections) > {users}"),
        lasts: SOON,
        is_urgent: false,
        summary: "More are connected than was planned",
        description: &format!(
            "The plan has {} at its peak, and this is a tenth more. Put the new peak into the plan and run it.",
            count(needs.users)
        ),
    });
    let most = needs.connections_max();
    rules.add(Rule {
        name: "TidegateConnectionsNearLimit",
        expression: &format!("tidegate_connections > {}", (most as f64 * 0.9) as u64),
        lasts: AT_ONCE,
        is_urgent: true,
        summary: "A machine is near limits.connections_max",
        description: &format!(
            "At {} the next is refused ({}).",
            count(most as f64),
            needs.connections_why()
        ),
    });
    let publishes = up(needs.publishes * 1.1);
    rules.add(Rule {
        name: "TidegatePublishesAbovePlan",
        expression: &format!("sum(rate(tidegate_engine_publications_total[5m])) > {publishes}"),
        lasts: SOON,
        is_urgent: false,
        summary: "More is published than was planned",
        description: &format!(
            "The plan has {} a second in its busiest minute, and this is a tenth more.",
            count(needs.publishes)
        ),
    });
    if needs.busy > 0.0 && needs.deliveries > 0.0 {
        // Work grows with deliveries: where a machine would be at its knee.
        let knee = up(needs.deliveries / f64::from(needs.machines) * KNEE / needs.busy);
        rules.add(Rule {
            name: "TidegateDeliveriesNearKnee",
            expression: &format!(
                "rate(tidegate_deliveries_total[5m]) > {}",
                (knee as f64 * 0.9) as u64
            ),
            lasts: SOON,
            is_urgent: true,
            summary: "A machine delivers nearly as much as it can without waits growing",
            description: &format!(
                "By the plan a {} is {} busy at {} deliveries a second, so that its knee, {}, is at {}.",
                needs.size.name,
                percent(needs.busy),
                count(needs.deliveries / f64::from(needs.machines)),
                percent(KNEE),
                count(knee as f64)
            ),
        });
    }
    rules.add(Rule {
        name: "TidegateBusy",
        expression: &format!(
            "rate(tidegate_process_cpu_seconds_total[5m]) / {} > {KNEE}",
            needs.size.cores
        ),
        lasts: SOON,
        is_urgent: true,
        summary: "A machine's cores are at the knee",
        description: &format!(
            "The plan has {} in the busiest minute of a {}; above {} waits grow faster than the load.",
            percent(needs.busy),
            needs.size.name,
            percent(KNEE)
        ),
    });
    rules.add(Rule {
        name: "TidegateMemoryNearShedding",
        expression: "tidegate_process_resident_bytes / tidegate_memory_max_bytes > 0.65",
        lasts: SOON,
        is_urgent: false,
        summary: "A machine's memory is near where work is shed",
        description: &format!(
            "From 70 % of limits.memory_max ({} MiB by the plan) on, work is refused.",
            needs.memory_max()
        ),
    });
}

/// What was promised.
fn promises(rules: &mut Rules, needs: &Needs) {
    let plan = needs.plan;
    if let Some((percentile, within)) = needs.promise(None) {
        // What the network takes of it at the same percentile, both ways, is not the server's to spend.
        let network = 2.0 * plan.scenario.network_p95;
        let own = (within - network).max(within / 10.0);
        rules.add(Rule {
            name: "TidegateStoringSlow",
            expression: &format!(
                "tidegate_admission_latency_seconds{{class=\"publish\"}} > {:.4}",
                own / 2.0
            ),
            lasts: AT_ONCE,
            is_urgent: true,
            summary: "Until a publication is stored takes half of what the promise leaves",
            description: &format!(
                "p{} is promised within {}; the network takes {} of it, {} is left, and half of that is spent in the median.",
                percentile * 100.0,
                time(within),
                time(network.min(within)),
                time(own)
            ),
        });
        rules.add(Rule {
            name: "TidegateTurnsLong",
            expression: &format!("tidegate_turn_seconds{{quantile=\"0.99\"}} > {:.4}", own),
            lasts: SOON,
            is_urgent: false,
            summary: "A turn of a shard takes as long as the promise leaves",
            description: &format!(
                "Whoever publishes waits for the turn before: p{} is promised within {}. Since the start of the process.",
                percentile * 100.0,
                time(within)
            ),
        });
    }
    let (_, pace, _) = needs.drain();
    let storm = up(pace.max(1) as f64).max((needs.reconnects * 0.9) as u64);
    rules.add(Rule {
        name: "TidegateReconnectStorm",
        expression: &format!("sum(rate(tidegate_connections_opened_total[1m])) > {storm}"),
        lasts: AT_ONCE,
        is_urgent: true,
        summary: "More connect than can be borne beside the work",
        description: &format!(
            "`{}` bears {} a second beside its work in the plan{}.",
            needs.reconnects_by,
            count(needs.reconnects),
            match plan.contract.reconnect {
                Some(within) => format!("; 95 % are promised to be back within {}", time(within)),
                None => String::new(),
            }
        ),
    });
    let allowed = 1.0 - plan.contract.uptime;
    rules.add(Rule {
        name: "TidegateErrorBudget",
        // Ten times as fast as the budget allows: gone within three days of a month.
        expression: &format!(
            "sum(rate(tidegate_rejects_total{{code=~\"overloaded|unavailable|timeout\"}}[1h])) \
             / sum(rate(tidegate_commands_total[1h])) > {}",
            trimmed((allowed * 10.0).min(0.5))
        ),
        lasts: SOON,
        is_urgent: true,
        summary: "Commands are refused ten times as often as the error budget allows",
        description: &format!(
            "{} is promised: at this pace a month's budget is gone in three days.",
            share(plan.contract.uptime)
        ),
    });
    let slow = plan.scenario.slow_readers;
    rules.add(Rule {
        name: "TidegateReadersTooSlow",
        expression: &format!(
            "sum(rate(tidegate_closes_total{{reason=\"too_slow\"}}[15m])) * 900 / sum(tidegate_connections) > {}",
            trimmed((slow * 1.5).max(0.01))
        ),
        lasts: SLOWLY,
        is_urgent: false,
        summary: "More readers fall behind and are closed than was planned",
        description: &format!("The plan has {} of slow readers; of all connections, in a quarter of an hour.", percent(slow)),
    });
}

/// The server says no.
fn refusals(rules: &mut Rules) {
    rules.add(Rule {
        name: "TidegateShedding",
        expression: "sum by (class) (tidegate_shedding) > 0",
        lasts: AT_ONCE,
        is_urgent: true,
        summary: "Work of the class {{ $labels.class }} is refused for want of memory",
        description: "The plan has none of it. See which outboxes grow (tidegate_outbox_bytes), then add memory or machines.",
    });
    rules.add(Rule {
        name: "TidegateNewcomersRefused",
        expression: "sum by (reason) (rate(tidegate_sockets_refused_total[5m])) > 0",
        lasts: SOON,
        is_urgent: true,
        summary: "Newcomers are refused: {{ $labels.reason }}",
        description: "By the plan all who come are let in.",
    });
    rules.add(Rule {
        name: "TidegateCannotStore",
        expression: "tidegate_engine_ready == 0",
        lasts: AT_ONCE,
        is_urgent: true,
        summary: "Publications cannot be stored",
        description: "Publishes are rejected until they can: look at the disk of the engine.",
    });
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A share without the noise of its binary.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
