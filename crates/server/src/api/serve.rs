//! Serves HTTP/1.1 on handed-over connections: bounded in number and in time.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
};
use tracing::debug;

use super::stream::Stream;
use crate::{config::EdgeLimits, control::HandedOver};

/// What connections under way are given when the back office ends.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) async fn serve(
    routes: Router,
    mut handed_over: mpsc::Receiver<HandedOver>,
    limits: &EdgeLimits,
    mut stopped: oneshot::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(limits.http_connections_max));
    let mut connections = JoinSet::new();
    let (stop, stopping) = watch::channel(false);
    loop {
        let next = tokio::select! {
            biased;
            _ = &mut stopped => break,
            next = handed_over.recv() => next,
            // Collects those that have ended.
            Some(_) = connections.join_next() => continue,
        };
        let Some(next) = next else {
            break;
        };
        let peer = next.peer;
        let Ok(place) = places.clone().try_acquire_owned() else {
            debug!(%peer, "an HTTP connection is refused: there are too many");
            refuse(next);
            continue;
        };
        let stream = match Stream::new(next, limits.http_request_timeout, stopping.clone()) {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%peer, %error, "a connection could not be taken over");
                continue;
            }
        };
        let mut http = hyper::server::conn::http1::Builder::new();
        // Also ends a connection that is kept alive and says nothing.
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.http_head_timeout)
            .max_buf_size(64 << 10);
        let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.clone()));
        let mut stopping = stopping.clone();
        connections.spawn(async move {
            let mut served = std::pin::pin!(served);
            let result = tokio::select! {
                result = &mut served => result,
                // What is idle ends at once, what is asked is still answered.
                _ = stopping.changed() => {
                    served.as_mut().graceful_shutdown();
                    served.await
                }
            };
            if let Err(error) = result {
                debug!(%peer, %error, "an HTTP connection ended badly");
            }
            drop(place);
        });
    }
    let _ = stop.send(true);
    let _ = tokio::time::timeout(FAREWELL, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

/// Says 503 as far as the socket takes it at once. Behind TLS the connection just ends.
fn refuse(handed_over: HandedOver) {
    use std::io::Write;
    if handed_over.tls.is_none() {
        let response = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = (&handed_over.stream).write(response);
    }
}
