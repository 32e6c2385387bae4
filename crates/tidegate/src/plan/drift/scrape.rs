//! What a server's `/metrics` says: numbers by name, at one moment of its life.

use std::collections::BTreeMap;

/// See the module. A sample's name has its labels with it, as they are written.
#[derive(Debug)]
pub struct Scrape {
    samples: BTreeMap<String, f64>,
}

/// What two of them come to; rates are a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    pub seconds: f64,
    pub connections: f64,
    pub publications: f64,
    pub deliveries: f64,
    /// Cores.
    pub cpu: f64,
    /// Resident, without publications that are kept or wait.
    pub memory: f64,
    /// Median time until a publication is on disk, since the start; 0 where nothing waited for that.
    pub sync: f64,
}

impl Scrape {
    /// Reads the text format of OpenMetrics, or of Prometheus: one sample a line, comments and time stamps left.
    pub fn parse(text: &str) -> Self {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            // Label values may have spaces in them.
            let end = line
                .find('}')
                .map_or_else(|| line.find(' '), |brace| Some(brace + 1));
            let Some((name, rest)) = end.and_then(|end| line.split_at_checked(end)) else {
                continue;
            };
            let value = rest
                .split_whitespace()
                .next()
                .and_then(|value| value.parse().ok());
            if let Some(value) = value {
                samples.insert(name.to_owned(), value);
            }
        }
        Self { samples }
    }

    fn sample(&self, name: &str) -> Result<f64, String> {
        let value = self.samples.get(name).copied();
        value
            .filter(|value| value.is_finite())
            .ok_or_else(|| format!("there is no metric `{name}`; is it `/metrics` of a Tidegate server?"))
    }

    fn or_zero(&self, name: &str) -> f64 {
        self.sample(name).unwrap_or(0.0)
    }

    /// Seconds the server has lived.
    pub fn uptime(&self) -> Result<f64, String> {
        self.sample("tidegate_process_uptime_seconds")
    }

    pub fn connections(&self) -> Result<f64, String> {
        self.sample("tidegate_connections")
    }

    /// What happened from this one to a later one of the same server.
    pub fn until(&self, later: &Self) -> Result<Between, String> {
        let seconds = later.uptime()? - self.uptime()?;
        let counted = |name: &str| -> Result<f64, String> { Ok(later.sample(name)? - self.sample(name)?) };
        let cpu = counted("tidegate_process_cpu_seconds_total")?;
        let publications = counted("tidegate_engine_publications_total")?;
        let deliveries = counted("tidegate_deliveries_total")?;
        if seconds < 0.0 || [cpu, publications, deliveries].iter().any(|more| *more < 0.0) {
            return Err(
                "the second scrape is from before the first, or the server was started in between".to_owned(),
            );
        }
        if seconds < 0.1 {
            return Err("both scrapes are of the same moment; leave some seconds between them".to_owned());
        }
        let memory = |scrape: &Self| -> Result<f64, String> {
            let kept = scrape.or_zero("tidegate_engine_memory_bytes")
                + scrape.or_zero("tidegate_engine_state_bytes")
                + scrape.or_zero("tidegate_outbox_bytes");
            Ok((scrape.sample("tidegate_process_resident_bytes")? - kept).max(0.0))
        };
        Ok(Between {
            seconds,
            connections: (self.connections()? + later.connections()?) / 2.0,
            publications: publications / seconds,
            deliveries: deliveries / seconds,
            cpu: cpu / seconds,
            memory: (memory(self)? + memory(later)?) / 2.0,
            sync: later.or_zero("tidegate_engine_sync_seconds{quantile=\"0.5\"}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(uptime: f64, published: f64) -> String {
        format!(
            "# TYPE tidegate_connections gauge\ntidegate_connections 100\ntidegate_engine_publications_total {published}\n\
             tidegate_deliveries_total {}\ntidegate_process_cpu_seconds_total {} 1700000000.5\n\
             tidegate_process_resident_bytes 3e7\ntidegate_engine_memory_bytes 1e7\n\
             tidegate_rejects_total{{code=\"a b\"}} 7\ntidegate_engine_sync_seconds{{quantile=\"0.5\"}} 0.002\n\
             tidegate_process_uptime_seconds {uptime}\n# EOF\n",
            published * 10.0,
            uptime / 100.0
        )
    }

    #[test]
    fn two_scrapes_are_rates_and_levels() {
        let (one, two) = (Scrape::parse(&text(5.0, 40.0)), Scrape::parse(&text(15.0, 240.0)));
        assert_eq!(one.samples["tidegate_rejects_total{code=\"a b\"}"], 7.0);
        let between = one.until(&two).unwrap();
        assert_eq!((between.seconds, between.connections), (10.0, 100.0));
        assert_eq!((between.publications, between.deliveries), (20.0, 200.0));
        assert!((between.cpu - 0.01).abs() < 1e-12);
        assert_eq!((between.memory, between.sync), (2e7, 0.002));
    }

    #[test]
    fn scrapes_that_do_not_follow_each_other_are_told() {
        let (one, two) = (Scrape::parse(&text(5.0, 40.0)), Scrape::parse(&text(15.0, 240.0)));
        assert!(two.until(&one).unwrap_err().contains("started in between"));
        assert!(one.until(&one).unwrap_err().contains("same moment"));
        for junk in [
            "",
            "<html>",
            "tidegate_connections",
            "tidegate_connections x",
            "}{ 1",
        ] {
            let scrape = Scrape::parse(junk);
            assert!(scrape.until(&two).unwrap_err().contains("no metric"), "{junk}");
        }
    }
}
