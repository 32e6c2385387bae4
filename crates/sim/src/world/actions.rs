//! What is done to the world: each action of the plan, and the end of all faults.

use bytes::Bytes;
use tidegate_core::Lane;

use super::World;
use crate::plan::{Action, Fate, Side};

impl World {
    pub(super) fn act(&mut self, action: &Action) {
        let now = self.now;
        let rooms = self.plan.rooms.clone();
        match action.clone() {
            Action::Connect { client } => self.with_client(client, |c, out| c.connect(now, out)),
            Action::Quit { client } => self.with_client(client, |c, out| c.quit(now, out)),
            Action::Join {
                client,
                room,
                options,
            } => {
                self.with_client(client, |c, out| c.join(&rooms[room], options, now, out));
            }
            Action::Leave { client, room } => {
                self.with_client(client, |c, out| c.leave(&rooms[room], now, out));
            }
            Action::Publish {
                client,
                room,
                count,
                bytes,
                keys,
            } => {
                for n in 0..count {
                    self.publish(client, room, keys.of(n), bytes);
                }
            }
            Action::Burst {
                room,
                clients,
                count,
                bytes,
                keys,
            } => {
                for n in 0..clients * count {
                    self.publish(n / count, room, keys.of(n), bytes);
                }
            }
            Action::Filter { client, room, wishes } => {
                self.with_client(client, |c, out| c.filter(&rooms[room], &wishes, now, out));
            }
            Action::Storm { one_in, side } => {
                for client in (0..self.links.len()).step_by(one_in) {
                    if let Some(link) = self.links[client] {
                        self.network.cut(link, side, now, &mut self.agenda);
                    }
                }
            }
            Action::Waver { client, time } => self.network.weather[client].wavers_until = now + time,
            Action::ReadHistory { client, room } => {
                self.with_client(client, |c, out| c.read_history(&rooms[room], now, out));
            }
            Action::Cut { client, side } => {
                if let Some(link) = self.links[client] {
                    self.network.cut(link, side, now, &mut self.agenda);
                }
            }
            Action::Silence { client, time } => {
                if let Some(link) = self.links[client] {
                    self.network.silence(link, now + time);
                }
            }
            Action::StopReading { client, time } => {
                self.network.weather[client].stopped_until = now + time;
            }
            Action::Trickle {
                client,
                bytes_per_ms,
                time,
            } => self.network.weather[client].slow = (now + time, bytes_per_ms),
            Action::Offline { client, time } => {
                self.network.weather[client].offline_until = now + time;
                if let Some(link) = self.links[client] {
                    self.network.cut(link, Side::Both, now, &mut self.agenda);
                }
            }
            Action::Kick { client } => {
                let user = Bytes::from(self.clients[client].user.clone());
                for node in &mut self.nodes {
                    node.shard.disconnect(&user, now);
                    node.plan_turn(now, &mut self.agenda);
                }
            }
            Action::HoldShard { shard, time } => {
                self.nodes[shard].held_until = now + time;
                self.nodes[shard].plan_turn(now + time, &mut self.agenda);
            }
            Action::StallEngine { time } => self.engine.faults.stalled_until = now + time,
            Action::SlowEngine { delay, time } => self.engine.faults.slow = (now + time, delay),
            Action::Refuse { keeps, time } => {
                self.engine.faults.refuses_until = now + time;
                self.engine.faults.keeps_while_refusing = keeps;
            }
            Action::LoseAnswers { count } => self.engine.faults.lost_answers += count,
            Action::Break { room, shard } => {
                let events = self.engine.break_attachment(&rooms[room], shard as u8);
                self.spread(events.into_iter().collect());
            }
            Action::Trim { room, keep } => self.engine.trim(&rooms[room], keep),
            Action::RestartEngine { fate } => {
                let events = self.engine.restart(fate, now);
                self.spread(events);
            }
            Action::RestartServer { fate } => self.restart_server(fate),
            Action::Drain { shard, pacing } => self.drain(shard, pacing),
            Action::Replace { pacing } => self.replace(pacing),
            Action::Pressure { percent, time } => {
                for node in &mut self.nodes {
                    node.press(percent, now + time, now);
                    node.plan_turn(now, &mut self.agenda);
                }
            }
            Action::Rebalance {
                shard,
                percent,
                pacing,
            } => {
                self.nodes[shard].rebalance(percent, pacing, now);
                self.nodes[shard].plan_turn(now, &mut self.agenda);
            }
        }
    }

    fn publish(&mut self, client: usize, room: usize, key: Bytes, bytes: usize) {
        let now = self.now;
        self.published += 1;
        let deletes = self.plan.deletes && self.plan.has_state(room) && !key.is_empty();
        let bytes = (!deletes || !self.published.is_multiple_of(4)).then_some(bytes);
        let room = self.plan.rooms[room].clone();
        // Now and then one that promises less than its namespace.
        let is_less = self.plan.narrows && self.published.is_multiple_of(3);
        let lane = is_less.then_some(Lane::Lossy);
        self.with_client(client, |c, out| c.publish(&room, key, lane, bytes, now, out));
    }

    pub(super) fn restart_server(&mut self, fate: Fate) {
        for place in 0..self.nodes.len() {
            self.restart_node(place);
        }
        self.engine.restart_with_server(fate);
    }

    pub(super) fn restart_node(&mut self, place: usize) {
        self.servers[place] += 1;
        for link in self.nodes[place].links() {
            self.network.cut(link, Side::Client, self.now, &mut self.agenda);
            self.network.links[link].conn = None;
        }
        self.collect_counters(place);
        self.nodes[place].restart(self.now);
        self.nodes[place].plan_turn(self.now, &mut self.agenda);
    }

    pub(super) fn heal(&mut self) {
        let now = self.now;
        self.trace.say(now, "heal", format_args!("all faults end"));
        self.network.heal(now, &mut self.agenda);
        self.engine.faults = Default::default();
        for node in &mut self.nodes {
            node.held_until = now;
            node.is_healed = true;
            node.relieve(now);
            node.plan_turn(now, &mut self.agenda);
        }
    }

    /// All is calm: one client publishes once more.
    pub(super) fn probe(&mut self, count: usize) {
        let client = count % self.clients.len();
        let room = count % self.plan.rooms.len();
        self.clients[client].expects_calm = true;
        self.publish(client, room, Bytes::new(), 20);
    }

    pub(super) fn collect_counters(&mut self, node: usize) {
        let counters = self.nodes[node].shard.counters();
        self.stats.gaps += counters.gaps_total;
        self.stats.replayed += counters.replayed_total;
        self.stats.conflated += counters.conflated_total;
        self.stats.dropped += counters.dropped_total;
        // TooSlow is the second of all reasons to close.
        self.stats.too_slow += counters.closes_total[1];
        self.stats.slots += counters.slots_told_total;
        let gate = self.nodes[node].shard.gate_counters();
        for limit in gate.limits {
            self.stats.waited += limit.waited_total;
            self.stats.refused += limit.refused_total;
        }
        self.stats.exceeded += gate.exceeded_total.iter().sum::<u64>();
        self.stats.shed += gate.shed_total.iter().sum::<u64>();
    }
}
