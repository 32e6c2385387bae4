//! What probes, scrapers and tools ask for.

use serde_json::json;

use crate::{http::Http, world::World};

#[test]
fn what_probes_and_scrapers_ask_for_is_there() {
    let world = World::start(2, "");
    let mut http = Http::to(&world);
    assert_eq!(http.get("/v1/live").text(200), "live\n");
    assert_eq!(http.get("/v1/ready").text(200), "ready\n");
    let document = http.get("/v1/openapi.json").ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let page = http.get("/");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text(200).starts_with("<!doctype html>"));

    http.post("/v1/publish", &json!({"room": "chat:a", "data": 1}))
        .ok();
    http.post("/v1/publish", &json!({"room": "nowhere:a", "data": 1}))
        .problem(404);
    let scrape = http.get("/metrics");
    let kind = scrape.headers["content-type"].clone();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = scrape.text(200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in [
        "tidegate_engine_publications_total 1",
        "tidegate_engine_ready 1",
        "tidegate_http_requests_total{method=\"POST\",route=\"/v1/publish\",status=\"4xx\"} 1",
        "tidegate_http_requests_total{method=\"POST\",route=\"/v1/publish\",status=\"2xx\"} 1",
        "tidegate_http_requests_total{method=\"GET\",route=\"/v1/live\",status=\"2xx\"} 1",
        "tidegate_http_requests_total{method=\"GET\",route=\"/\",status=\"2xx\"} 1",
    ] {
        let has_line = text
            .lines()
            .any(|of| of == line || of.strip_prefix(line) == Some(".0"));
        assert!(has_line, "{line} is not in\n{text}");
    }
    for metric in tidegate_server::api::METRICS {
        assert!(
            text.contains(&format!("# HELP {} ", metric.name)),
            "{}",
            metric.name
        );
    }
}

#[test]
fn the_planner_is_a_page_that_may_run_nothing_but_its_own() {
    // Built or not: `cargo test` alone builds no pages.
    let world = World::start(1, "demo = true");
    let mut http = Http::to(&world);
    let away = http.get("/planner");
    assert_eq!(
        (away.status, away.headers["location"].as_str()),
        (308, "/planner/")
    );
    let page = http.get("/planner/");
    let policy = page.headers["content-security-policy"].clone();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"),
        "{policy}"
    );
    assert!(page.text(200).starts_with("<!doctype html>"));
    http.get("/planner/none").problem(404);

    let world = World::start(1, "");
    let mut http = Http::to(&world);
    assert!(http.get("/planner/").text(200).contains("--demo"));
    http.get("/planner").problem(404);
}

#[test]
fn every_route_of_the_document_is_served_and_with_that_method_only() {
    let world = World::start(1, "");
    for (method, path) in tidegate_server::api::ROUTES {
        let mut http = Http::to(&world);
        let method = method.to_ascii_uppercase();
        let status = http.call(&method, path, "", "").status;
        assert!(matches!(status, 200 | 400), "{method} {path}: {status}");
        let other = if method == "GET" { "POST" } else { "GET" };
        let problem = http.call(other, path, "", "").problem(405);
        assert!(problem["detail"].as_str().unwrap().contains(other), "{problem}");
        http.call("DELETE", path, "", "").problem(405);
    }
}
