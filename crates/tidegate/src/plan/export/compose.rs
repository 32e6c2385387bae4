//! A Compose file of the topology: all nodes on one machine, each with the share of it that the plan gives one.
//!
//! ```text
//!   lb        haproxy, leastconn, by /v1/ready        ws       image of yours, tidegate.toml inside
//!   postgres, redis, nats, rabbitmq: plain images     server, worker: images of yours, named by variables
//! ```
//!
//! What has no image of its own (a replica that follows, a standby that takes over, a hosted service) is said in
//! comments, not pretended.

use std::fmt::Write;

use tidegate_plan::{
    component::{self, Size},
    plan::{Kind, Node},
};

use super::{
    needs::{MIB, Needs},
    tidegate::{Place, duration, tidegate},
    yaml::{quoted, text},
};

/// Containers of one file at most: it is of one machine.
const CONTAINERS_MAX: u32 = 256;

/// # Errors
/// If it is more than one machine should hold.
pub fn compose(needs: &Needs) -> Result<String, String> {
    let nodes = &needs.plan.topology.nodes;
    let containers: u32 = nodes.iter().map(|node| node.count).fold(0, u32::saturating_add);
    if containers > CONTAINERS_MAX {
        return Err(format!(
            "its {containers} machines are more than the {CONTAINERS_MAX} containers of a Compose file; `--kubernetes` has no such bound"
        ));
    }
    let mut text = String::from(
        "# It needs Compose 2.23.1 or later, and in its environment TIDEGATE_SECRET, POSTGRES_PASSWORD where there is a database, and\n\
         # the images of your own programs.\nservices:\n",
    );
    let mut volumes = Vec::new();
    for node in nodes {
        match is_run(node) {
            Ok(()) => service(&mut text, needs, node, &mut volumes),
            Err(why) => {
                let _ = writeln!(text, "  # {}: {why}", node.id);
            }
        }
    }
    text.push_str("configs:\n  tidegate:\n    content: |\n");
    // Compose reads a dollar as a variable.
    indented(
        &mut text,
        6,
        &tidegate(needs, Place::Container).replace('$', "$$"),
    );
    for node in nodes.iter().filter(|node| node.kind == Kind::Lb) {
        let _ = writeln!(text, "  {}:\n    content: |", self::text(&config_of(node)));
        indented(&mut text, 6, &haproxy(needs, node));
    }
    if !volumes.is_empty() {
        text.push_str("volumes:\n");
        for volume in volumes {
            let _ = writeln!(text, "  {volume}: {{}}");
        }
    }
    Ok(text)
}

/// Whether a node is something that runs beside the others; else why not.
fn is_run(node: &Node) -> Result<(), &'static str> {
    match node.kind {
        Kind::Hosted => Err("hosted elsewhere; nothing of it runs here"),
        Kind::Limiter if size_of(node).managed => {
            Err("in the process of its callers; nothing of its own runs")
        }
        Kind::Limiter
        | Kind::Lb
        | Kind::Ws
        | Kind::Server
        | Kind::Postgres
        | Kind::Replica
        | Kind::Redis
        | Kind::Stream
        | Kind::Queue
        | Kind::Worker => Ok(()),
    }
}

/// What must be there before a node: what it calls, but for those that a stream or a queue calls. They ask it.
fn depended_on(needs: &Needs, node: &Node) -> Vec<String> {
    let gives = |node: &Node| matches!(node.kind, Kind::Stream | Kind::Queue | Kind::Redis);
    let mut all: Vec<&Node> = match gives(node) {
        true => Vec::new(),
        false => behind(needs, node),
    };
    let nodes = needs.plan.topology.nodes.iter();
    let callers = nodes.filter(|other| gives(other) && is_run(other).is_ok());
    all.extend(callers.filter(|other| needs.called_by(other).contains(&node.id.as_str())));
    all.iter().map(|node| text(&node.id)).collect()
}

/// The nodes that one calls and that run; what runs in its caller's process is looked through.
fn behind<'a>(needs: &Needs<'a>, node: &Node) -> Vec<&'a Node> {
    let mut found: Vec<&Node> = Vec::new();
    let mut waiting = needs.called_by(node);
    let mut seen = Vec::new();
    while let Some(id) = waiting.pop() {
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        let Some(called) = needs.plan.topology.nodes.iter().find(|node| node.id == id) else {
            continue;
        };
        match is_run(called) {
            Ok(()) => found.push(called),
            Err(_) => waiting.extend(needs.called_by(called)),
        }
    }
    let place = |of: &&Node| needs.plan.topology.nodes.iter().position(|node| node.id == of.id);
    found.sort_by_key(place);
    found
}

fn service(to: &mut String, needs: &Needs, node: &Node, volumes: &mut Vec<String>) {
    let options = needs.options_of(node);
    let size = size_of(node);
    let _ = writeln!(to, "  {}:", text(&node.id));
    let image = match node.kind {
        Kind::Lb => "haproxy:3.2".to_owned(),
        Kind::Ws => quoted("${TIDEGATE_IMAGE:-tidegate}"),
        Kind::Postgres => "postgres:17".to_owned(),
        Kind::Redis => "redis:8".to_owned(),
        Kind::Stream => "nats:2".to_owned(),
        Kind::Queue => "rabbitmq:4".to_owned(),
        Kind::Server | Kind::Worker | Kind::Replica | Kind::Limiter | Kind::Hosted => {
            let variable = node.id.to_ascii_uppercase().replace('-', "_");
            let what = match node.kind {
                Kind::Replica => "a Postgres that follows the primary",
                _ => "an image of your own",
            };
            quoted(&format!("${{{variable}_IMAGE:?{what}}}"))
        }
    };
    let _ = writeln!(to, "    image: {image}");
    // What keeps its data in one volume, or has one port of this machine, is one container.
    let replicas = match node.kind {
        Kind::Ws | Kind::Server | Kind::Worker | Kind::Limiter => node.count,
        _ => 1,
    };
    match node.kind {
        Kind::Lb => {
            to.push_str("    ports: [\"8600:8600\"]\n");
            let _ = writeln!(
                to,
                "    configs:\n      - source: {}\n        target: /usr/local/etc/haproxy/haproxy.cfg",
                text(&config_of(node))
            );
        }
        Kind::Ws => {
            let (within, _, _) = needs.drain();
            let _ = write!(
                to,
                "    command: [tidegate, serve, --config, /etc/tidegate.toml]\n    \
                 environment:\n      TIDEGATE_SECRET: \"${{TIDEGATE_SECRET:?at least 32 bytes}}\"\n    \
                 configs:\n      - source: tidegate\n        target: /etc/tidegate.toml\n    \
                 # Each container has a log of its own: one process at a time.\n    \
                 volumes: [/var/lib/tidegate]\n    \
                 # The drain of {} and the outboxes' last five seconds, and five more.\n    \
                 stop_grace_period: {}s\n    \
                 ulimits:\n      nofile: {}\n",
                duration(within),
                within.ceil() as u64 + 10,
                needs.connections_max() + 1_024,
            );
        }
        Kind::Postgres => {
            let connections = options.connections_max.unwrap_or(100);
            let volume = volume(node, volumes);
            let _ = write!(
                to,
                "    command: [postgres, -c, max_connections={connections}]\n    \
                 environment:\n      POSTGRES_PASSWORD: \"${{POSTGRES_PASSWORD:?a password}}\"\n    \
                 volumes: [\"{volume}:/var/lib/postgresql/data\"]\n",
            );
            if options.standby == Some(true) {
                to.push_str("    # The plan has a standby that takes over; on one machine there is nothing to take over to.\n");
            }
        }
        Kind::Redis => {
            let memory = (size.memory * 0.75 / MIB) as u64;
            let _ = writeln!(
                to,
                "    command: [redis-server, --maxmemory, {memory}mb, --maxmemory-policy, allkeys-lru]"
            );
        }
        Kind::Stream => {
            let volume = volume(node, volumes);
            let _ = write!(
                to,
                "    command: [\"-js\", \"-sd\", \"/data\"]\n    volumes: [\"{volume}:/data\"]\n"
            );
            if node.count > 1 {
                let _ = writeln!(
                    to,
                    "    # One of {}: a cluster of them needs machines of their own.",
                    node.count
                );
            }
        }
        Kind::Queue => {
            let volume = volume(node, volumes);
            let _ = writeln!(to, "    volumes: [\"{volume}:/var/lib/rabbitmq\"]");
        }
        Kind::Server | Kind::Worker => {
            if let Some(pool) = options.pool {
                let _ = writeln!(
                    to,
                    "    environment:\n      DATABASE_POOL: \"{pool}\" # connections to the database, each container"
                );
            }
        }
        Kind::Replica | Kind::Limiter | Kind::Hosted => {}
    }
    let called = depended_on(needs, node);
    if !called.is_empty() {
        let _ = writeln!(to, "    depends_on: [{}]", called.join(", "));
    }
    to.push_str("    restart: unless-stopped\n    deploy:\n");
    let _ = writeln!(to, "      replicas: {replicas}");
    if !size.managed {
        let _ = writeln!(
            to,
            "      resources:\n        limits: # a {}\n          cpus: \"{}\"\n          memory: {}M",
            size.name,
            size.cores,
            (size.memory / MIB) as u64
        );
    }
}

fn volume(node: &Node, volumes: &mut Vec<String>) -> String {
    let name = format!("{}-data", node.id);
    volumes.push(name.clone());
    name
}

fn config_of(node: &Node) -> String {
    format!("haproxy-{}", node.id)
}

/// New connections go to who has the fewest, and only to who is ready.
fn haproxy(needs: &Needs, node: &Node) -> String {
    let options = needs.options_of(node);
    let interval = duration(options.health_interval.unwrap_or(10.0));
    let failures = options.health_failures.unwrap_or(2);
    let connections = needs.connections_max() * u64::from(needs.machines) + 1_024;
    let mut text = format!(
        "global\n  maxconn {connections}\n\
         resolvers docker\n  nameserver dns 127.0.0.11:53\n  hold valid 5s\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout http-request 10s\n  \
         # A connection that is pinged every 25 s is never quiet for so long.\n  timeout tunnel 2m\n  maxconn {connections}\n\
         frontend clients\n  bind :8600\n"
    );
    let mut called = behind(needs, node);
    called.sort_by_key(|other| other.kind != Kind::Ws);
    for (place, other) in called.iter().enumerate() {
        match place {
            0 => {
                let _ = writeln!(text, "  default_backend {}", other.id);
            }
            // Whose paths those are is not in the plan: a prefix for each.
            _ => {
                let _ = writeln!(
                    text,
                    "  use_backend {} if {{ path_beg /{}/ }}",
                    other.id, other.id
                );
            }
        }
    }
    for other in called {
        let machines = match other.kind {
            Kind::Ws => needs.machines,
            _ => other.count,
        };
        let _ = write!(text, "backend {}\n  balance leastconn\n", other.id);
        if other.kind == Kind::Ws {
            text.push_str("  option httpchk GET /v1/ready\n");
        }
        let _ = writeln!(
            text,
            "  server-template {}- 1-{machines} {}:8600 check inter {interval} fall {failures} resolvers docker init-addr none",
            other.id, other.id
        );
    }
    text
}

fn indented(to: &mut String, by: usize, text: &str) {
    for line in text.lines() {
        match line.is_empty() {
            true => to.push('\n'),
            false => {
                let _ = writeln!(to, "{:by$}{line}", "");
            }
        }
    }
}

fn size_of(node: &Node) -> &'static Size {
    component::size(&node.size, node.kind).expect("it was compiled with this size")
}
