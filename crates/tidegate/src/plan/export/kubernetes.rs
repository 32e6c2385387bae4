//! Kubernetes manifests of the topology.
//!
//! ```text
//!   ws       StatefulSet (its log is on a volume), Service, PodDisruptionBudget, HPA by connections, ConfigMap
//!   server, worker, limiter    Deployment, Service, PodDisruptionBudget, HPA by CPU
//!   redis, stream, queue       StatefulSet, Service; those that the plan rents are names elsewhere
//!   postgres, replica          names elsewhere: an operator's, or the provider's
//!   lb       the Service of what it leads to
//! ```
//!
//! A pod gets nine tenths of the machine that the plan gives it: the rest is the node's own.

use std::fmt::Write;

use tidegate_plan::{
    component::{self, Size},
    plan::{Kind, Node},
};

use super::{
    needs::{KNEE, MIB, Needs},
    tidegate::{Place, tidegate},
    yaml::{label, quoted, text},
};

/// Of a machine, what its pod gets.
const OF_MACHINE: f64 = 0.9;
/// Until every balancer has taken a pod from its list.
const FORGET_S: u64 = 5;
/// `limits.shutdown_timeout`, and five more.
const END_S: u64 = 10;

/// All of them, in one stream of documents.
pub fn kubernetes(needs: &Needs) -> String {
    let mut text = String::from(
        "# Before it: a Secret `tidegate` with a key `secret` of at least 32 bytes, and images of your own where it says so.\n\
         # HPAs by connections need an adapter that serves Prometheus' metrics of pods (tidegate_connections).\n",
    );
    let names = Names::of(needs);
    for node in &needs.plan.topology.nodes {
        let name = names.of_node(&node.id);
        match node.kind {
            Kind::Ws => ws(&mut text, needs, node, name),
            Kind::Server | Kind::Worker => workload(&mut text, needs, node, name),
            Kind::Limiter if !size_of(node).managed => workload(&mut text, needs, node, name),
            Kind::Limiter => remark(
                &mut text,
                node,
                "in the process of its callers; nothing of its own runs",
            ),
            Kind::Hosted => remark(&mut text, node, "hosted elsewhere; nothing of it runs here"),
            Kind::Lb => balancer(&mut text, needs, node, name, &names),
            Kind::Postgres | Kind::Replica => elsewhere(
                &mut text,
                node,
                name,
                5432,
                "a database is run by an operator or by the provider; put its address here",
            ),
            Kind::Redis if is_rented(node) => elsewhere(
                &mut text,
                node,
                name,
                6379,
                "rented by the plan; put its address here",
            ),
            Kind::Stream | Kind::Queue if is_rented(node) => elsewhere(
                &mut text,
                node,
                name,
                443,
                "rented by the plan; put its address here",
            ),
            Kind::Redis | Kind::Stream | Kind::Queue => kept(&mut text, node, name),
        }
    }
    text
}

/// Names of nodes as Kubernetes allows them: two that come to the same are told apart by a number.
struct Names(Vec<(String, String)>);

impl Names {
    fn of(needs: &Needs) -> Self {
        let mut names: Vec<(String, String)> = Vec::new();
        for node in &needs.plan.topology.nodes {
            let wanted = label(&node.id);
            let is_free = |name: &str| names.iter().all(|(_, taken)| taken != name);
            let numbered = (2..).map(|number| format!("{wanted}-{number}"));
            let name = std::iter::once(wanted.clone())
                .chain(numbered)
                .find(|name| is_free(name))
                .expect("there are more numbers than nodes");
            names.push((node.id.clone(), name));
        }
        Self(names)
    }

    fn of_node(&self, id: &str) -> &str {
        let found = self.0.iter().find(|(node, _)| node == id);
        found.map_or("tidegate", |(_, name)| name)
    }
}

fn ws(to: &mut String, needs: &Needs, node: &Node, name: &str) {
    let name = &text(name);
    let size = size_of(node);
    let (within, _, _) = needs.drain();
    // A pod that is alone closes all at once: they come back to its successor.
    let drains = if needs.machines > 1 {
        within.ceil() as u64
    } else {
        0
    };
    let grace = FORGET_S + drains + END_S;
    let _ = write!(
        to,
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\ndata:\n  tidegate.toml: |\n"
    );
    for line in tidegate(needs, Place::Container).lines() {
        let _ = match line.is_empty() {
            true => writeln!(to),
            false => writeln!(to, "    {line}"),
        };
    }
    let _ = write!(
        to,
        "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  \
         replicas: {count}\n  serviceName: {name}\n  podManagementPolicy: Parallel\n  selector:\n    matchLabels: {{app: {name}}}\n  \
         template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      \
         # {FORGET_S} s until no balancer names it, {drains} s of the drain, {END_S} s for the last outboxes.\n      \
         terminationGracePeriodSeconds: {grace}\n",
        count = node.count,
    );
    spread(to, node, name);
    let _ = write!(
        to,
        "      containers:\n        - name: tidegate\n          image: tidegate # built from this project\n          \
         args: [serve, --config, /etc/tidegate/tidegate.toml]\n          command: [tidegate]\n          \
         ports:\n            - {{name: http, containerPort: 8600}}\n          \
         env:\n            - name: TIDEGATE_SECRET\n              valueFrom:\n                secretKeyRef: {{name: tidegate, key: secret}}\n          \
         # SIGTERM begins the drain; before it, balancers forget the pod.\n          \
         lifecycle:\n            preStop:\n              sleep: {{seconds: {FORGET_S}}}\n          \
         readinessProbe:\n            httpGet: {{path: /v1/ready, port: http}}\n            periodSeconds: 2\n            failureThreshold: 2\n          \
         livenessProbe:\n            httpGet: {{path: /v1/live, port: http}}\n            periodSeconds: 10\n            failureThreshold: 6\n"
    );
    resources(to, size);
    let _ = write!(
        to,
        "          volumeMounts:\n            - {{name: config, mountPath: /etc/tidegate}}\n            - {{name: data, mountPath: /var/lib/tidegate}}\n      \
         volumes:\n        - name: config\n          configMap: {{name: {name}}}\n  \
         volumeClaimTemplates:\n    - metadata:\n        name: data\n      spec:\n        accessModes: [ReadWriteOnce]\n        \
         resources:\n          requests: {{storage: 12Gi}}\n"
    );
    service(to, name, 8600);
    budget(to, node, name);
    match needs.options.autoscale_max {
        Some(most) => {
            let (connections, why) = connections_each(needs);
            scaler(
                to,
                "StatefulSet",
                name,
                node.count,
                most,
                &format!(
                    "    # {why}\n    - type: Pods\n      pods:\n        metric: {{name: tidegate_connections}}\n        \
                     target: {{type: AverageValue, averageValue: \"{connections}\"}}\n"
                ),
            );
        }
        None => remark(
            to,
            node,
            "no HorizontalPodAutoscaler: the plan has no `autoscale_max`",
        ),
    }
}

/// Connections of a pod at which another is to be added.
fn connections_each(needs: &Needs) -> (u64, String) {
    let target = needs.options.autoscale_target.unwrap_or(0.5);
    let each = needs.users / f64::from(needs.machines);
    let most = needs.connections_max() as f64 * KNEE;
    let by_load = match needs.busy > 0.0 {
        true => each * target / needs.busy,
        false => f64::INFINITY,
    };
    let why = match by_load < most {
        true => format!(
            "{each:.0} connections keep a pod {:.1} % busy in the plan: so many for the {:.0} % it aims at.",
            needs.busy * 100.0,
            target * 100.0
        ),
        false => format!(
            "{:.0} % of limits.connections_max; its cores would bear more.",
            KNEE * 100.0
        ),
    };
    (by_load.min(most).max(1.0) as u64, why)
}

/// The application's own machines.
fn workload(to: &mut String, needs: &Needs, node: &Node, name: &str) {
    let name = &text(name);
    let options = needs.options_of(node);
    let _ = write!(
        to,
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  replicas: {}\n  \
         selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n",
        node.count
    );
    spread(to, node, name);
    let _ = write!(
        to,
        "      containers:\n        - name: {name}\n          image: {name} # an image of your own\n"
    );
    if let Some(pool) = options.pool {
        let _ = write!(
            to,
            "          env:\n            # Connections to the database, each pod.\n            - {{name: DATABASE_POOL, value: \"{pool}\"}}\n"
        );
    }
    if node.kind != Kind::Worker {
        to.push_str("          ports:\n            - {name: http, containerPort: 8080}\n");
    }
    resources(to, size_of(node));
    if node.kind != Kind::Worker {
        service(to, name, 8080);
    }
    budget(to, node, name);
    if let Some(most) = options.autoscale_max {
        let target = (options.autoscale_target.unwrap_or(0.5) * 100.0).round();
        scaler(
            to,
            "Deployment",
            name,
            node.count,
            most,
            &format!(
                "    - type: Resource\n      resource:\n        name: cpu\n        target: {{type: Utilization, averageUtilization: {target}}}\n"
            ),
        );
    }
}

/// What keeps something and is not rented: plain images, one pod each machine.
fn kept(to: &mut String, node: &Node, name: &str) {
    let name = &text(name);
    let (image, args, path, port) = match node.kind {
        Kind::Redis => ("redis:8", "[]", "/data", 6379),
        Kind::Stream => ("nats:2", "[\"-js\", \"-sd\", \"/data\"]", "/data", 4222),
        Kind::Queue => ("rabbitmq:4", "[]", "/var/lib/rabbitmq", 5672),
        Kind::Lb
        | Kind::Ws
        | Kind::Server
        | Kind::Postgres
        | Kind::Replica
        | Kind::Worker
        | Kind::Limiter
        | Kind::Hosted => unreachable!("they have forms of their own"),
    };
    let _ = write!(
        to,
        "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  replicas: {}\n  \
         serviceName: {name}\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n",
        node.count
    );
    if node.count > 1 {
        to.push_str("      # They are apart until a configuration of yours makes a cluster of them.\n");
    }
    spread(to, node, name);
    let _ = write!(
        to,
        "      containers:\n        - name: {name}\n          image: {image}\n          args: {args}\n          ports:\n            - {{containerPort: {port}}}\n"
    );
    resources(to, size_of(node));
    let _ = write!(
        to,
        "          volumeMounts:\n            - {{name: data, mountPath: {path}}}\n  volumeClaimTemplates:\n    - metadata:\n        name: data\n      \
         spec:\n        accessModes: [ReadWriteOnce]\n        resources:\n          requests: {{storage: 10Gi}}\n"
    );
    service(to, name, port);
}

/// The way in: a Service of what it leads to that has an address outside.
fn balancer(to: &mut String, needs: &Needs, node: &Node, name: &str, names: &Names) {
    let name = &text(name);
    let called = needs.called_by(node);
    let target = match called.contains(&needs.ws.id.as_str()) {
        true => Some(&needs.ws.id),
        // A limiter between them that is no machine is looked through.
        false => needs
            .plan
            .topology
            .nodes
            .iter()
            .find(|other| called.contains(&other.id.as_str()))
            .map(|other| match other.kind {
                Kind::Limiter if size_of(other).managed => &needs.ws.id,
                _ => &other.id,
            }),
    };
    let Some(target) = target else {
        return remark(to, node, "leads nowhere");
    };
    let is_ws = *target == needs.ws.id;
    let _ = write!(
        to,
        "---\n# New connections go where the provider's balancer sends them; it should have TLS, and an idle timeout above 25 s.\n\
         apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  type: LoadBalancer\n  externalTrafficPolicy: Local\n  \
         selector: {{app: {}}}\n  ports:\n    - {{name: http, port: {port}, targetPort: {port}}}\n",
        text(names.of_node(target)),
        port = if is_ws { 8600 } else { 8080 },
    );
}

/// What is not run in the cluster, by the name that others call it.
fn elsewhere(to: &mut String, node: &Node, name: &str, port: u16, why: &str) {
    let size = size_of(node);
    let name = &text(name);
    let _ = write!(
        to,
        "---\n# {}: {} × {}; {why}.\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  type: ExternalName\n  \
         externalName: {}\n  ports:\n    - {{port: {port}}}\n",
        node.id,
        node.count,
        size.name,
        quoted(&format!("{}.example.internal", name.trim_matches('"'))),
    );
}

fn remark(to: &mut String, node: &Node, why: &str) {
    let _ = writeln!(to, "---\n# {}: {why}.", node.id);
}

fn service(to: &mut String, name: &str, port: u16) {
    let _ = write!(
        to,
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  clusterIP: None\n  \
         selector: {{app: {name}}}\n  ports:\n    - {{name: main, port: {port}}}\n"
    );
}

/// One at a time: what the plan's deploys do, and what it has room for.
fn budget(to: &mut String, node: &Node, name: &str) {
    if node.count < 2 {
        return;
    }
    let _ = write!(
        to,
        "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata:\n  name: {name}\nspec:\n  maxUnavailable: 1\n  \
         selector:\n    matchLabels: {{app: {name}}}\n"
    );
}

fn scaler(to: &mut String, kind: &str, name: &str, least: u32, most: u32, metric: &str) {
    let _ = write!(
        to,
        "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata:\n  name: {name}\nspec:\n  \
         scaleTargetRef: {{apiVersion: apps/v1, kind: {kind}, name: {name}}}\n  minReplicas: {least}\n  maxReplicas: {}\n  metrics:\n{metric}",
        most.max(least)
    );
}

/// Over zones, where the plan has several.
fn spread(to: &mut String, node: &Node, name: &str) {
    if node.zones < 2 || node.count < 2 {
        return;
    }
    let _ = write!(
        to,
        "      topologySpreadConstraints:\n        - maxSkew: 1\n          topologyKey: topology.kubernetes.io/zone\n          \
         whenUnsatisfiable: ScheduleAnyway\n          labelSelector:\n            matchLabels: {{app: {name}}}\n"
    );
}

fn resources(to: &mut String, size: &Size) {
    if size.managed {
        return;
    }
    let cpu = (f64::from(size.cores) * OF_MACHINE * 1e3) as u64;
    let memory = (size.memory * OF_MACHINE / MIB) as u64;
    let _ = write!(
        to,
        "          resources: # nine tenths of a {}\n            requests: {{cpu: {cpu}m, memory: {memory}Mi}}\n            limits: {{memory: {memory}Mi}}\n",
        size.name
    );
}

/// Sizes that nobody runs, and those of a provider's own databases.
fn is_rented(node: &Node) -> bool {
    let size = size_of(node);
    size.managed || size.cores == component::MANAGED_CORES || !size.kinds.is_empty()
}

fn size_of(node: &Node) -> &'static Size {
    component::size(&node.size, node.kind).expect("it was compiled with this size")
}
