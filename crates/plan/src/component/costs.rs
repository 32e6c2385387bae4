//! Costs of Tidegate that were measured on a machine: what `tidegate load --emit` writes and a plan names.

use serde::{Deserialize, Serialize};

use super::figures::{self, Interval};

/// See the module. Seconds of CPU and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Costs {
    /// Accepting, checking the token of and joining one connection.
    pub handshake: Interval,
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
    /// The same, if every interval is in order; else the name of the first that is not.
    pub fn checked(self) -> Result<Self, &'static str> {
        let all = [
            ("handshake", self.handshake),
            ("publish", self.publish),
            ("put-out", self.put_out),
            ("delivery", self.delivery),
            ("delivery-joined", self.delivery_joined),
            ("idle", self.idle),
            ("connection-bytes", self.connection_bytes),
            ("base-bytes", self.base_bytes),
            ("sync", self.sync),
        ];
        for (name, Interval { low, mid, high }) in all {
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
        let wrong: Costs = toml::from_str("idle = { low = 2.0, mid = 1.0, high = nan }").unwrap();
        assert_eq!(wrong.checked(), Err("idle"));
        assert!(toml::from_str::<Costs>("delivry = 1").is_err());
    }
}
