//! The demo's one publisher: replays a real price series into the rooms `px:SYMBOL`.
//!
//! The series is `stocks.csv` of npm's `vega-datasets` 3.2.1 (BSD-3-Clause): month-end
//! prices of five shares, 2000 to 2010. Which month is shown follows from the wall clock, so a restart goes on
//! where it would have been.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tidegate_core::request::{NewPublication, Request, Source, Ticket};
use tidegate_engine::Port;
use tidegate_wire::{Payload, RoomName};

const SERIES: &str = include_str!("stocks.csv");
/// One month of the series lasts this long.
const STEP: Duration = Duration::from_millis(500);

/// A running ticker; ends when dropped.
pub(crate) struct Ticker {
    /// Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts publishing through a port of its own.
    pub(crate) fn start(port: Port) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("tidegate-demo".into())
            .spawn(move || publish(port, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own hook.
            let _ = thread.join();
        }
    }
}

fn publish(mut port: Port, stopped: &Receiver<()>) {
    let series = series();
    let mut last = None;
    loop {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let step = since_epoch.as_millis() / STEP.as_millis();
        if last.replace(step) != Some(step) {
            for (symbol, prices) in &series {
                let (date, price) = prices[(step % prices.len() as u128) as usize];
                let data = format!(r#"{{"symbol":"{symbol}","date":"{date}","price":{price}}}"#);
                let publication = NewPublication {
                    room: RoomName::parse(&format!("px:{symbol}")).expect("symbols are plain letters"),
                    lane: None,
                    data: Payload::Json(data.into()),
                    from: Bytes::from_static(b"ticker"),
                    msg: Bytes::new(),
                    key: Bytes::copy_from_slice(symbol.as_bytes()),
                    sent_us: since_epoch.as_micros() as u64,
                    received_us: since_epoch.as_micros() as u64,
                    source: Source::Backend,
                };
                // A full engine loses a tick of the demo, and nothing else.
                let _ = port.try_submit(Request::Publish {
                    ticket: Ticket(0),
                    publish: Box::new(publication),
                });
            }
        }
        while port.try_event().is_some() {}
        let to_next = STEP.as_millis() - since_epoch.as_millis() % STEP.as_millis();
        match stopped.recv_timeout(Duration::from_millis(to_next as u64)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Prices by symbol, in the order of their months.
fn series() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
    let mut series: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in SERIES.lines().skip(1) {
        let mut fields = line.split(',');
        if let (Some(symbol), Some(date), Some(price)) = (fields.next(), fields.next(), fields.next()) {
            series.entry(symbol).or_default().push((date, price));
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_has_five_symbols_and_prices_that_are_numbers() {
        let series = series();
        let symbols: Vec<&str> = series.keys().copied().collect();
        assert_eq!(symbols, ["AAPL", "AMZN", "GOOG", "IBM", "MSFT"]);
        for (date, price) in series.values().flatten() {
            assert!(
                price.parse::<f64>().is_ok_and(|price| price > 0.0),
                "{date} {price}"
            );
        }
    }
}
