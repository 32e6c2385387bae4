//! Machines that come and go with the load, late as in life: the load is seen smoothed, the decision takes its delay,
//! the machine its boot.
//!
//! Connections stay where they are when a machine is added, unless the node rebalances.

use super::{Nanos, State, failures::Act, nanos, seconds, tables::Tables};

/// Within this much of its aim nothing is changed: the tolerance of Kubernetes' autoscaler.
const TOLERANCE: f64 = 0.1;
/// So long must there have been too many: its stabilisation window.
const CALM: Nanos = 300_000_000_000;
/// Over so long connections move to a new machine.
const MOVING: Nanos = 60_000_000_000;

impl State {
    /// Heartbeats take their part of each machine, evenly in time; what is left serves the rest.
    pub(super) fn weigh_heartbeats(&mut self, tables: &Tables) {
        for (pool, table) in tables.pools.iter().enumerate() {
            if table.idle_cost <= 0.0 {
                continue;
            }
            let machines = self.nodes[table.node].open.len().max(1) as f64;
            let cores = f64::from(table.servers.max(1));
            let share = table.idle_cost * f64::from(self.users.connected) / machines / cores;
            // Something is always left: heartbeats are put off before work stops.
            self.stretch[pool] = 1.0 / (1.0 - share.clamp(0.0, 0.95));
            self.books
                .on_heartbeats(pool, self.now, share.min(1.0) * machines * cores * 1e9);
        }
    }

    pub(super) fn watch_scale(&mut self, tables: &Tables) {
        for node in 0..tables.nodes.len() {
            let table = &tables.nodes[node];
            let Some(scale) = table.scale else { continue };
            let open = self.nodes[node].open.len().max(1) as f64;
            let busy = table.pools.iter().map(|&pool| {
                let cores = f64::from(tables.pools[pool].servers.max(1));
                self.books.second_busy[pool] / 1e9 / (open * cores)
            });
            let now = busy.fold(0.0, f64::max);
            let row = &mut self.nodes[node];
            row.load += (now - row.load) / scale.delay.max(1.0);
            let target = scale.target.clamp(0.01, 1.0);
            let up = row.paid();
            let desired = libm::ceil(open * row.load / target) as usize;
            let most = (scale.machines_max.max(table.machines) as usize).min(1 << 14);
            if row.load > target * (1.0 + TOLERANCE) && desired.min(most) > up {
                row.low_since = None;
                let more = desired.min(most) - up;
                row.booting += more as u32;
                self.books.mark(
                    self.now,
                    format!("{}: {more} machines more are booting", table.name),
                );
                for _ in 0..more {
                    self.plan_act(self.now.saturating_add(nanos(scale.boot)), Act::Boot { node });
                }
            } else if row.load < target * (1.0 - TOLERANCE) && desired < up && up > table.machines as usize {
                let since = *row.low_since.get_or_insert(self.now);
                if self.now - since >= CALM {
                    row.low_since = Some(self.now);
                    if let Some(machine) = row.open.last().copied() {
                        self.books
                            .mark(self.now, format!("{}: a machine leaves", table.name));
                        self.begin_drain(tables, node, machine, false);
                    }
                }
            } else {
                row.low_since = None;
            }
        }
    }

    pub(super) fn on_booted(&mut self, tables: &Tables, node: usize) {
        self.nodes[node].booting = self.nodes[node].booting.saturating_sub(1);
        self.add_machine(tables, node);
        let rebalances = tables.nodes[node].scale.is_some_and(|scale| scale.rebalances);
        if rebalances && tables.edge == Some(node) {
            let machines = self.nodes[node].open.clone();
            for machine in &machines {
                self.spread(*machine, 1.0 / machines.len() as f64, MOVING);
            }
        }
    }

    /// By hand: at once, and for good.
    pub(super) fn set_machines(&mut self, tables: &Tables, node: u32, machines: u32) {
        let Some(node) = tables.nodes.iter().position(|row| row.id == node) else {
            return;
        };
        let wanted = machines.clamp(1, 1 << 14) as usize;
        let at = seconds(self.now);
        self.books.mark(
            self.now,
            format!("{}: {wanted} machines from {at:.0} s on", tables.nodes[node].name),
        );
        for _ in self.nodes[node].paid()..wanted {
            self.add_machine(tables, node);
        }
        for _ in wanted..self.nodes[node].paid() {
            if let Some(machine) = self.nodes[node].open.last().copied() {
                self.begin_drain(tables, node, machine, false);
            }
        }
    }
}
