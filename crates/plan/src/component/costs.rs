//! Costs of Tidegate that were measured on a machine, and that a plan names in place of the usual ones. How they come from
//! what `tidegate load calibrate` writes is in `measured`.

use serde::{Deserialize, Serialize};

use super::figures::{self, Figure, Interval};

/// See the module. Seconds of CPU and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Costs {
    /// Accepting, checking the token of and joining one connection.
    pub handshake: Interval,
    /// What TLS adds to that, where no load balancer ends it.
    pub tls: Interval,
    /// One publication, without its deliveries.
    pub publish: Interval,
    /// Of that, what each further machine does that holds receivers.
    pub put_out: Interval,
    /// One delivery with a write of its own.
    pub delivery: Interval,
    /// One delivery that shares the write of another.
    pub delivery_joined: Interval,
    /// One idle connection, each second.
    pub idle: Interval,
    pub connection_bytes: Interval,
    pub base_bytes: Interval,
    /// Until the log on disk has a publication.
    pub sync: Interval,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            handshake: figures::WS_HANDSHAKE.value,
            tls: figures::TLS_HANDSHAKE.value,
            publish: figures::WS_PUBLISH.value,
            put_out: figures::WS_PUT_OUT.value,
            delivery: figures::WS_DELIVERY.value,
            delivery_joined: figures::WS_DELIVERY_JOINED.value,
            idle: figures::WS_IDLE.value,
            connection_bytes: figures::WS_CONNECTION_BYTES.value,
            base_bytes: figures::WS_BASE_BYTES.value,
            sync: figures::WS_SYNC.value,
        }
    }
}

impl Costs {
    /// Each with its name, and the figure it takes the place of.
    pub fn each(self) -> [(&'static str, Figure, Interval); 10] {
        [
            ("handshake", figures::WS_HANDSHAKE, self.handshake),
            ("tls", figures::TLS_HANDSHAKE, self.tls),
            ("publish", figures::WS_PUBLISH, self.publish),
            ("put-out", figures::WS_PUT_OUT, self.put_out),
            ("delivery", figures::WS_DELIVERY, self.delivery),
            (
                "delivery-joined",
                figures::WS_DELIVERY_JOINED,
                self.delivery_joined,
            ),
            ("idle", figures::WS_IDLE, self.idle),
            (
                "connection-bytes",
                figures::WS_CONNECTION_BYTES,
                self.connection_bytes,
            ),
            ("base-bytes", figures::WS_BASE_BYTES, self.base_bytes),
            ("sync", figures::WS_SYNC, self.sync),
        ]
    }

    /// The one of a name.
    pub fn named(&mut self, name: &str) -> Option<&mut Interval> {
        Some(match name {
            "handshake" => &mut self.handshake,
            "tls" => &mut self.tls,
            "publish" => &mut self.publish,
            "put-out" => &mut self.put_out,
            "delivery" => &mut self.delivery,
            "delivery-joined" => &mut self.delivery_joined,
            "idle" => &mut self.idle,
            "connection-bytes" => &mut self.connection_bytes,
            "base-bytes" => &mut self.base_bytes,
            "sync" => &mut self.sync,
            _ => return None,
        })
    }

    /// The same, if every interval is in order; else the name of the first that is not.
    pub fn checked(self) -> Result<Self, &'static str> {
        for (name, _, Interval { low, mid, high }) in self.each() {
            let in_order = 0.0 <= low && low <= mid && mid <= high && high <= 1e12;
            if !in_order {
                return Err(name);
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_costs_are_read_and_checked() {
        let text = "delivery = { low = 5e-6, mid = 6e-6, high = 7e-6 }\n";
        let costs: Costs = toml::from_str(text).unwrap();
        assert_eq!(costs.checked().unwrap().delivery.mid, 6e-6);
        assert_eq!(costs.publish, figures::WS_PUBLISH.value);
        let back: Costs = toml::from_str(&toml::to_string(&costs).unwrap()).unwrap();
        assert_eq!(back, costs);
        let mut again = Costs::default();
        for (name, figure, value) in costs.each() {
            assert_eq!(Costs::default().each().len(), costs.each().len());
            *again.named(name).expect(name) = value;
            assert!(
                figure.value == value || name == "delivery",
                "{name} is in the place of {}",
                figure.name
            );
        }
        assert_eq!((again, again.named("delivry")), (costs, None));
        let wrong: Costs = toml::from_str("idle = { low = 2.0, mid = 1.0, high = nan }").unwrap();
        assert_eq!(wrong.checked(), Err("idle"));
        assert!(toml::from_str::<Costs>("delivry = 1").is_err());
    }
}
